"""Every command that the README, docs, recipes and --help show is run as it stands, with small sizes added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.conftest import World
from tests.documents.reading import PAGES, ROOT, Command, blocks, commands

INSTALLING = re.compile(r"python3 -m venv|pip install")  # continuous integration runs these as they stand
MAKE = re.compile(r"make (\w+)")
FOLLOWED = {"docs/adding_a_choice.md"}  # written and run as a whole by tests/cli/test_adding_a_choice.py
RECIPES = [page for page in PAGES if page.parent.parent.name == "recipes"]
OF_RECIPES = {page.relative_to(ROOT).as_posix() for page in RECIPES}
EVERY = commands()
SINGLE = [
    command
    for command in EVERY
    if not (INSTALLING.match(command.line) or MAKE.fullmatch(command.line)) and command.page not in FOLLOWED | OF_RECIPES
]


def label(command: Command) -> str:
    return f"{command.page}: {command.line[:70]}"


@pytest.mark.parametrize("command", SINGLE, ids=label)
def test_a_command_does_as_it_stands(command: Command, world: World) -> None:
    folder = world.folder(command.of)
    if "mychoices" in command.page or "--config-dir" in command.line:
        write_files(command.page, folder)
    done = world.shell.run(f"{command.before}\n{command.line}", folder)
    said = done.stdout + done.stderr
    if command.answer:  # a mistake that the page shows with what is said of it
        assert done.returncode == 2 and command.answer in said.splitlines()
    else:
        assert done.returncode == 0, said
    assert "Traceback" not in said and "Warning" not in said


SCALE = {"OBJECTIVES": "mle raml", "MODELS": "attention", "SEEDS": "1", "MLE_STEPS": "2", "MINUTES": "1", "LAYERS": "softmax nce"}

ARGUMENTS = {
    "RUNS FOLDER": "runs/objectives FOLDER",
    " 2000 4": " 12 1",
    "cost.py aclImdb_v1.tar.gz": "cost.py aclImdb_v1.tar.gz 1",
}
"""What stands in a recipe's commands, and with how little of it they are run."""


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.parent.name)
def test_a_recipe_is_followed_from_its_first_command_to_its_last(page: Path, world: World) -> None:
    name = page.relative_to(ROOT).as_posix()
    folder = world.folder("classify" if "imdb" in name else "translate")
    mine = [command for command in EVERY if command.page == name and not INSTALLING.match(command.line)]
    assert mine
    for command in mine:
        line = re.sub(r'OBJECTIVES="(\w+ \w+)[^"]*"', r'OBJECTIVES="\1"', command.line)  # two of them show what seven do
        for words, others in ARGUMENTS.items():
            line = line.replace(words, others)
        done = world.shell.run(f"{command.before}\n{line}", folder, **SCALE)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr


def test_a_slurm_script_runs(world: World) -> None:
    for script in (ROOT / "recipes").glob("*/slurm/*.sbatch"):
        folder = world.folder("translate")
        done = world.shell.run(f"bash {script} FOLDER", folder, SLURM_GPUS_ON_NODE="4")
        assert done.returncode == 0 and list((folder / "runs").glob("text-*/result.json")), done.stderr


def test_what_is_made_is_in_the_makefile() -> None:
    made = {found[1] for command in EVERY if (found := MAKE.fullmatch(command.line))}
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made and made <= rules


def write_files(page: str, folder: Path) -> None:
    """The files that a page gives, each named in the sentence above its block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in blocks():
        if block.page == page and block.language in ("python", "yaml"):
            named = re.findall(r"`([\w/]+\.(?:py|yaml))`", text[: text.index(block.text)])
            place = folder / next(name for name in reversed(named) if name.endswith({"python": "py"}.get(block.language, "yaml")))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.text, encoding="utf-8")


def test_python_as_the_readme_shows_it(world: World) -> None:
    (block,) = (block for block in blocks() if block.page == "README.md" and block.language == "python")
    folder = world.folder("translate")
    for name, task in {"X": "translate", "Y": "classify", "Z": "generate"}.items():
        (folder / "runs" / name).rename(folder / f"old-{name}")
        (folder / "runs" / name).symlink_to(world.runs[task])
    (folder / "shown.py").write_text(block.text, encoding="utf-8")
    done = world.shell.run("python shown.py", folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and done.stdout.splitlines()[-1] in ("positive", "negative")


def test_every_block_is_one_that_a_test_runs() -> None:
    """Or shows a layout or a figure's signature, which name no command."""
    covered = {("README.md", "python"), ("docs/objectives.md", "python"), ("docs/objectives.md", "yaml")}
    for block in blocks():
        if block.language in ("python", "yaml"):
            assert block.page in FOLLOWED or (block.page, block.language) in covered, block
        elif block.language == "bash":
            assert block.page in FOLLOWED | OF_RECIPES or any(line.page == block.page for line in SINGLE), block
        else:
            assert block.language == ""
