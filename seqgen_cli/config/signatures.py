"""What a constructor accepts, read from its type hints: keys, types and ranges, before anything is built.

A setting's hint is the single place where its type and range are written, e.g. `layers: Annotated[int, Ge(1)]` or
`cell: Literal["gru", "lstm"]`. pydantic does the checking; this file turns what it finds into one sentence that names the
key, the value, what is allowed and the nearest match.
"""

import difflib
import inspect
import json
import math
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from seqgen_cli.errors import RequestError, UnknownSettingError, did_you_mean, join_and, join_or
from seqgen_cli.hints import Inline, marked

_BOUNDS = {"gt": "more than {}", "ge": "{} or more", "lt": "less than {}", "le": "at most {}"}


@cache
def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, each annotated with its resolved hint (Annotated kept)."""
    hints = get_type_hints(cls if is_dataclass(cls) else vars(cls).get("__init__", cls.__init__), include_extras=True)  # type: ignore[misc]
    made = {field.name: field.default_factory for field in fields(cls)} if is_dataclass(cls) else {}
    found = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise TypeError(f"{cls.__qualname__} takes *{name}: a constructor must name each of its settings")
        factory: Any = made.get(name, MISSING)
        default = parameter.default if factory is MISSING else factory()
        found[name] = parameter.replace(annotation=hints.get(name, Any), default=default)
    return found


@cache
def settings(cls: type) -> dict[str, inspect.Parameter]:
    """The settings by name: the constructor's parameters, with the fields of an inline one in its place."""
    return {
        name: each
        for own, parameter in parameters(cls).items()
        for name, each in (_inline(parameter) or {own: parameter}).items()
    }


def _inline(parameter: inspect.Parameter) -> dict[str, inspect.Parameter]:
    """The settings of an inline dataclass; none where the parameter is a setting itself."""
    return settings(get_args(parameter.annotation)[0]) if marked(parameter.annotation, Inline) else {}


def arguments(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the constructor is called with, given converted settings: those of an inline dataclass as that dataclass.

    Raises:
        RequestError: they do not fit one another.
    """
    found = {name: value for name, value in values.items() if name in parameters(cls)}
    for name, parameter in parameters(cls).items():
        if own := _inline(parameter):
            kind = get_args(parameter.annotation)[0]
            found[name] = kind(**arguments(kind, {key: values[key] for key in own if key in values}))
    return found


def check_settings(cls: type, values: Mapping[str, Any], path: str, owner: str, passed: Collection[str] = ()) -> dict[str, Any]:
    """The values converted to what the constructor declares.

    Args:
        cls: class to be constructed.
        values: settings as plain data (str, int, float, bool, None, lists, dicts).
        path: where they stand in the config, e.g. "model".
        owner: what the user calls it, e.g. "model=transformer".
        passed: names of parameters given by the program, never written in a config.

    Raises:
        RequestError: an unknown or missing key, or a value of the wrong type or out of range. Where the class's `refused`
            names the key, it says why.
    """
    declared = {name: parameter for name, parameter in settings(cls).items() if name not in passed}
    for name in values:
        if name not in declared:
            raise UnknownSettingError(_unknown(cls, name, path, owner, declared))
    for name, parameter in declared.items():
        if name not in values and parameter.default is parameter.empty:
            raise RequestError(f"{path}.{name} is missing: {owner} needs it ({describe(parameter.annotation)}).")
    return {name: check_value(declared[name].annotation, value, f"{path}.{name}") for name, value in values.items()}


def check_value(hint: Any, value: Any, path: str) -> Any:
    """The value converted to `hint`.

    Raises:
        RequestError: the value does not fit; a number that is not finite never does.
    """
    if value == "???":
        raise RequestError(f"{path} must be given: {path}=... ({describe(hint)}).")
    if "float" not in describe(hint):
        value = _whole(value)
    try:
        return _adapter(hint).validate_json(json.dumps([value]), strict=True)[0]
    except ValidationError as error:
        place = "".join(f"[{part}]" for part in error.errors()[0]["loc"][1:] if isinstance(part, int))
        got = f"{path} is {json.dumps(value, ensure_ascii=False)}{', wrong at ' + place if place else ''}"
        finite = "" if _is_finite(value) else "finite: "
        near = did_you_mean(str(value), [str(choice) for choice in _choices(hint)])
        raise RequestError(f"{got}; it must be {finite}{describe(hint)}.{near}") from None


@cache
def _adapter(hint: Any) -> TypeAdapter[tuple[Any]]:
    """pydantic's check of one value (in a tuple, since a dataclass by itself takes no config)."""
    return TypeAdapter(tuple[hint], config=ConfigDict(allow_inf_nan=False, extra="forbid"))


def _whole(value: Any) -> Any:
    """1e5 is a float to YAML, and a whole number to everyone else."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def members(hint: Any) -> list[Any]:
    """The members of a union, without Annotated: `Annotated[int, Ge(1)] | None` -> [int, NoneType]."""
    if get_origin(hint) is Annotated:
        return members(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [option for member in get_args(hint) for option in members(member)]
    return [hint]


def _choices(hint: Any) -> list[Any]:
    return [choice for option in members(hint) if get_origin(option) is Literal for choice in get_args(option)]


def describe(hint: Any) -> str:
    """A hint in words: "int, 1 or more", "gru or lstm", "float, 0 or more, less than 1, or null"."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        documented = [item.documentation for item in inner[1:] if isinstance(item, annotated_types.DocInfo)]
        return documented[0] if documented else ", ".join([describe(inner[0]), *_bounds(inner[1:])])
    if origin is Literal:
        return join_or([json.dumps(choice) if not isinstance(choice, str) else choice for choice in inner])
    if origin in (Union, types.UnionType):
        described = [describe(member) for member in inner]
        return ", or ".join(described) if any("," in each for each in described) else join_or(described)
    if hint is type(None):
        return "null"
    if origin in (list, tuple) and inner:
        return f"a list of {describe(inner[0])}"
    if origin is dict:
        return f"a mapping to {describe(inner[1])}"
    if getattr(hint, "_is_protocol", False):
        return "a choice of its own"
    plain = {str: "text", bool: "true or false"}
    return plain.get(hint) or str(getattr(hint, "__name__", hint))


def _bounds(metadata: Iterable[Any]) -> list[str]:
    """Words for annotated_types' bounds, e.g. Interval(ge=0, lt=1) -> ["0 or more", "less than 1"]."""
    words = []
    for item in metadata:
        for name, phrase in _BOUNDS.items():
            if getattr(item, name, None) is not None:
                words.append(phrase.format(getattr(item, name)))
        if getattr(item, "min_length", 0):
            words.append(f"{item.min_length} or more of them")
    return words


def _unknown(cls: type, name: str, path: str, owner: str, declared: Mapping[str, inspect.Parameter]) -> str:
    """The sentence for a key that the class does not declare; where other choices have it, its `refused` says why not here."""
    said = f"{path}.{name} is not a setting of {owner}"
    if reason := getattr(cls, "refused", {}).get(name):
        return f"{said}: {reason}."
    near = difflib.get_close_matches(f"{path}.{name}", [f"{path}.{key}" for key in declared], n=1)
    if near:
        return f"{said}. Did you mean {near[0]} ({describe(declared[near[0].removeprefix(f'{path}.')].annotation)})?"
    return f"{said}. Its settings: {join_and(sorted(declared)) or 'none'}."


def missing_members(cls: type, needed: type) -> list[str]:
    """What `cls` lacks to be a `needed`: members of a protocol, or the class itself where `needed` is no protocol.

    A protocol's attribute counts as present when the class declares it (value or annotation) or sets it in its constructor.
    """
    if needed is Any or not isinstance(needed, type) or needed in cls.__mro__:
        return []
    if not getattr(needed, "_is_protocol", False):
        return [needed.__name__]
    return sorted(name for name in _protocol_members(needed) if not _has(cls, name))


def _protocol_members(protocol: type) -> set[str]:
    found: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base is not Protocol:
            found |= set(vars(base)) | set(vars(base).get("__annotations__", {}))
    return {name for name in found if not name.startswith("_")} | (
        {"__call__"} if callable(vars(protocol).get("__call__")) else set()
    )


def _has(cls: type, name: str) -> bool:
    if name == "__call__":  # every class can be called; its objects only where one of its bases says how
        return any(name in vars(base) for base in cls.__mro__)
    if hasattr(cls, name):
        return True
    # `self.name = ...` in a constructor: Python keeps the names that a function's code uses.
    return any(
        name in vars(base).get("__annotations__", {})
        or name in getattr(vars(base).get("__init__"), "__code__", _NO_CODE).co_names
        for base in cls.__mro__
    )


_NO_CODE = (lambda: None).__code__
