"""Which training pairs are kept. Evaluation sets are never cleaned: every line of them counts.

Rules are applied in the order of `RULES`, and a pair is counted under the first that drops it. Nothing is held per
pair in memory: what must be compared across the corpus is a 64-bit hash a pair, on disk, in partitions. Two different
pairs share a hash with probability n^2 / 2^65: one wrongly dropped pair in 370,000 corpora of 10 million pairs.
"""

from __future__ import annotations

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

from seqgen_cli.data.corpora import Pair
from seqgen_cli.data.store import write_array
from seqgen_cli.errors import RequestError

CHUNK = 8192  # pairs handled at once
PARTITION = 1 << 20  # hashes compared in memory at once: about 40 MB
RULES = {
    "empty": "a side is empty",
    "overlap": "occurs in valid or test",
    "duplicate": "exact duplicate",
    "too long": "too long",
    "ratio": "lengths too unlike",
}

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

    def length_rules(self, source_lengths_n: np.ndarray, target_lengths_n: np.ndarray) -> dict[str, np.ndarray]:
        """For "too long" and "ratio": which of the n pairs, given by the lengths of their sides, the rule drops."""
        longer_n, shorter_n = np.maximum(source_lengths_n, target_lengths_n), np.minimum(source_lengths_n, target_lengths_n)
        nothing_n = np.zeros(len(longer_n), bool)
        return {
            "too long": nothing_n if self.max_length is None else longer_n > self.max_length,
            "ratio": nothing_n if self.max_ratio is None else longer_n > self.max_ratio * np.maximum(shorter_n, 1),
        }

    def _lengths(self, lines: Sequence[str]) -> np.ndarray:
        return np.array([len(line.split()) if self.length_unit == "words" else len(line) for line in lines], np.int64)


class EvaluationLines:
    """What occurs in the evaluation sets, as sorted 64-bit hashes (8 bytes a line)."""

    def __init__(self, cleaning: StandardCleaning, evaluation: Iterable[Pair]) -> None:
        self._by = cleaning.drop_overlap
        hashes: list[np.ndarray] = []
        if self._by != "none":
            for chunk in chunks(evaluation, CHUNK):
                sources, targets = ([cleaning.normalized(pair[side]) for pair in chunk] for side in (0, 1))
                hashes.append(np.stack(self._hashes(sources, targets)))
        joined = np.concatenate(hashes, axis=1) if hashes else np.zeros((1, 0), np.uint64)
        self._known = [np.unique(known) for known in joined]

    def contain(self, sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        """Which of these pairs overlap."""
        if self._by == "none":
            return np.zeros(len(sources), bool)
        found = [np.isin(hashes, known) for hashes, known in zip(self._hashes(sources, targets), self._known, strict=False)]
        return np.logical_or.reduce(found)

    def _hashes(self, sources: Sequence[str], targets: Sequence[str]) -> list[np.ndarray]:
        """One array of hashes for each thing that must not recur: the pair, or each side."""
        return [pair_hashes(sources, targets)] if self._by == "pair" else [line_hashes(sources), line_hashes(targets)]


def cleaned(
    pairs: Iterable[Pair], cleaning: StandardCleaning, evaluation: EvaluationLines, dropped: Counter[str]
) -> Iterator[tuple[list[str], list[str]]]:
    """Chunks of (sources, targets) left by the rules that look at one pair of lines; the others add to `dropped`."""
    for chunk in chunks(pairs, CHUNK):
        sources, targets = ([cleaning.normalized(pair[side]) for pair in chunk] for side in (0, 1))
        bad = {"overlap": evaluation.contain(sources, targets)}
        if cleaning.drop_empty:
            empty = np.array([not (source.strip() and target.strip()) for source, target in zip(sources, targets, strict=True)])
            bad = {"empty": empty, **bad}
        if cleaning.length_unit != "tokens":
            bad |= cleaning.length_rules(cleaning._lengths(sources), cleaning._lengths(targets))
        kept = np.flatnonzero(apply_rules(bad, dropped)).tolist()
        yield [sources[row] for row in kept], [targets[row] for row in kept]


def apply_rules(bad: dict[str, np.ndarray], dropped: Counter[str]) -> np.ndarray:
    """Which rows no rule drops; each dropped row is counted under its first rule."""
    left = ~np.zeros_like(next(iter(bad.values())))
    for rule, rows in bad.items():
        dropped[rule] += int((left & rows).sum())
        left &= ~rows
    return left


def counts_line(dropped: Counter[str], kept: int) -> str:
    """How many training pairs each rule dropped, for people.

    Raises:
        RequestError: none is left.
    """
    line = "dropped from train: " + "; ".join(f"{meaning} {dropped[rule]:,}" for rule, meaning in RULES.items()) + "."
    if not kept:
        raise RequestError(f"Cleaning leaves no training pair ({line[:-1]}): loosen the cleaning settings.")
    return line


def line_hashes(lines: Sequence[str]) -> np.ndarray:
    """64-bit hashes of lines."""
    digests = b"".join([hashlib.blake2b(line.encode("utf-8"), digest_size=8).digest() for line in lines])
    return np.frombuffer(digests, np.uint64)


def pair_hashes(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """64-bit hashes of pairs (no line contains the line end that stands between the sides here)."""
    return line_hashes([f"{source}\n{target}" for source, target in zip(sources, targets, strict=True)])


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
