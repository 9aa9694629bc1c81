"""Results as a table on stdout, and as a JSON file."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgen_cli.errors import RequestError

_WIDTH = 10_000  # where stdout is a file: nothing is folded, and a table is only as wide as it needs


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a title, a table (first column left-aligned, the others right), and notes, a line each."""
    from rich.box import SIMPLE  # only now: not every command that could show a table does
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_WIDTH)
    table = Table(box=SIMPLE)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(title, style="bold", soft_wrap=True)
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)


def number(value: float, form: str) -> str:
    """A figure in this form; words where it is none."""
    return "not a number" if math.isnan(value) else f"{value:{form}}"


def count(number: float) -> str:
    """A count with thousands separated: 25,428,800; small rates keep three digits: 4.27."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as every parser takes it: null for a number that is none, or infinite."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_to_write(flag: str, name: str | None) -> Path | None:
    """The file that a flag asks to write, refused before any work where that cannot be."""
    if name is not None and not Path(name).absolute().parent.is_dir():
        raise RequestError(f"{flag} {name}: its folder does not exist.")
    return Path(name) if name is not None else None


def write_figures(place: Path, figures: Any) -> None:
    """Write the figures as JSON; a reader never sees half a file."""
    temporary = place.with_name(f".{place.name}.part")
    temporary.write_text(to_json(figures, indent=2) + "\n", encoding="utf-8")
    temporary.replace(place)
