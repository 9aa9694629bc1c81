"""Which training rows are kept: pairs, or lines of one side. Evaluation sets are never cleaned: every line of them counts.

Rules are applied in the order of `RULES`, and a row is counted under the first that drops it. Nothing is held per
row in memory: what must be compared across the corpus is a 64-bit hash a row, on disk, in partitions. Two different
rows share a hash with probability n^2 / 2^65: one wrongly dropped row in 370,000 corpora of 10 million rows.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from annotated_types import Ge

from seqgen_cli.data.corpora.base import Row
from seqgen_cli.data.prepare.store import write_array
from seqgen_cli.errors import RequestError

CHUNK = 8192  # rows handled at once
PARTITION = 1 << 20  # hashes compared in memory at once: about 40 MB
RULES = {
    "empty": "a side is empty",
    "overlap": "occurs in valid or test",
    "duplicate": "exact duplicate",
    "too long": "too long",
    "ratio": "lengths too unlike",
}

Columns = list[list[str]]
"""Some rows, side by side: the lines of each side."""

T = TypeVar("T")


@dataclass(frozen=True)
class StandardCleaning:
    """The rules and their bounds; None or False turns a rule off.

    Args:
        normalize: what is done to training lines first. "whitespace": every run of white space becomes one space,
            none at the ends. "nfkc": that after Unicode NFKC. (What a model reads of any line, in training or not,
            is normalised by the tokenizer; this decides what counts as equal and what is stored.)
        drop_empty: drop pairs with an empty side.
        length_unit: what max_length and max_ratio count: "tokens" of the tokenizer, white-space "words", "characters".
        max_length: longest side kept.
        max_ratio: longest kept ratio of the longer to the shorter side.
        drop_duplicates: keep the first of equal pairs.
        drop_overlap: drop a pair of which "either" side stands as a line on that side of valid or test; only
            those whose whole "pair" does; or "none".

    Lines of one side are judged alike; they have no ratio, and "either" and "pair" mean the line.
    """

    normalize: Literal["none", "whitespace", "nfkc"] = "whitespace"
    drop_empty: bool = True
    length_unit: Literal["tokens", "words", "characters"] = "tokens"
    max_length: Annotated[int, Ge(1)] | None = 250
    max_ratio: Annotated[float, Ge(1)] | None = 9.0
    drop_duplicates: bool = True
    drop_overlap: Literal["none", "pair", "either"] = "either"

    def normalized(self, line: str) -> str:
        """The line as it is compared and stored."""
        if self.normalize == "none":
            return line
        if self.normalize == "nfkc":
            line = unicodedata.normalize("NFKC", line)
        return " ".join(line.split())

    def length_rules(self, *lengths_n: np.ndarray) -> dict[str, np.ndarray]:
        """For "too long" and "ratio": which of the n rows, given by the lengths of each side, the rule drops."""
        longer_n, shorter_n = np.maximum.reduce(lengths_n), np.minimum.reduce(lengths_n)
        nothing_n = np.zeros(len(longer_n), bool)
        return {
            "too long": nothing_n if self.max_length is None else longer_n > self.max_length,
            "ratio": nothing_n if self.max_ratio is None else longer_n > self.max_ratio * np.maximum(shorter_n, 1),
        }

    def _lengths(self, lines: Sequence[str]) -> np.ndarray:
        return np.array([len(line.split()) if self.length_unit == "words" else len(line) for line in lines], np.int64)


class EvaluationLines:
    """What occurs in the evaluation sets, as sorted 64-bit hashes (8 bytes a line)."""

    def __init__(self, cleaning: StandardCleaning, evaluation: Iterable[Row]) -> None:
        self._by = cleaning.drop_overlap
        hashes: list[np.ndarray] = []
        if self._by != "none":
            for chunk in chunks(evaluation, CHUNK):
                hashes.append(np.stack(self._hashes(_columns(chunk, cleaning))))
        joined = np.concatenate(hashes, axis=1) if hashes else np.zeros((1, 0), np.uint64)
        self._known = [np.unique(known) for known in joined]

    def contain(self, columns: Columns) -> np.ndarray:
        """Which of these rows overlap."""
        if self._by == "none":
            return np.zeros(len(columns[0]), bool)
        found = [np.isin(hashes, known) for hashes, known in zip(self._hashes(columns), self._known, strict=False)]
        return np.logical_or.reduce(found)

    def _hashes(self, columns: Columns) -> list[np.ndarray]:
        """One array of hashes for each thing that must not recur: the row, or each side."""
        return [row_hashes(columns)] if self._by == "pair" else [line_hashes(lines) for lines in columns]


def _columns(rows: Sequence[Row], cleaning: StandardCleaning) -> Columns:
    return [[cleaning.normalized(line) for line in lines] for lines in zip(*rows, strict=True)]


def cleaned(
    rows: Iterable[Row], cleaning: StandardCleaning, evaluation: EvaluationLines, dropped: Counter[str]
) -> Iterator[Columns]:
    """Chunks of the rows left by the rules that look at one row alone; the others add to `dropped`."""
    for chunk in chunks(rows, CHUNK):
        columns = _columns(chunk, cleaning)
        bad = {"overlap": evaluation.contain(columns)}
        if cleaning.drop_empty:
            empty = np.array([not all(line.strip() for line in row) for row in zip(*columns, strict=True)])
            bad = {"empty": empty, **bad}
        if cleaning.length_unit != "tokens":
            bad |= cleaning.length_rules(*(cleaning._lengths(lines) for lines in columns))
        kept = np.flatnonzero(apply_rules(bad, dropped)).tolist()
        yield [[lines[row] for row in kept] for lines in columns]


def apply_rules(bad: dict[str, np.ndarray], dropped: Counter[str]) -> np.ndarray:
    """Which rows no rule drops; each dropped row is counted under its first rule."""
    left = ~np.zeros_like(next(iter(bad.values())))
    for rule, rows in bad.items():
        dropped[rule] += int((left & rows).sum())
        left &= ~rows
    return left


def counts_line(dropped: Counter[str], kept: int, sides: int = 2) -> str:
    """How many training rows each rule dropped, for people.

    Raises:
        RequestError: none is left.
    """
    rules = RULES if sides > 1 else {rule: meaning for rule, meaning in RULES.items() if rule != "ratio"} | {"empty": "empty"}
    line = "dropped from train: " + "; ".join(f"{meaning} {dropped[rule]:,}" for rule, meaning in rules.items()) + "."
    if not kept:
        noun = row_noun(sides)
        raise RequestError(f"Cleaning leaves no training {noun} ({line[:-1]}): loosen the cleaning settings.")
    return line


def row_noun(sides: int) -> str:
    """What people call a row."""
    return "pair" if sides > 1 else "line"


def line_hashes(lines: Sequence[str]) -> np.ndarray:
    """64-bit hashes of lines."""
    digests = b"".join([hashlib.blake2b(line.encode("utf-8"), digest_size=8).digest() for line in lines])
    return np.frombuffer(digests, np.uint64)


def row_hashes(columns: Columns) -> np.ndarray:
    """64-bit hashes of rows (no line contains the line end that stands between the sides here)."""
    return line_hashes(["\n".join(row) for row in zip(*columns, strict=True)])


def first_occurrences(hashes: Path, work: Path, partition: int = PARTITION) -> np.ndarray:
    """Rows (int64, ascending, memory-mapped) that hold the first of equal values.

    Equal values fall into the same partition, by their high bits, so each partition is settled alone: two passes
    over the file, and memory for about `partition` values however many there are.

    Args:
        hashes: file of n uint64.
        work: an existing folder for temporary files, of 25 n bytes in all.
    """
    count = hashes.stat().st_size // 8
    if not count:
        return np.zeros(0, np.int64)
    values = np.memmap(hashes, np.uint64, "r")
    bits = min(8, max(0, int(np.ceil(np.log2(count / partition)))))
    row_and_value = np.dtype([("row", np.int64), ("value", np.uint64)])
    files = [work / f"partition-{number}" for number in range(1 << bits)]
    for start in range(0, count, partition):
        chunk = np.empty(min(partition, count - start), row_and_value)
        chunk["row"], chunk["value"] = np.arange(start, start + len(chunk)), values[start : start + len(chunk)]
        owner = (chunk["value"] >> np.uint64(64 - bits)) if bits else np.zeros(len(chunk), np.uint64)
        for number, file in enumerate(files):
            with file.open("ab") as out:
                write_array(out, chunk[owner == number])
    with (work / "keep").open("wb") as out:  # written in full, so that a full disk is an error here and no bus error below
        for start in range(0, count, partition):
            write_array(out, np.zeros(min(partition, count - start), bool))
    keep = np.memmap(work / "keep", bool, "r+")
    for file in files:
        part = np.fromfile(file, row_and_value)  # rows ascend, and np.unique points at the first
        keep[part["row"][np.unique(part["value"], return_index=True)[1]]] = True
        file.unlink()
    with (work / "rows").open("wb") as out:
        for start in range(0, count, partition):
            write_array(out, start + np.flatnonzero(keep[start : start + partition]))
    return np.memmap(work / "rows", np.int64, "r")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
