"""Your own labelled texts: CSV, TSV or JSONL files with a column for the text and one for its class."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Lt

from seqgen_cli.data.corpora.labelled import Example, LabelledData, shuffled
from seqgen_cli.data.corpora.lines import content_hash, decoded, open_text
from seqgen_cli.errors import RequestError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LARGEST_FIELD = 1 << 24  # characters; Python's own limit is 131,072


@dataclass(frozen=True)
class Reviews(LabelledData):
    """Labelled files (plain or .gz); the ending says which kind: .csv, .tsv (both with a header line), .jsonl.

    Args (besides those of LabelledData):
        train, valid, test: files; without valid, part of train validates.
        text, label: names of the columns.
        classes: names of the classes in order; None = those found, sorted.
        valid_share: part of train that validates when there is no valid file.

    Raises:
        RequestError: a file is missing, of another kind, or lacks a column.
    """

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    text: str = "text"
    label: str = "label"
    classes: list[str] | None = None
    valid_share: Annotated[float, Gt(0), Lt(1)] = 0.1

    def __post_init__(self) -> None:
        if not self._files:
            raise RequestError("data=reviews has no files: set data.train, data.valid and data.test, as in data.train=a.csv.")
        for split, path in self._files.items():
            if not path.is_file():
                raise RequestError(f"data.{split}={path} does not exist (looked for it in {Path.cwd()}).")
            if _kind(path) not in {*_DELIMITERS, ".jsonl"}:
                raise RequestError(f"data.{split}={path}: its name must end in .csv, .tsv or .jsonl (or one of them and .gz).")

    def fingerprint(self) -> str:
        settings = [self.limit, self.split_seed, self.text, self.label, self.classes, self.valid_share]
        parts = {split: _kind(path) for split, path in self._files.items()}
        return content_hash(self._files.values(), {"corpus": "reviews", "parts": parts, "settings": settings})

    def class_names(self) -> Sequence[str] | None:
        return self.classes

    def labelled_splits(self) -> Mapping[str, Sequence[Example]]:
        whole = {split: list(self._read(path)) for split, path in self._files.items()}
        if "train" in whole and "valid" not in whole:
            examples = whole["train"]
            order = shuffled(len(examples), self.split_seed, "valid")
            cut = max(1, round(len(examples) * self.valid_share))
            whole = {**whole, "train": [examples[i] for i in order[cut:]], "valid": [examples[i] for i in order[:cut]]}
        return {split: self.limited(examples, split) for split, examples in whole.items()}

    @property
    def _files(self) -> dict[str, Path]:
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: Path(path) for split, path in named.items() if path}

    def _read(self, path: Path) -> Iterator[Example]:
        rows = _json_rows(path) if _kind(path) == ".jsonl" else _table_rows(path, _DELIMITERS[_kind(path)])
        for number, row in rows:
            for column in (self.text, self.label):
                if row.get(column) is None:
                    setting = "text" if column == self.text else "label"
                    has = ", ".join(str(name) for name in row if name is not None)
                    raise RequestError(f"{path}, line {number:,}: no column {column!r} (it has {has}). Set data.{setting}.")
            yield str(row[self.text]).strip(), str(row[self.label])


def _kind(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _table_rows(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Line number and columns of each row. A field may hold line breaks, in quotes."""
    csv.field_size_limit(_LARGEST_FIELD)
    with open_text(path) as file:
        reader = csv.DictReader((line + "\n" for line in decoded(file, str(path))), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise RequestError(f"{path}, line {reader.line_num:,}: {error}.") from None


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Line number and fields of each line's object; empty lines are passed over."""
    with open_text(path) as file:
        for number, line in enumerate(decoded(file, str(path)), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise RequestError(f"{path}, line {number:,}: not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise RequestError(f"{path}, line {number:,}: not a JSON object.")
            yield number, row
