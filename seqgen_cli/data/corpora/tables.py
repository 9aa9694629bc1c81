"""Rows of CSV, TSV and JSONL files, each with its line: the cells under the header's names, or why the row does not fit."""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from seqgen_cli.data.corpora.lines import decoded, open_text
from seqgen_cli.errors import RequestError, counted

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHER_DELIMITERS = ";\t|"  # of files that are called .csv all the same, where the header shows it
_LARGEST_FIELD = 1 << 24  # characters; Python's own limit is 131,072
_NO_OBJECTS = "that are no JSON objects"
_SHOWN = 60  # characters of what a row holds
_AFTER_CR = re.compile(r"(?<=\r)(?!\n)")


class BadRow(Exception):  # noqa: N818  (one row's fault, which a setting may pass over)
    """A row that cannot be an example.

    Args:
        kind: what counts of such rows call them, as in "3 with an empty text".
        told: what is wrong, and what it holds. advice: what to do about it.
    """

    def __init__(self, kind: str, told: str, advice: str = "") -> None:
        super().__init__(told)
        self.kind, self.told, self.advice = kind, told, advice


Row = Mapping[str, object] | BadRow


def kind_of(path: Path) -> str:
    """The ending that says how a file is read, .gz left out."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def rows_of(path: Path, columns: Sequence[str], quoting: bool) -> Iterator[tuple[int, Row]]:
    """Each row of a file with the line at which it begins; empty lines are passed over.

    Args:
        columns: those that are wanted.
        quoting: whether a field of a table may stand in quotes, and then hold delimiters, line breaks and doubled quotes.

    Raises:
        RequestError: the file cannot be read or cut into rows, or its header lacks a column.
    """
    return _objects(path) if kind_of(path) == ".jsonl" else _table(path, columns, quoting)


def shown(values: Sequence[object]) -> str:
    """What a row holds, shortened: `pos | great | but long`."""
    text = " | ".join(str(value) for value in values)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 4] + " ...")


def scalar(value: object, name: str) -> str:
    """A cell as text, without white space around it.

    Args:
        name: what the cell should be: text or label.

    Raises:
        BadRow: it is empty, null, no number, or holds several values.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(f"with an empty {name}", f"its {name} is {'null' if value is None else 'empty'}", "Fill it in.")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRow(f"with no {name}", f"its {name} is {json.dumps(value)}", "Fill it in.")
    if not isinstance(value, str | int | float):
        told = f"its {name} holds several values, {shown([json.dumps(value, ensure_ascii=False)])}"
        raise BadRow(f"with several values as {name}", told, f"Give each row one {name}.")
    return str(value).strip()


def _table(path: Path, columns: Sequence[str], quoting: bool) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(_LARGEST_FIELD)
    usual = DELIMITERS[kind_of(path)]
    with open_text(path) as file:
        lines = _ended(decoded(file, str(path)))
        first = next(lines, "\n")
        if not first.strip():
            raise RequestError(f"{path} is empty: its first line names the columns, as in {usual.join(columns)}.")
        delimiter = _delimiter(first, usual, columns, quoting)
        reader = _reader([first], delimiter, quoting)
        header = _header(path, _next(reader, path, 1) or [], columns, delimiter)
        reader, start = _reader(lines, delimiter, quoting), 2
        while (cells := _next(reader, path, start)) is not None:
            if any(cell.strip() for cell in cells):
                yield start, _fitted(cells, header, delimiter, quoting)
            start = 2 + reader.line_num


def _ended(lines: Iterator[str]) -> Iterator[str]:
    """The lines with their ends; where the first is ended by \\r alone, as in files of old, every one is."""
    first = next(lines, "")
    for line in chain([first], lines):
        yield from _AFTER_CR.split(line + "\n") if "\r" in first else [line + "\n"]


def _reader(lines: Iterator[str] | list[str], delimiter: str, quoting: bool) -> Any:
    if quoting:
        return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)


def _next(reader: Iterator[list[str]], path: Path, line: int) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        told = f"its quotes do not close ({error}). Inside a quoted field a quote is written twice; where quotes are part of the "
        told += "text, set data.quoting=false"
        if "new-line character" in str(error):
            told = "a carriage return stands in it, outside quotes. Take such out of the file: tr -d '\\r'"
        raise RequestError(f"{path}, the row at line {line:,}: {told}.") from None


def _delimiter(header: str, usual: str, columns: Sequence[str], quoting: bool) -> str:
    """What separates the columns: the usual, unless the header has the columns by another alone."""

    def names(delimiter: str) -> set[str]:
        return {name.strip() for name in next(_reader([header], delimiter, quoting), [])}

    try:
        fitting = [each for each in (usual, *_OTHER_DELIMITERS) if set(columns) <= names(each)]
    except csv.Error:
        return usual
    return fitting[0] if fitting else usual


def _header(path: Path, cells: Sequence[str], columns: Sequence[str], delimiter: str) -> list[str]:
    """The names of the columns; unnamed ones at the end, as spreadsheets leave them, are no columns."""
    names = _without_empty_end([cell.strip() for cell in cells], 0)
    if lack := absent(names, columns):
        raise RequestError(f"{path}, line 1: {lack.told}. {lack.advice}")
    for column in columns:
        if names.count(column) > 1:
            raise RequestError(f"{path}, line 1: the header names {column!r} {names.count(column)} times. Rename all but one.")
    return names


def absent(names: Iterable[str], columns: Sequence[str]) -> BadRow | None:
    """What is wrong where a column of text and label is not among the names."""
    for setting, column in zip(("text", "label"), columns, strict=True):
        if column not in names:
            has = ", ".join(names) or "none"
            return BadRow(f"without a column {column!r}", f"no column {column!r} (it has {has})", f"Set data.{setting}.")
    return None


def _fitted(cells: list[str], header: Sequence[str], delimiter: str, quoting: bool) -> Row:
    cells = _without_empty_end(cells, len(header))
    if len(cells) == len(header):
        return dict(zip(header, cells, strict=True))
    mark = {",": "comma", "\t": "tab"}.get(delimiter, delimiter)
    if quoting:
        advice = f'A text with a {mark} in it needs quotes around it, "like this".'
    else:
        advice = (
            f"Without quotes a text can hold no {mark} and no line break; where fields stand in quotes, set data.quoting=true."
        )
    told = f"{counted(len(cells), 'field')}, {shown(cells)}, where the header has {len(header)} ({', '.join(header)})"
    return BadRow(f"of another width than the header's {len(header)}", told, advice)


def _without_empty_end(cells: list[str], width: int) -> list[str]:
    """The cells without empty ones at the end, but not fewer than `width`."""
    end = len(cells)
    while end > width and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _objects(path: Path) -> Iterator[tuple[int, Row]]:
    with open_text(path) as file:
        for number, line in enumerate(decoded(file, str(path)), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, BadRow(_NO_OBJECTS, f"not JSON ({error})")
                continue
            yield number, row if isinstance(row, dict) else BadRow(_NO_OBJECTS, f"not a JSON object, {shown([line])}")
