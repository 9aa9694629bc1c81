"""What can be chosen, read from the YAML files alone, the shipped ones and those of a user's own folder (--config-dir): quick
enough for --help, without Hydra or torch."""

import re
from functools import cache
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

CONFIGS = "seqgen_cli.configs"


def _root() -> Any:
    return resources.files(CONFIGS)


@cache
def groups() -> tuple[str, ...]:
    """The names of the config groups, those within another included."""
    outer = sorted(item.name for item in _root().iterdir() if item.is_dir() and group_choices(item.name))
    return tuple(name for group in outer for name in (group, *inner_groups(group)))


@cache
def inner_groups(group: str) -> tuple[str, ...]:
    """The groups within a group, of what some of its choices choose in turn: "objective/decay" of "objective"."""
    folder = _root().joinpath(group)
    names = sorted(item.name for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []
    return tuple(f"{group}/{name}" for name in names if group_choices(f"{group}/{name}"))


def choosers(inner: str) -> dict[str, str]:
    """The shipped choices that choose from an inner group, and what each starts from: {"scheduled_sampling": "linear"}."""
    group, _, name = inner.rpartition("/")
    starts = {chooser: default_groups(f"{group}/{chooser}") for chooser in group_choices(group)}
    return {chooser: str(mine[name]) for chooser, mine in starts.items() if name in mine}


@cache
def group_choices(group: str, own: str | None = None) -> tuple[str, ...]:
    """The names of a group's shipped choices, and of those in a user's `own` folder."""
    folders = [place.joinpath(group) for place in _places(own)]
    names = {item.name for folder in folders if folder.is_dir() for item in folder.iterdir()}
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def _places(own: str | None) -> list[Any]:
    return [_root(), *([Path(own)] if own else [])]


def read_text(name: str, own: str | None = None) -> str:
    """A YAML's text, e.g. of "train" or "model/rnn"; of two the shipped one, which Hydra takes as well."""
    files = [place.joinpath(f"{name}.yaml") for place in _places(own)]
    return str(next((file for file in files if file.is_file()), files[0]).read_text(encoding="utf-8"))


def read_settings(name: str, own: str | None = None) -> dict[str, Any]:
    """A YAML as written, e.g. "train" or "model/rnn"."""
    return yaml.safe_load(read_text(name, own)) or {}


def description(name: str, own: str | None = None) -> str:
    """What the first comment of a YAML says, all its lines."""
    lines = read_text(name, own).removeprefix("# @package _global_\n").splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in takewhile(lambda line: line.startswith("#"), lines))


def summary(name: str, own: str | None = None) -> str:
    """The first sentence of that."""
    return re.split(r"(?<!al\.)(?<=[.:]) ", description(name, own).partition("\n")[0].lstrip())[0].rstrip(".: ")


def default_groups(command: str, own: str | None = None) -> dict[str, str | None]:
    """The groups of a command (or a choice), in the order they are composed, and the choice each starts from."""
    entries = [entry for entry in read_settings(command, own).get("defaults", []) if isinstance(entry, dict)]
    return {str(group).removeprefix("override "): choice for entry in entries for group, choice in entry.items()}


def brought(name: str, own: str | None = None) -> dict[str, str]:
    """What a choice brings with it: the choices of other groups, which what is said on the command line replaces."""
    return {key.partition("@")[0][1:]: str(to) for key, to in default_groups(name, own).items() if key.startswith("/")}


def top_level(command: str) -> dict[str, Any]:
    """The command's own settings and their defaults."""
    return {key: value for key, value in read_settings(command).items() if key not in ("defaults", "hydra")}


def comments(name: str, own: str | None = None) -> dict[str, str]:
    """The comment of each setting of a command, or of a choice; those of a section as "section.key"."""
    found, section = {}, ""
    for line in read_text(name, own).splitlines():
        if match := re.match(r"( *)(\w+):([^#]*)(?:#\s*(.+))?$", line):
            indent, key, value, comment = match.groups()
            section = section if indent else f"{key}." if not value.strip() else ""
            if comment:
                found[f"{section}{key}" if indent else key] = comment
    return found
