"""The ids of a corpus, written to a folder of the cache.

SPLIT.source, SPLIT.target: ragged ids without `<s>` and `</s>`. SPLIT.rows: the line of the text store behind each example.
target_counts: how often each target id occurs in training. info.json: sizes, for the report.

Shapes: V target vocabulary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seqgen_cli.data import text_store
from seqgen_cli.data.cleaning import CHUNK, StandardCleaning, apply_rules, counts_line
from seqgen_cli.data.dataset import token_dtype
from seqgen_cli.data.store import RaggedWriter, Text, save_array
from seqgen_cli.data.text_store import TextInfo
from seqgen_cli.data.tokenizers import Tokenizer

SIDES = ("source", "target")
Encoded = list[tuple[np.ndarray, np.ndarray]]
"""Both sides of some rows: their ids in one array, and the number of ids of each row."""


@dataclass(frozen=True)
class TokenInfo:
    """A split as stored: examples of each of its corpora, and lines about it for people."""

    parts: list[int]
    report: list[str]


def store_tokens(folder: Path, text: Path, cleaning: StandardCleaning, tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    """Encode every split of a text store into `folder`; training pairs also pass the rules that count tokens."""
    infos = {
        name: _store_split(folder, text, name, info, cleaning, tokenizers) for name, info in text_store.read_info(text).items()
    }
    (folder / "info.json").write_text(json.dumps({name: asdict(info) for name, info in infos.items()}))


def read_info(folder: Path) -> dict[str, TokenInfo]:
    """What store_tokens did, by split."""
    return {name: TokenInfo(**info) for name, info in json.loads((folder / "info.json").read_text()).items()}


def _store_split(
    folder: Path, text: Path, name: str, info: TextInfo, cleaning: StandardCleaning, tokenizers: tuple[Tokenizer, Tokenizer]
) -> TokenInfo:
    rows = np.fromfile(text / f"{name}.rows", np.int64)
    kept = np.zeros(len(rows), bool)
    dropped = Counter(info.dropped)
    with _SplitWriter(folder, name, tokenizers) as writer:
        for start, encoded in _encoded(text, name, rows, tokenizers):
            left = np.ones(len(encoded[0][1]), bool)
            if name == "train" and cleaning.length_unit == "tokens":
                left = apply_rules(cleaning.length_rules(encoded[0][1], encoded[1][1]), dropped)
            writer.append(encoded, left)
            kept[start : start + len(left)] = left
    save_array(folder / f"{name}.rows", rows[kept])
    report = [f"{name}: {info.read:,} pairs read, {kept.sum():,} kept; {writer.sizes()}."]
    if name == "train":
        save_array(folder / "target_counts", writer.counts[1])
        report.append(counts_line(dropped, int(kept.sum())))
    ends = np.concatenate([[0], np.cumsum(kept)])[info.ends]
    return TokenInfo(np.diff(ends, prepend=0).tolist(), report)


def _encoded(text: Path, name: str, rows: np.ndarray, tokenizers: tuple[Tokenizer, Tokenizer]) -> Iterator[tuple[int, Encoded]]:
    """Both sides of consecutive rows, with the position of the first."""
    lines = [Text(text, f"{name}.{side}") for side in SIDES]
    for start in tqdm(range(0, len(rows), CHUNK), f"encoding {name}", delay=2, disable=None, leave=False):
        chunk = rows[start : start + CHUNK]
        sides = zip(tokenizers, lines, strict=True)
        yield start, [tokenizer.encode_flat([side[row] for row in chunk]) for tokenizer, side in sides]


class _SplitWriter:
    """Writes both sides' ids of a split and counts them (`counts`: an array over the vocabulary for each side)."""

    def __init__(self, folder: Path, name: str, tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
        self._files = [RaggedWriter(folder, f"{name}.{side}") for side in SIDES]
        self._tokenizers = tokenizers
        self.counts = [np.zeros(tokenizer.vocab_size, np.int64) for tokenizer in tokenizers]

    def append(self, encoded: Encoded, left: np.ndarray) -> None:
        """Add the rows of both sides that are left."""
        for file, tokenizer, counts, (flat, lengths) in zip(self._files, self._tokenizers, self.counts, encoded, strict=True):
            flat = flat[np.repeat(left, lengths)]
            file.append(flat.astype(token_dtype(tokenizer)), lengths[left])
            counts += np.bincount(flat, minlength=len(counts))
            counts[tokenizer.eos] += left.sum()

    def sizes(self) -> str:
        """Tokens of each side, `</s>` included, and the share of unknown ones."""
        sides = zip(SIDES, self._tokenizers, self.counts, strict=True)
        return ", ".join(
            f"{counts.sum():,} {side} tokens ({counts[tokenizer.unk] / max(1, counts.sum()):.3%} unknown)"
            for side, tokenizer, counts in sides
        )

    def __enter__(self) -> _SplitWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        for file in self._files:
            file.close()
