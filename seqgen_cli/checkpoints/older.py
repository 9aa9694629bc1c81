"""Runs made before names were as they are (config/identity.py): their name is a hash over the whole config, all of the groups'
keys and values as they were written, less a list."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.config.checked import Config
from seqgen_cli.config.identity import identity
from seqgen_cli.config.moved import named_at_first
from seqgen_cli.errors import SeqgenError

_LEFT_OUT = {
    "": ("runtime", "choices", "continue", "dry_run", "trust", "json", "fresh"),
    "objective": ("reward_processes",),
    "trainer": ("log_every", "samples", "tensorboard", "plots", "progress", "keep_last", "save_every"),
}
"""Whole sections ("": top level) or keys of a section; what changed numbers in them, the precision, was added back."""


def is_older_name(folder: Path, config: Config) -> bool:
    """Whether the folder was named, in that way, for a run of this config.

    Settings that the folder's config has not were added since, and must be at their defaults.
    """
    if (folder / "identity.json").exists():
        return False
    try:
        kept = read_config(folder / "config.yaml", [target.partition(".")[0] for target in _targets(config.values)])
    except SeqgenError:
        return False
    then = Config(_as_then(config.values, kept))
    return folder.name.endswith(f"-{older_hash(then.values)}") and identity(then) == identity(config)


def _as_then(values: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the kept config has too, at any depth; whole where it holds no mapping there."""
    return {
        key: _as_then(value, kept[key]) if isinstance(value, Mapping) and isinstance(kept[key], Mapping) else value
        for key, value in values.items()
        if key in kept
    }


def older_hash(values: Mapping[str, Any]) -> str:
    """That of a config's plain data."""
    kept = {key: value for key, value in values.items() if key not in _LEFT_OUT[""]}
    for section, names in _LEFT_OUT.items():
        if isinstance(kept.get(section), Mapping):
            kept[section] = {key: value for key, value in kept[section].items() if key not in names}
    kept["precision"] = values.get("runtime", {}).get("precision")
    text = json.dumps(named_at_first(kept), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _targets(value: Any) -> list[str]:
    """Every `_target_` in plain data."""
    if not isinstance(value, Mapping):
        return []
    own = [str(value["_target_"])] if "_target_" in value else []
    return [*own, *(target for item in value.values() for target in _targets(item))]
