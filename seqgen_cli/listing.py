"""What can be chosen, read from the shipped YAML files alone: quick enough for --help, without Hydra or torch."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def _root() -> Any:
    return resources.files("seqgen_cli.configs")


def group_choices(group: str) -> list[str]:
    """Names of a group's choices, sorted."""
    folder = _root().joinpath(group)
    return (
        sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
        if folder.is_dir()
        else []
    )


def read_text(name: str) -> str:
    """A shipped YAML's text: "train", "model/rnn"."""
    return str(_root().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def read_choice(group: str, name: str) -> dict[str, Any]:
    """The settings of a choice as written."""
    return yaml.safe_load(read_text(f"{group}/{name}")) or {}
