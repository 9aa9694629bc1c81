"""What `seqgen help model=attention` prints, and `seqgen train model=attention --help`: a choice's settings, from the YAML that
gives them and the hints that check them. A user's own choices are shown like seqgen's."""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from seqgen_cli.cli.grammar import quote
from seqgen_cli.config.listing import (
    brought,
    choosers,
    comments,
    default_groups,
    description,
    group_choices,
    groups,
    read_settings,
    read_text,
    summary,
)
from seqgen_cli.errors import RequestError, did_you_mean, join_or

_WIDTH = 100


def choice_page(words: Sequence[str], own: str | None) -> str:
    """The pages of each word that is a choice (model=attention) or a group (model); other settings are passed over.

    Args:
        own: folder of the user's own choices.

    Raises:
        RequestError: there is no such group or choice, or its class cannot be imported.
    """
    named = [word.partition("=")[::2] for word in words if "." not in word.partition("=")[0]]
    return "\n\n".join(_choice(group, name, own) if name else _group(group, own) for group, name in named)


def _group(group: str, own: str | None) -> str:
    if group not in groups():
        raise RequestError(f"{group} is neither a command nor a group of choices.{did_you_mean(group, groups())}")
    names = group_choices(group, own)
    outer = group.rpartition("/")[0]
    using = choosers(group) if outer else {}
    of = [f"{outer}={chooser} ({start} unless said otherwise)" for chooser, start in using.items()]
    head = f"{group}{', of ' + join_or(of) if of else ''}. `seqgen help {group}={names[0]}` says more of one."
    lines = (f"  {name:<18} {textwrap.shorten(summary(f'{group}/{name}', own), 80, placeholder=' ...')}" for name in names)
    return "\n".join([head, *lines])


def _choice(group: str, name: str, own: str | None) -> str:
    _group(group, own)
    names = group_choices(group, own)
    if name not in names:
        raise RequestError(f"{group}={name} is not a choice.{did_you_mean(name, names)} {group} is one of {', '.join(names)}.")
    file = f"{group}/{name}"
    parts = [f"{group}={name}", textwrap.indent(description(file, own), "  ")]
    node = read_settings(file, own)
    if (more := brought(file, own)) and "_target_" in node:
        parts.append(f"Brings {', '.join(f'{key}={choice}' for key, choice in more.items())}; what you say yourself wins.")
    if "_target_" not in node:
        return "\n\n".join([*parts, read_text(file, own).partition("\ndefaults:")[2].strip("\n")])
    return "\n\n".join([*parts, "\n".join(_settings(group, file, own)) or "It has no settings."])


def _settings(group: str, file: str, own: str | None) -> Iterator[str]:
    """Each setting with its value here, what is allowed, and what it means."""
    from seqgen_cli.config import signatures
    from seqgen_cli.config.groups import PASSED, place, resolve
    from seqgen_cli.hints import Neutral, marked

    node, said, starts = read_settings(file, own), comments(file, own), default_groups(file, own)
    declared = signatures.settings(resolve(node, group))
    for name in [*(name for name in node if name in declared), *(name for name in declared if name not in node)]:
        hint, inner = declared[name].annotation, f"{group}/{name}"
        if name in PASSED.get(group, ()):
            continue
        if inner in groups() and name in starts:
            yield f"{inner}={starts[name]}   ({join_or(group_choices(inner, own))}; each with settings of its own)"
            continue
        neutral = "; names no new run" if marked(hint, Neutral) else ""
        value = _typed(node.get(name, declared[name].default))
        yield f"{place(group)}.{name}={value}   ({signatures.describe(hint)}{neutral})"
        yield from textwrap.wrap(said.get(name, ""), _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _typed(value: Any) -> str:
    """A value as it is typed on the command line; ??? where there is none yet."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./:-]+|\$\{.*\}", value) else quote(value)
    return "???" if value is inspect.Parameter.empty else json.dumps(value)
