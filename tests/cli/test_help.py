"""Help pages: quick (nothing heavy is imported), complete, and from the files on disk."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from seqgen_cli.cli.grammar import COMMANDS
from seqgen_cli.cli.main import main
from seqgen_cli.config.listing import choosers, default_groups, inner_groups, top_level
from seqgen_cli.config.settings import TOP_LEVEL, flag_of
from tests.helpers import CONFIGS, choices

LIGHT = """
import sys
from seqgen_cli.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "hydra", "omegaconf", "numpy", "pydantic", "rich"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["--version"], ["trian"], ["eval", "--chkpt", "x"]])
def test_help_and_misspellings_load_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True)
    wrong = bool(words) and words[-1] in ("trian", "x")
    assert done.returncode == (2 if wrong else 0), done.stderr
    assert bool(done.stdout) != wrong


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


def test_every_top_level_key_on_disk_has_a_type_and_every_type_a_key() -> None:
    on_disk = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert on_disk == set(COMMANDS)
    nested = {key for command in COMMANDS for key, value in top_level(command).items() if isinstance(value, dict)}
    keys = {key for command in COMMANDS for key in top_level(command)}
    assert keys - nested == set(TOP_LEVEL)


def test_the_version_is_the_packages(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "seqgen 0.1.0\n"
