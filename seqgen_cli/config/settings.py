"""The top-level settings of the commands: type and range of each key. A key means the same in every command."""

from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Le

Files = str | list[str] | None

TOP_LEVEL: dict[str, Any] = {
    "seed": Annotated[int, Ge(0), Le(2**31 - 1)],
    "init_from": str | None,
    "fresh": bool,
    "continue": str | None,
    "dry_run": bool,
    "ckpt": Files,
    "trust": str | list[str],
    "input": str | None,
    "prefix": str | None,
    "output_file": str | None,
    "source": str | None,
    "target": str | None,
    "hyp": str | None,
    "ref": Files,
    "split": str,
    "limit": Annotated[int, Ge(1)] | None,
    "plot": str | None,
    "batch_tokens": Annotated[int, Ge(1)],
    "window": Annotated[int, Ge(1)],
    "max_source_tokens": Annotated[int, Ge(2)],
    "text": Files,
    "prompt": Files,
    "n": Annotated[int, Ge(1)] | None,
    "max_length": Annotated[int, Ge(1)],
    "top": Annotated[int, Ge(1)],
    "jsonl": bool,
    "invalid_utf8": Literal["replace", "error"],
    "target_language": str | None,
    "parameters_only": bool,
    "json": str | None,
}


FLAGS = {"output_file": "output"}
"""Keys whose flag has another name: `--output a.en` (as a key, `output` is the output layer)."""


def flag_of(key: str) -> str:
    """The flag that is short for a key: beam_size -> --beam-size."""
    return "--" + FLAGS.get(key, key).replace("_", "-")


def is_flag(key: str) -> bool:
    """Whether `--key` alone means true."""
    return TOP_LEVEL.get(key) is bool


def takes_text(key: str) -> bool:
    """Whether the key's value is text, to be quoted."""
    hint = TOP_LEVEL.get(key)
    return hint is str or str in get_args(hint)


def takes_several(key: str) -> bool:
    """Whether the key takes a list."""
    return list[str] in get_args(TOP_LEVEL.get(key))
