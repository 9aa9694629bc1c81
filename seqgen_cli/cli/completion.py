"""Shell completion: what can stand where the cursor is. Choices and keys come from the YAML files alone, without Hydra or torch;
values of a setting from its hint, for which its class is imported."""

import os
import types
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from seqgen_cli.cli.grammar import COMMANDS, OPTIONS, SWITCHES
from seqgen_cli.config.listing import brought, default_groups, group_choices, groups, inner_groups, read_settings, top_level
from seqgen_cli.config.settings import TOP_LEVEL, flag_of, is_flag
from seqgen_cli.errors import RequestError


def complete(words: Sequence[str]) -> int:
    """Answer the shell (`-sc query=bash`), whose line is in COMP_LINE, or print what it should evaluate (`-sc install=bash`)."""
    for request in (word for word in words if "=" in word):
        if request.startswith("query="):
            line = os.environ.get("COMP_LINE", "")
            found = candidates(line[: int(os.environ.get("COMP_POINT", len(line)))])
            print(("\n" if request == "query=fish" else " ").join(found))
        else:
            from seqgen_cli.cli.hydra_main import print_completion

            print_completion(request)
    return 0


def candidates(line: str) -> list[str]:
    """What the last word of a command line can become, `seqgen` being its first; where nothing is known, nothing: the shell
    then completes files."""
    *words, word = line.split(" ")[1:] or [""]
    return [each for each in _candidates([each for each in words if each], word) if each.startswith(word)]


def _candidates(words: Sequence[str], word: str) -> list[str]:
    helping = "help" in words
    command = next((each for each in words if each in COMMANDS), "train" if helping else None)
    spread = [part for word in words for part in (word.split("=", 1) if word.startswith("-") else [word])]
    own = _after(spread, "--config-dir", "-cd")
    before = words[-1] if words else ""
    if word.startswith("-") and "=" not in word:
        return _flags(command)
    if before.startswith("-") and not _stands_alone(before, command):
        return _values_of_flag(before, command)
    if command is None:
        return [*COMMANDS, "help"]
    key, equals, _ = word.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(key, command, words, own)]
    return [*COMMANDS, *groups(), *(f"{group}=" for group in groups())] if helping else _keys(key, command, words, own)


def _flags(command: str | None) -> list[str]:
    return [*SWITCHES, *OPTIONS, *(flag_of(key) for key in (top_level(command) if command else ()))]


def _stands_alone(flag: str, command: str | None) -> bool:
    return "=" in flag or flag in SWITCHES or is_flag(_key(flag, command))


def _key(flag: str, command: str | None) -> str:
    """The key that a flag is short for."""
    named = (key for key in (top_level(command) if command else TOP_LEVEL) if flag_of(key) == flag)
    return next(named, flag.lstrip("-").replace("-", "_"))


def _values_of_flag(flag: str, command: str | None) -> list[str]:
    if flag in ("--cfg", "-c"):
        return ["job"]
    return _of_hint(TOP_LEVEL.get(_key(flag, command)))


def _keys(word: str, command: str, words: Sequence[str], own: str | None) -> list[str]:
    """Groups and keys; once a dot is typed, the keys of that part."""
    if "." not in word:
        mine = [group for group in default_groups(command) if group_choices(group, own)]
        inner = [each for group in mine for each in inner_groups(group)] if "/" in word else []
        single = [key for key, value in top_level(command).items() if not isinstance(value, dict)]
        return [*(f"{group}." for group in mine if group != "experiment"), *(f"{key}=" for key in (*mine, *inner, *single))]
    section = word.rpartition(".")[0]
    nested = top_level(command).get(section)
    node = nested if isinstance(nested, dict) else _node(section.replace(".", "/"), command, words, own)
    return [f"{section}.{key}=" for key in node if key not in ("_target_", "defaults")]


def _values(key: str, command: str, words: Sequence[str], own: str | None) -> list[str]:
    """Of a group its choices, of a setting what its hint lists."""
    if key.partition("/")[0] in default_groups(command):
        return list(group_choices(key, own))
    if key in TOP_LEVEL:
        return _of_hint(TOP_LEVEL[key])
    section, _, name = key.rpartition(".")
    group = section.replace(".", "/")
    node = _node(group, command, words, own)
    if "_target_" not in node:
        return []
    from seqgen_cli.config.groups import resolve
    from seqgen_cli.config.signatures import settings

    try:
        declared = settings(resolve(node, group)).get(name)
    except RequestError:
        return []
    return _of_hint(declared.annotation) if declared is not None else []


def _node(group: str, command: str, words: Sequence[str], own: str | None) -> dict[str, Any]:
    """The YAML of the group's choice."""
    choice = _choice(group, command, words, own)
    return read_settings(f"{group}/{choice}", own) if choice in group_choices(group, own) else {}


def _choice(group: str, command: str, words: Sequence[str], own: str | None) -> str | None:
    """The group's choice: the one on the line, or what another choice on the line brings, or what the command starts from."""
    chosen = dict(word.partition("=")[::2] for word in words if "=" in word)
    if group in chosen:
        return chosen[group]
    outer, _, name = group.rpartition("/")
    if outer:
        choice = _choice(outer, command, words, own)
        return default_groups(f"{outer}/{choice}", own).get(name) if choice in group_choices(outer, own) else None
    for other, choice in chosen.items():
        if choice in group_choices(other, own) and group in brought(f"{other}/{choice}", own):
            return brought(f"{other}/{choice}", own)[group]
    return default_groups(command).get(group)


def _of_hint(hint: Any) -> list[str]:
    """The values that a hint lists; none where any text would do."""
    if get_origin(hint) is Annotated:
        return _of_hint(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if hint is bool:
        return ["true", "false"]
    if hint is type(None):
        return ["null"]
    if get_origin(hint) in (Union, types.UnionType) and str not in get_args(hint):
        return [value for member in get_args(hint) for value in _of_hint(member)]
    return []


def _after(words: Sequence[str], *flags: str) -> str | None:
    """The word that follows one of these flags."""
    return next((value for flag, value in pairwise(words) if flag in flags), None)
