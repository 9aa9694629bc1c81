"""The lines of a corpus, cleaned and written to a folder of the cache.

SPLIT.source (if there is one), SPLIT.target: ragged UTF-8 lines, those that pass the rules for single rows. SPLIT.rows:
which of them are kept (int64, ascending): duplicates are found only when all have been seen. info.json: what was read and
dropped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seqgen_cli.data.corpora.base import SIDES, Mixture, Row
from seqgen_cli.data.prepare.cleaning import (
    CHUNK,
    Columns,
    EvaluationLines,
    StandardCleaning,
    chunks,
    cleaned,
    counts_line,
    first_occurrences,
    row_hashes,
    row_noun,
)
from seqgen_cli.data.prepare.store import TextWriter, save_array, write_array


@dataclass(frozen=True)
class TextInfo:
    """What became of a split: rows read, rows dropped by each rule, and where each of its corpora ends among the rows."""

    read: int
    dropped: dict[str, int]
    ends: list[int]


def parts(rows: Iterable[Row]) -> tuple[list[Iterable[Row]], list[float]]:
    """The corpora that a split is made of, and the weight of each."""
    return (rows.parts, rows.weights) if isinstance(rows, Mixture) else ([rows], [1.0])


def store_text(
    folder: Path, splits: Mapping[str, Iterable[Row]], cleaning: StandardCleaning, sides: Sequence[str] = SIDES
) -> None:
    """Fill `folder`. Only "train" is cleaned.

    Args:
        splits: rows with a line for each of `sides`.
    """
    known = EvaluationLines(cleaning, chain.from_iterable(rows for name, rows in splits.items() if name != "train"))
    infos = {}
    for name, rows in splits.items():
        with _RowWriter(folder, name, sides) as writer:
            if name == "train":
                infos[name] = _store_train(folder, rows, cleaning, known, writer)
            else:
                infos[name] = _store_evaluation(folder, name, rows, writer)
    (folder / "info.json").write_text(json.dumps({name: asdict(info) for name, info in infos.items()}))


def read_info(folder: Path) -> dict[str, TextInfo]:
    """What store_text did, by split."""
    return {name: TextInfo(**info) for name, info in json.loads((folder / "info.json").read_text()).items()}


def _store_evaluation(folder: Path, name: str, rows: Iterable[Row], writer: _RowWriter) -> TextInfo:
    ends = []
    for part in parts(rows)[0]:
        for chunk in chunks(part, CHUNK):
            writer.append(list(map(list, zip(*chunk, strict=True))))
        ends.append(writer.count)
    save_array(folder / f"{name}.rows", np.arange(writer.count))
    return TextInfo(writer.count, {}, ends)


def _store_train(
    folder: Path, rows: Iterable[Row], cleaning: StandardCleaning, known: EvaluationLines, writer: _RowWriter
) -> TextInfo:
    dropped: Counter[str] = Counter()
    read, ends = _Count(), []
    hashes, unit = folder / "hashes", f" {row_noun(writer.sides)}s"
    with hashes.open("wb") as hash_file:
        for part in parts(rows)[0]:
            progress = tqdm(read.counted(part), "reading train", unit=unit, delay=2, disable=None, leave=False)
            for columns in cleaned(progress, cleaning, known, dropped):
                writer.append(columns)
                if cleaning.drop_duplicates:
                    write_array(hash_file, row_hashes(columns))
            ends.append(writer.count)
    kept = first_occurrences(hashes, folder) if cleaning.drop_duplicates else np.arange(writer.count)
    hashes.unlink()
    save_array(folder / "train.rows", kept)
    dropped["duplicate"] = writer.count - len(kept)
    counts_line(dropped, len(kept), writer.sides)  # refuses an empty training set before a tokenizer trips over it
    return TextInfo(read.count, dict(dropped), np.searchsorted(kept, ends).tolist())


class _RowWriter:
    """Writes the lines of each side of a split, and counts the rows."""

    def __init__(self, folder: Path, name: str, sides: Sequence[str]) -> None:
        self.sides, self.count = len(sides), 0
        self._writers = [TextWriter(folder, f"{name}.{side}") for side in sides]

    def append(self, columns: Columns) -> None:
        for writer, lines in zip(self._writers, columns, strict=True):
            writer.append(lines)
        self.count += len(columns[0])

    def __enter__(self) -> _RowWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        for writer in self._writers:
            writer.__exit__(*raised)


class _Count:
    """Counts the rows that pass."""

    count = 0

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.count += 1
            yield row
