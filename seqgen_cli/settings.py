"""The top-level settings of the commands: type and range of each key. The same key means the same in every command."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le

Files = str | list[str] | None

TOP_LEVEL: dict[str, Any] = {
    "seed": Annotated[int, Ge(0), Le(2**31 - 1)],
    "init_from": str | None,
    "ckpt": Files,
    "trust": Files,
    "fresh": bool,
    "continue": str | None,
    "dry_run": bool,
    "input": str | None,
    "output_file": str | None,
    "source": str | None,
    "target": str | None,
    "hyp": str | None,
    "ref": Files,
    "split": str,
    "limit": Annotated[int, Ge(1)] | None,
    "json": str | None,
    "plot": str | None,
}
