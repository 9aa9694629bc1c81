"""Shell completion of the `seqgen` script: what the shell runs, and what it gets back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from seqgen_cli.cli.grammar import COMMANDS
from seqgen_cli.cli.main import main
from seqgen_cli.config.listing import group_choices


def completions(line: str, capsys, monkeypatch) -> set[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setattr(sys, "argv", ["seqgen", "-sc", "query=bash"])
    assert main() == 0
    return set(capsys.readouterr().out.split())


def test_commands_complete_first(capsys, monkeypatch) -> None:
    assert completions("seqgen ", capsys, monkeypatch) == set(COMMANDS)
    assert completions("seqgen tr", capsys, monkeypatch) == set(COMMANDS)  # compgen keeps those that fit


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seqgen train model=", {f"model={name}" for name in group_choices("model")}),
        ("seqgen train model=rnn optimizer=", {f"optimizer={name}" for name in group_choices("optimizer")}),
        ("seqgen train model.dropo", {"model.dropout="}),
        ("seqgen train model=rnn model.cel", {"model.cell="}),
        ("seqgen bench schedule=", {f"schedule={name}" for name in group_choices("schedule")}),
    ],
)
def test_choices_and_settings_complete(line: str, expected: set[str], capsys, monkeypatch) -> None:
    assert completions(line, capsys, monkeypatch) == expected


def test_the_installed_script_completes_in_bash() -> None:
    """Source what `seqgen -sc install=bash` prints in a real bash, and complete a line with it."""
    script, bash = shutil.which("seqgen", path=os.path.dirname(sys.executable)), shutil.which("bash")
    if script is None or bash is None:
        pytest.skip("needs bash and the installed seqgen script")
    program = """
        eval "$(seqgen -sc install=bash)"
        COMP_LINE="seqgen train objective=m"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($COMP_LINE); COMP_CWORD=2
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    folder = os.path.dirname(script)
    done = subprocess.run(
        [bash, "-c", program], capture_output=True, text=True, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    )
    assert "objective=mle" in done.stdout.split(), done.stderr
