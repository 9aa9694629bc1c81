"""What a run is known by: every setting that changes its numbers, and no other.

A setting changes numbers unless the hint that declares it is marked Neutral (hints.py). One that has the value which its
constructor takes by default is left out: a setting that is added later, with a default that changes nothing, renames no run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from seqgen_cli.config import signatures
from seqgen_cli.config.checked import Config
from seqgen_cli.config.moved import named_at_first
from seqgen_cli.config.parts import Part
from seqgen_cli.config.settings import TOP_LEVEL, Settings, attribute
from seqgen_cli.hints import Neutral, marked

FORMAT = 2
"""Of the identity: raise it when the same settings give another one. (1 was the hash of all that the config holds.)"""


def identity(config: Config) -> dict[str, Any]:
    """What decides the run's numbers, as plain data: 1 and 1.0 are one learning rate."""
    top = {key: getattr(config, attribute(key)) for key in config.values if key in TOP_LEVEL}
    kept = _kept(top, {key: (TOP_LEVEL[key], getattr(Settings, attribute(key), ...)) for key in top})
    return {"format": FORMAT, **kept, **{group: of_part(config.part(group)) for group in config.chosen}}


def name_of(config: Config) -> str:
    """The hash in a run's name."""
    text = json.dumps(identity(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def of_part(part: Part) -> dict[str, Any]:
    """What decides the numbers of a choice, and of those that it makes in turn."""
    declared = {name: (each.annotation, each.default) for name, each in signatures.settings(part.cls).items()}
    target = {"_target_": f"{part.cls.__module__}.{part.cls.__qualname__}"}
    return {**named_at_first(target), **_kept(part.settings, declared)}


def _kept(values: Mapping[str, Any], declared: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Of settings those that change numbers and are not at their defaults; `declared` is the hint and the default of each."""
    found = {}
    for name, value in values.items():
        hint, default = declared[name]
        if marked(hint, Neutral) is None and value != default:
            found[name] = of_part(value) if isinstance(value, Part) else _plain(value)
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
