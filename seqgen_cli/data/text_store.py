"""The lines of a corpus, cleaned and written to a folder of the cache.

SPLIT.source, SPLIT.target: ragged UTF-8 lines, those that pass the rules for single pairs. SPLIT.rows: which of them are
kept (int64, ascending): duplicates are found only when all have been seen. info.json: what was read and dropped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seqgen_cli.data.cleaning import (
    CHUNK,
    EvaluationLines,
    StandardCleaning,
    chunks,
    cleaned,
    counts_line,
    first_occurrences,
    pair_hashes,
)
from seqgen_cli.data.corpora import Mixture, Pair
from seqgen_cli.data.store import TextWriter, save_array, write_array


@dataclass(frozen=True)
class TextInfo:
    """What became of a split: pairs read, pairs dropped by each rule, and where each of its corpora ends among the rows."""

    read: int
    dropped: dict[str, int]
    ends: list[int]


def parts(pairs: Iterable[Pair]) -> tuple[list[Iterable[Pair]], list[float]]:
    """The corpora that a split is made of, and the weight of each."""
    return (pairs.parts, pairs.weights) if isinstance(pairs, Mixture) else ([pairs], [1.0])


def store_text(folder: Path, splits: Mapping[str, Iterable[Pair]], cleaning: StandardCleaning) -> None:
    """Fill `folder`. Only "train" is cleaned."""
    known = EvaluationLines(cleaning, chain.from_iterable(pairs for name, pairs in splits.items() if name != "train"))
    infos = {
        name: _store_train(folder, pairs, cleaning, known) if name == "train" else _store_evaluation(folder, name, pairs)
        for name, pairs in splits.items()
    }
    (folder / "info.json").write_text(json.dumps({name: asdict(info) for name, info in infos.items()}))


def read_info(folder: Path) -> dict[str, TextInfo]:
    """What store_text did, by split."""
    return {name: TextInfo(**info) for name, info in json.loads((folder / "info.json").read_text()).items()}


def _store_evaluation(folder: Path, name: str, pairs: Iterable[Pair]) -> TextInfo:
    count, ends = 0, []
    with TextWriter(folder, f"{name}.source") as sources, TextWriter(folder, f"{name}.target") as targets:
        for part in parts(pairs)[0]:
            for chunk in chunks(part, CHUNK):
                sources.append([source for source, _ in chunk])
                targets.append([target for _, target in chunk])
                count += len(chunk)
            ends.append(count)
    save_array(folder / f"{name}.rows", np.arange(count))
    return TextInfo(count, {}, ends)


def _store_train(folder: Path, pairs: Iterable[Pair], cleaning: StandardCleaning, known: EvaluationLines) -> TextInfo:
    dropped: Counter[str] = Counter()
    read, count, ends = _Count(), 0, []
    hashes = folder / "hashes"
    with (
        TextWriter(folder, "train.source") as sources,
        TextWriter(folder, "train.target") as targets,
        hashes.open("wb") as hash_file,
    ):
        for part in parts(pairs)[0]:
            progress = tqdm(read.counted(part), "reading train", unit=" pairs", delay=2, disable=None, leave=False)
            for source_lines, target_lines in cleaned(progress, cleaning, known, dropped):
                sources.append(source_lines)
                targets.append(target_lines)
                if cleaning.drop_duplicates:
                    write_array(hash_file, pair_hashes(source_lines, target_lines))
                count += len(source_lines)
            ends.append(count)
    rows = first_occurrences(hashes, folder) if cleaning.drop_duplicates else np.arange(count)
    hashes.unlink()
    save_array(folder / "train.rows", rows)
    dropped["duplicate"] = count - len(rows)
    counts_line(dropped, len(rows))  # refuses an empty training set before a tokenizer trips over it
    return TextInfo(read.count, dict(dropped), np.searchsorted(rows, ends).tolist())


class _Count:
    """Counts the pairs that pass."""

    count = 0

    def counted(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        for pair in pairs:
            self.count += 1
            yield pair
