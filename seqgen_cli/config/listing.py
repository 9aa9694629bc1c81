"""What can be chosen, read from the shipped YAML files alone: quick enough for --help, without Hydra or torch."""

import re
from functools import cache
from importlib import resources
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
def group_choices(group: str) -> tuple[str, ...]:
    """The names of a group's shipped choices."""
    folder = _root().joinpath(group)
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def read_text(name: str) -> str:
    """A shipped YAML's text, e.g. of "train" or "model/rnn"."""
    return str(_root().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def read_settings(name: str) -> dict[str, Any]:
    """A shipped YAML as written, e.g. "train" or "model/rnn"."""
    return yaml.safe_load(read_text(name)) or {}


def summary(name: str) -> str:
    """What a shipped YAML's first comment says, to the end of its first sentence."""
    line = read_text(name).removeprefix("# @package _global_\n").partition("\n")[0]
    return re.split(r"(?<!al\.)(?<=[.:]) ", line.lstrip("# "))[0].rstrip(".: ") if line.startswith("#") else ""


def default_groups(command: str) -> dict[str, str | None]:
    """The groups of a command (or a choice), in the order they are composed, and the choice each starts from."""
    entries = [entry for entry in read_settings(command).get("defaults", []) if isinstance(entry, dict)]
    return {str(group).removeprefix("override "): choice for entry in entries for group, choice in entry.items()}


def top_level(command: str) -> dict[str, Any]:
    """The command's own settings and their defaults."""
    return {key: value for key, value in read_settings(command).items() if key not in ("defaults", "hydra")}


def comments(command: str) -> dict[str, str]:
    """The comment of each of the command's own settings; those of a section as "section.key"."""
    found, section = {}, ""
    for line in read_text(command).partition("defaults:")[2].splitlines():
        if match := re.match(r"( *)(\w+):([^#]*)(?:#\s*(.+))?$", line):
            indent, key, value, comment = match.groups()
            section = section if indent else f"{key}." if not value.strip() else ""
            if comment:
                found[f"{section}{key}" if indent else key] = comment
    return found
