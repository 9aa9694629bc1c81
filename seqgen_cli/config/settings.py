"""The top-level settings of the commands: type and range of each key. A key means the same in every command."""

import keyword
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_type_hints

from annotated_types import Ge, Le

from seqgen_cli.hints import ONCE, Neutral, marked

Files = str | list[str] | None


class Settings:
    """Each command has some of them (configs/<command>.yaml says which, and what they mean), as its config's attributes.

    One with a value here has that where a command has no such key; it is what a run of before counts as having been given.
    A key that is a word of Python ends in an underscore here.
    """

    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 1
    init_from: str | None = None
    fresh: Annotated[bool, ONCE]
    continue_: Annotated[str | None, ONCE]
    dry_run: Annotated[bool, ONCE]
    ckpt: Files
    trust: Annotated[str | list[str], ONCE]
    input: str | None
    prefix: str | None
    output_file: str | None
    source: str | None
    target: str | None
    hyp: str | None
    ref: Files
    split: str
    limit: Annotated[int, Ge(1)] | None
    plot: str | None
    batch_tokens: Annotated[int, Ge(1)]
    window: Annotated[int, Ge(1)]
    max_source_tokens: Annotated[int, Ge(2)]
    text: Files
    prompt: Files
    n: Annotated[int, Ge(1)] | None
    max_length: Annotated[int, Ge(1)]
    top: Annotated[int, Ge(1)]
    jsonl: bool
    invalid_utf8: Literal["replace", "error"]
    target_language: str | None
    parameters_only: bool
    json: Annotated[str | None, ONCE]


TOP_LEVEL: dict[str, Any] = {name.rstrip("_"): hint for name, hint in get_type_hints(Settings, include_extras=True).items()}
"""The hint of each key."""

FLAGS = {"output_file": "output"}
"""Keys whose flag has another name: `--output a.en` (as a key, `output` is the output layer)."""


def attribute(key: str) -> str:
    """The key as a name of Python: continue -> continue_."""
    return f"{key}_" if keyword.iskeyword(key) else key


def once() -> list[str]:
    """Keys of `seqgen train` that a run does not keep."""
    marks = {key: marked(hint, Neutral) for key, hint in TOP_LEVEL.items()}
    return [key for key, mark in marks.items() if mark and not mark.kept]


def flag_of(key: str) -> str:
    """The flag that is short for a key: beam_size -> --beam-size."""
    return "--" + FLAGS.get(key, key).replace("_", "-")


def _bare(key: str) -> Any:
    """The key's hint without its marks."""
    hint = TOP_LEVEL.get(key)
    return get_args(hint)[0] if marked(hint, Neutral) else hint


def is_flag(key: str) -> bool:
    """Whether `--key` alone means true."""
    return _bare(key) is bool


def takes_text(key: str) -> bool:
    """Whether the key's value is text, to be quoted."""
    return _bare(key) is str or str in get_args(_bare(key))


def takes_several(key: str) -> bool:
    """Whether the key takes a list."""
    return list[str] in get_args(_bare(key))


def texts_in(value: Any) -> Iterator[str]:
    """Every string inside plain data, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from texts_in(item)
