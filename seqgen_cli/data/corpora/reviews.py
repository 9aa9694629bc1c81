"""Your own labelled texts: CSV, TSV or JSONL files with a column for the text and one for its class."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Lt

from seqgen_cli.data.corpora import tables
from seqgen_cli.data.corpora.labelled import Example, LabelledData, shuffled
from seqgen_cli.data.corpora.lines import content_hash
from seqgen_cli.data.corpora.tables import BadRow, Row, scalar
from seqgen_cli.errors import RequestError, counted, well_formed

_WHOLE = re.compile(r"(-?\d+)\.0+")  # a class 1 that a library has written as 1.0


@dataclass(frozen=True)
class Reviews(LabelledData):
    """Labelled files (plain or .gz); the ending says which kind: .csv, .tsv (both with a header line), .jsonl.

    The cut of train keeps each class's share. White space around texts and classes does not count; 1, 1.0 and "1" are one class.

    Args (besides those of LabelledData):
        train, valid, test: files; without valid, part of train validates.
        text, label: names of the columns.
        classes: names of the classes in order; None = those found in train, sorted, numbers by size.
        valid_share: part of train that validates when there is no valid file.
        quoting: whether fields may stand in quotes; None: in .csv, not in .tsv.
        bad_rows: what becomes of a row of another width than its header, or without one text and one class: "error" names it,
            "skip" leaves it out and counts it.

    Raises:
        RequestError: a file is missing, of another kind, or lacks a column; a row is bad.
    """

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    text: str = "text"
    label: str = "label"
    classes: list[str] | None = None
    valid_share: Annotated[float, Gt(0), Lt(1)] = 0.1
    quoting: bool | None = None
    bad_rows: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        if not self._files:
            raise RequestError("data=reviews has no files: set data.train, data.valid and data.test, as in data.train=a.csv.")
        for split, path in self._files.items():
            if not path.is_file():
                raise RequestError(f"data.{split}={path} does not exist (looked for it in {Path.cwd()}).")
            if tables.kind_of(path) not in {*tables.DELIMITERS, ".jsonl"}:
                raise RequestError(f"data.{split}={path}: its name must end in .csv, .tsv or .jsonl (or one of them and .gz).")

    def fingerprint(self) -> str:
        read = [self.text, self.label, self.classes, self.quoting, self.bad_rows]
        settings = ["stratified", self.limit, self.split_seed, self.valid_share, *read]
        parts = {split: tables.kind_of(path) for split, path in self._files.items()}
        return content_hash(self._files.values(), {"corpus": "reviews", "parts": parts, "settings": settings})

    def class_names(self) -> Sequence[str] | None:
        return self._asked

    @property
    def found_names(self) -> Sequence[str] | None:
        """The classes of the whole of train; None without one."""
        return self._whole["train"].names if "train" in self._whole else None

    @property
    def notes(self) -> list[str]:
        """What was left out of the files, or read otherwise than written."""
        return [note for file in self._whole.values() for note in file.notes()]

    def labelled_splits(self) -> Mapping[str, Sequence[Example]]:
        whole = {split: file.examples for split, file in self._whole.items()}
        if "train" in whole and "valid" not in whole:
            whole |= self._cut(whole["train"])
        return {split: self.limited(examples, split) for split, examples in whole.items()}

    @property
    def _files(self) -> dict[str, Path]:
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: Path(path) for split, path in named.items() if path}

    @property
    def _asked(self) -> list[str] | None:
        return self.classes and [_class_name(name) for name in self.classes]

    @cached_property
    def _whole(self) -> dict[str, "_File"]:
        """Every file as read, train first, whose classes the others are held to."""
        read: dict[str, _File] = {}
        for split, path in self._files.items():
            known = read["train"].names if "train" in read else self._asked
            quoting = tables.kind_of(path) == ".csv" if self.quoting is None else self.quoting
            read[split] = _File(path, (self.text, self.label), quoting, known, self.bad_rows == "skip")
        return read

    def _cut(self, examples: Sequence[Example]) -> dict[str, list[Example]]:
        """Part of train for validation, drawn at random, each class's share of it; one example of each class stays at least."""
        order = shuffled(len(examples), self.split_seed, "valid")
        sizes, seen = Counter(label for _, label in examples), Counter[str]()
        part = np.empty(len(examples))
        for place, index in enumerate(order):
            label = examples[index][1]
            seen[label] += 1
            part[place] = seen[label] / sizes[label]
        count = min(max(1, round(len(examples) * self.valid_share)), len(examples) - len(sizes))
        if count < 1:
            raise RequestError(f"{self.train} has one text of each class, and none to spare for validation: give data.valid.")
        taken = set(order[np.argsort(part, kind="stable")[:count]].tolist())
        cut: dict[str, list[Example]] = {"train": [], "valid": []}
        for index in order:
            cut["valid" if int(index) in taken else "train"].append(examples[index])
        return cut


class _File:
    """A labelled file as read.

    Args:
        columns: of text and label. quoting: see tables.rows_of.
        known: the classes there are; None: those found.
        skip: whether bad rows are left out rather than refused.
    """

    def __init__(self, path: Path, columns: tuple[str, str], quoting: bool, known: Sequence[str] | None, skip: bool) -> None:
        self._path, self._columns, self._known = path, columns, known
        self._skipped: dict[str, list[int]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self.examples: list[Example] = []
        for line, row in tables.rows_of(path, columns, quoting):
            try:
                self.examples.append(self._example(row, quoting))
            except BadRow as bad:
                if not skip:
                    advice = f" {bad.advice}" if bad.advice else ""
                    way = " data.bad_rows=skip leaves out such rows and counts them."
                    raise RequestError(f"{path}, line {line:,}: {bad.told}.{advice}{way}") from None
                self._skipped[bad.kind].append(line)
        if not self.examples:
            raise RequestError(f"{path} has no text{''.join(f' ({note})' for note in self.notes())}.")

    @property
    def names(self) -> list[str]:
        """The classes, in order: numbers by size, before other names."""
        found = {label for _, label in self.examples}
        return list(self._known or sorted(found, key=lambda name: (_number(name) is None, _number(name) or 0.0, name)))

    def notes(self) -> list[str]:
        left_out = [
            f"{counted(len(lines), 'row')} {kind} (the first in line {lines[0]:,})" for kind, lines in self._skipped.items()
        ]
        told = {
            "halves": "with half of a character pair (a lone surrogate), read as U+FFFD",
            "quoted": "in quotes, which are kept as part of it; where they only enclose it, set data.quoting=true",
        }
        found = [f"{counted(self._counts[key], 'text')} {what}" for key, what in told.items() if self._counts[key]]
        return [f"{self._path}: {note}." for note in ([f"left out {', '.join(left_out)}"] if left_out else []) + found]

    def _example(self, row: Row, quoting: bool) -> Example:
        if isinstance(row, BadRow):
            raise row
        if lack := tables.absent(row, self._columns):
            raise lack
        text, halves = well_formed(scalar(row[self._columns[0]], "text"))
        label = _class_name(scalar(row[self._columns[1]], "label"))
        if well_formed(label)[1]:
            raise BadRow(
                "with half of a character pair in the label", f"its label {label!a} is cut within a character", "Mend it."
            )
        if label.lower() == "nan" and label not in (self._known or ()):
            raise BadRow("with NaN as label", f"its label is {label}", "Fill it in, or name it in data.classes if it is a class.")
        if self._known is not None and label not in self._known:
            told = f"its class {label!r} is not one of {', '.join(self._known)}"
            raise BadRow("of an unknown class", told, "The classes are those of the training file, or of data.classes.")
        self._counts["halves"] += halves > 0
        self._counts["quoted"] += not quoting and tables.kind_of(self._path) != ".jsonl" and text[:1] == text[-1:] == '"' != text
        return text, label


def _class_name(label: str) -> str:
    """The label without white space around it; 1.0 is 1."""
    whole = _WHOLE.fullmatch(label.strip())
    return whole[1] if whole else label.strip()


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None
