"""Hydra's main where argparse checks an argument's help as it is added: Python 3.14, or an older one made to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

from seqgen_cli.cli.main import main
from seqgen_cli.config.listing import group_choices

HELP_STRING = argparse.HelpFormatter._get_help_string


def check_help(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
    """argparse's own _check_help of Python 3.14; the first line of its _expand_help, which older ones lack, written out."""
    if action.help:
        formatter = parser._get_formatter()
        try:
            if "%" in formatter._get_help_string(action):
                formatter._expand_help(action)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("badly formed help string") from error


@pytest.fixture(autouse=True)
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Python runs this, argparse checks as 3.14's; the released Hydra fails it."""
    add = argparse.ArgumentParser.add_argument

    def add_argument(self: argparse.ArgumentParser, *names: Any, **settings: Any) -> argparse.Action:
        action = add(self, *names, **settings)
        check_help(self, action)
        return action

    if not hasattr(argparse.ArgumentParser, "_check_help"):
        monkeypatch.setattr(argparse.ArgumentParser, "add_argument", add_argument)


def test_the_check_refuses_a_malformed_text_and_hydra_by_itself() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fine", help="100 %% of %(dest)s")
    with pytest.raises(ValueError, match="badly formed help string"):
        parser.add_argument("--wrong", help="100 % of it")
    with pytest.raises(ValueError, match="badly formed help string"):
        get_args_parser()  # once this passes, so does Hydra, and _help_text in hydra_main.py can go


def test_completion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = "seqgen train objective="
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setattr(sys, "argv", ["seqgen", "-sc", "query=bash"])
    assert main() == 0
    assert set(capsys.readouterr().out.split()) == {f"objective={name}" for name in group_choices("objective")}
    assert main(["-sc", "install=bash"]) == 0
    assert "complete -o nospace -o default -F hydra_bash_completion seqgen" in capsys.readouterr().out
    assert argparse.HelpFormatter._get_help_string is HELP_STRING


def test_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.out").write_text("it is 3\n", encoding="utf-8")
    Path("a.en").write_text("it is 4\n", encoding="utf-8")
    assert main(["eval", "-m", "--hyp", "a.out", "--ref", "a.en", "metrics.bootstrap=0,10"]) == 0
    assert "2 jobs" in capsys.readouterr().out
    assert argparse.HelpFormatter._get_help_string is HELP_STRING
