"""A choice of a group, checked: what is left to do is to call it.

Everything in a config that names a class becomes a Part once; nobody looks at its node after that.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seqgen_cli.config import signatures
from seqgen_cli.config.groups import PASSED, PROTOCOLS, place, resolve
from seqgen_cli.config.listing import group_choices
from seqgen_cli.errors import RequestError, join_or


@dataclass(frozen=True)
class Part:
    """What makes an object of a group: `part(hidden_size=8)`.

    Args:
        group: "objective", or "objective/decay" of what that chooses in turn.
        owner: what the user calls it: "objective=mle".
        cls: its class.
        settings: converted to what the class declares, and its defaults of those not written; what it chooses in turn as
            Parts, or None where it chooses none.
    """

    group: str
    owner: str
    cls: type
    settings: Mapping[str, Any]

    def __call__(self, **passed: Any) -> Any:
        """The object. Of `passed`, each value goes to the constructors that declare it, those of its own parts included.

        Raises:
            RequestError: settings do not fit one another, or what is passed.
        """
        declared = signatures.parameters(self.cls)
        values = {name: value(**passed) if isinstance(value, Part) else value for name, value in self.settings.items()}
        given = {name: value for name, value in passed.items() if name in declared}
        return self.cls(**{**signatures.arguments(self.cls, values), **given})

    def whole(self) -> Iterator["Part"]:
        """It, and what it chooses in turn."""
        yield self
        for value in self.settings.values():
            if isinstance(value, Part):
                yield from value.whole()


def part(node: Mapping[str, Any], group: str, choices: Mapping[str, Any]) -> Part:
    """The part that a config node names; nothing is made yet.

    Args:
        node: plain data with a `_target_`. choices: the name of each group's choice, as far as they are known.

    Raises:
        RequestError: a key, a type or a range is wrong, or settings do not fit one another.
    """
    cls = resolve(node, group)
    inner = _inner(cls, node, group)
    own = {name: value for name, value in node.items() if name != "_target_" and name not in inner}
    passed = PASSED.get(group, frozenset()) | set(inner)
    declared = signatures.settings(cls).items()
    defaults = {name: each.default for name, each in declared if name not in passed and each.default is not each.empty}
    settings = {**defaults, **signatures.check_settings(cls, own, place(group), owner(group, choices), passed)}
    signatures.arguments(cls, settings)  # what an inline dataclass refuses, it refuses now
    parts = {name: None if item is None else part(item, f"{group}/{name}", choices) for name, item in inner.items()}
    return Part(group, owner(group, choices), cls, {**settings, **parts})


def owner(group: str, choices: Mapping[str, Any]) -> str:
    """What the user calls a part of the config: "model=transformer"."""
    return f"{group}={choices[group]}" if choices.get(group) else group


def _inner(cls: type, node: Mapping[str, Any], group: str) -> dict[str, Mapping[str, Any] | None]:
    """What a choice chooses in turn: for each parameter of its class that an inner group is for, that part of its node.

    Raises:
        RequestError: it is missing, or something else stands in its place.
    """
    found: dict[str, Mapping[str, Any] | None] = {}
    for name, parameter in signatures.settings(cls).items():
        inner, hints = f"{group}/{name}", signatures.members(parameter.annotation)
        if not any(hint in PROTOCOLS.get(inner, ()) for hint in hints):
            continue
        value = node.get(name)
        if value is None and type(None) in hints:
            found[name] = None
        elif isinstance(value, Mapping) and "_target_" in value:
            found[name] = value
        else:
            wrong = f"{place(inner)} is {json.dumps(value)}" if name in node else f"{place(inner)} is missing"
            raise RequestError(f"{wrong}: choose it by {inner}={join_or(group_choices(inner))}.")
    return found
