"""Reads a checkpoint's config as what it is: data from a stranger."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from seqgen_cli.config.groups import PACKAGES, resolve_stranger
from seqgen_cli.config.settings import texts_in
from seqgen_cli.errors import RequestError, SeqgenError

_LARGEST_CONFIG = 1 << 20  # bytes; ours are a few thousand


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML without aliases, which let a small file grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it uses aliases")
        return super().compose_node(parent, index)


def read_config(path: Path, trust: Sequence[str] = ()) -> dict[str, Any]:
    """A checkpoint's config as plain data, every `_target_` checked.

    Raises:
        SeqgenError: the file is missing or is not a config.
        RequestError: it holds an interpolation, or names a class that it may not.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise SeqgenError(f"{path} is too large to be a config.")
        values = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except OSError as error:
        raise SeqgenError(f"{path} cannot be read ({error.strerror}): is its folder a seqgen checkpoint?") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SeqgenError(f"{path} is not plain YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(group), dict) for group in ("model", "output")):
        raise SeqgenError(f"{path} is not the config of a seqgen checkpoint: it names no model and output.")
    for key, value in values.items():
        if any("${" in text for text in texts_in([key, value])):
            raise RequestError(f"{path}: {key} holds an interpolation (`${{`), which a checkpoint may not.")
        if _check_targets(value, str(key), trust) or key == "_target_":
            raise RequestError(f"{path}: {key} holds a `_target_` where none belongs.")
    return values


def _check_targets(value: Any, group: str, trust: Sequence[str]) -> bool:
    """Check the class that a group's node names, and those of what it chooses in turn; whether any stands elsewhere."""
    if not isinstance(value, dict) or "_target_" not in value:
        return "_target_" in texts_in(value)
    resolve_stranger(value, group, trust)
    settings = {name: item for name, item in value.items() if name != "_target_"}
    return any(
        _check_targets(item, f"{group}/{name}", trust) if f"{group}/{name}" in PACKAGES else "_target_" in texts_in([name, item])
        for name, item in settings.items()
    )
