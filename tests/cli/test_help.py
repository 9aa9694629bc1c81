"""Help pages: quick (nothing heavy is imported), complete, and from the files on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from annotated_types import Ge, Gt
from hydra.core.override_parser.overrides_parser import OverridesParser

from seqgen_cli.cli.grammar import COMMANDS
from seqgen_cli.cli.main import main
from seqgen_cli.config.listing import choosers, default_groups, inner_groups, top_level
from seqgen_cli.config.settings import TOP_LEVEL, flag_of
from seqgen_cli.hints import NEUTRAL
from tests.helpers import CONFIGS, choices

LIGHT = """
import sys
from seqgen_cli.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "hydra", "omegaconf", "numpy", "pydantic", "rich"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize(
    "words",
    [
        *([], ["--help"], ["help"], ["train", "--help"], ["help", "train"], ["help", "model"], ["--version"]),
        *(["trian"], ["eval", "--chkpt", "x"]),
    ],
)
def test_help_and_misspellings_load_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True)
    wrong = bool(words) and words[-1] in ("trian", "x")
    assert done.returncode == (2 if wrong else 0), done.stderr
    assert bool(done.stdout) != wrong


@pytest.mark.parametrize("line", ["seqgen ", "seqgen train model=", "seqgen train model=bert_gru data.", "seqgen eval --split "])
def test_choices_and_keys_complete_without_loading_anything_heavy(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "-sc", "query=bash"], capture_output=True, text=True, env={**os.environ, "COMP_LINE": line}
    )
    assert done.returncode == 0, done.stderr


def test_the_overview_has_a_line_and_an_example_for_each_command(capsys) -> None:
    assert main([]) == 0
    page = capsys.readouterr().out
    main(["--help"])
    assert capsys.readouterr().out == page
    for command, what in COMMANDS.items():
        assert f"  {command:<10} {what}\n" in page
        assert f"\n  seqgen {command}" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_page_lists_every_choice_and_setting(command: str, capsys) -> None:
    assert main([command, "--help"]) == 0
    _, _, rest = capsys.readouterr().out.partition("\nChoices")
    listed, _, settings = rest.partition("\nSettings")
    lines = listed.splitlines()
    for group, default in default_groups(command).items():
        for each in (group, *inner_groups(group)):
            start = next(i for i, line in enumerate(lines) if re.match(f"  {each}(,|$)", line)) + 1
            for name in choices(each):
                line = next(line for line in lines[start:] if line[2:].lstrip("* ").split()[:1] == [name])
                assert line.startswith("  *") == (name == default and each == group)
                assert len(line.split()) > 2, f"{each}/{name}.yaml starts with a comment that says what it is"
            for chooser, usual in choosers(each).items() if each != group else ():
                assert f"{chooser} ({usual} unless said otherwise)" in lines[start - 1]
    for key, value in top_level(command).items():
        flags = [f"{key}.{name}" for name in value if name != "_target_"] if isinstance(value, dict) else [key]
        for flag in flags:
            assert any(line.startswith(f"  {flag_of(flag)} ") and len(line.split()) > 2 for line in settings.splitlines()), flag


def page(capsys, *words: str) -> str:
    assert main(list(words)) == 0
    shown: str = capsys.readouterr().out
    return shown


def test_help_is_a_command_as_well(capsys) -> None:
    assert page(capsys, "help") == page(capsys, "--help")
    assert page(capsys, "help", "train") == page(capsys, "train", "--help") == page(capsys, "--help", "train")


CHOICES = [path for path in sorted(CONFIGS.rglob("*.yaml")) if path.parent not in (CONFIGS, CONFIGS / "experiment")]


@pytest.mark.parametrize("path", CHOICES, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_choices_page_shows_each_of_its_keys(path: Path, capsys) -> None:
    group = path.parent.relative_to(CONFIGS).as_posix()
    shown = page(capsys, "help", f"{group}={path.stem}")
    flat = " ".join(shown.split())
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert shown.startswith(f"{group}={path.stem}\n") and " ".join(first.lstrip("# ").split()) in flat
    for line in rest:
        if found := re.match(r"(\w+): +([^#]*?) *# *(.*)", line):
            key, value, comment = found.groups()
            assert " ".join(comment.split()) in flat, "the comment"
            (told,) = [line for line in shown.splitlines() if line.startswith(f"{group.replace('/', '.')}.{key}=")]
            typed = OverridesParser.create().parse_override(told.partition("   (")[0])
            assert typed.value() == yaml.safe_load(value), "the value, as it could be typed"
            assert told.endswith(")") and len(told.partition("   (")[2]) > 3, "what is allowed"


def test_a_choices_page_says_what_is_allowed_and_what_it_brings(capsys) -> None:
    attention = page(capsys, "help", "model=attention")
    assert "\nmodel.cell=lstm   (lstm or gru)\n" in attention
    assert "\nmodel.dropout=0.2   (float, 0 or more, less than 1)\n    after each layer; 0 .. below 1\n" in attention
    assert "source_vocab_size" not in attention, "the program passes it"
    brought = page(capsys, "help", "model=rnn_lm")
    assert "Brings decoding=sample, metrics=language_model; what you say yourself wins." in brought
    sampling = page(capsys, "help", "objective=scheduled_sampling")
    assert "objective/decay=inverse_sigmoid   (constant, exponential, inverse_sigmoid or linear; each with" in sampling
    assert "trainer.log_every=50   (int, 1 or more; names no new run)" in page(capsys, "help", "trainer=standard")
    assert "trainer.steps=null   (int, 1 or more, or null)" in page(capsys, "help", "trainer=standard")


def test_choices_on_the_line_are_those_that_help_is_about(capsys) -> None:
    both = page(capsys, "train", "objective=scheduled_sampling", "seed=3", "objective/decay=linear", "--help")
    assert both == page(capsys, "help", "objective=scheduled_sampling") + "\n" + page(capsys, "help", "objective/decay=linear")
    assert page(capsys, "train", "seed=3", "--help") == page(capsys, "train", "--help")
    assert "character_coverage: 1.0" in page(capsys, "help", "experiment=demo")


@dataclass(frozen=True)
class Steps:
    every: Annotated[int, Ge(1)]
    by: Annotated[float, Gt(0), NEUTRAL] = 0.5

    def factor(self, update: int) -> float:
        return self.by ** (update // self.every)


def test_ones_own_choices_are_shown_like_the_shipped_ones(tmp_path: Path, capsys) -> None:
    (tmp_path / "schedule").mkdir()
    text = f"# Falls at once. And again.\n_target_: {__name__}.Steps\nevery: 10   # updates between falls; 1 or more\n"
    (tmp_path / "schedule" / "steps.yaml").write_text(text)
    shown = page(capsys, "train", "--config-dir", str(tmp_path), "schedule=steps", "--help")
    assert "Falls at once. And again." in shown
    assert "schedule.every=10   (int, 1 or more)\n    updates between falls; 1 or more\n" in shown
    assert "schedule.by=0.5   (float, more than 0; names no new run)" in shown
    assert "  steps              Falls at once\n" in page(capsys, "help", "schedule", "--config-dir", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("help model=atention", "model=atention is not a choice. Did you mean attention? model is one of attention, bert_gru,"),
        ("help modle", "modle is not a command of seqgen. Did you mean model?"),
        ("help modle=rnn", "modle is neither a command nor a group of choices. Did you mean model?"),
        ("train model=x --help", "model=x is not a choice."),
    ],
)
def test_help_about_nothing(words: str, message: str, capsys) -> None:
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_every_top_level_key_on_disk_has_a_type_and_every_type_a_key() -> None:
    on_disk = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert on_disk == set(COMMANDS)
    nested = {key for command in COMMANDS for key, value in top_level(command).items() if isinstance(value, dict)}
    keys = {key for command in COMMANDS for key in top_level(command)}
    assert keys - nested == set(TOP_LEVEL)


def test_the_version_is_the_packages(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "seqgen 0.1.0\n"
