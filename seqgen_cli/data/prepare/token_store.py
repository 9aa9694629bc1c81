"""The ids of a corpus, written to a folder of the cache.

SPLIT.source (if there is one), SPLIT.target: ragged ids without `<s>` and `</s>`. SPLIT.rows: the line of the text store
behind each example. target_counts: how often each target id occurs in training. info.json: sizes, for the report.

Shapes: V target vocabulary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seqgen_cli.data.dataset import token_dtype
from seqgen_cli.data.prepare import text_store
from seqgen_cli.data.prepare.cleaning import CHUNK, StandardCleaning, apply_rules, counts_line, row_noun
from seqgen_cli.data.prepare.store import RaggedWriter, Text, save_array
from seqgen_cli.data.prepare.text_store import TextInfo
from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.errors import counted

Encoded = list[tuple[np.ndarray, np.ndarray]]
"""Each side of some rows: their ids in one array, and the number of ids of each row."""
Tokenizers = Mapping[str, TextTokenizer]
"""A tokenizer for each side, the target last."""


@dataclass(frozen=True)
class TokenInfo:
    """A split as stored: examples of each of its corpora, unknown tokens' share of the target, lines about it for people."""

    parts: list[int]
    unknown: float
    report: list[str]


def store_tokens(folder: Path, text: Path, cleaning: StandardCleaning, tokenizers: Tokenizers) -> None:
    """Encode every split of a text store into `folder`; training rows also pass the rules that count tokens."""
    infos = {
        name: _store_split(folder, text, name, info, cleaning, tokenizers) for name, info in text_store.read_info(text).items()
    }
    (folder / "info.json").write_text(json.dumps({name: asdict(info) for name, info in infos.items()}))


def read_info(folder: Path) -> dict[str, TokenInfo]:
    """What store_tokens did, by split."""
    return {name: TokenInfo(**info) for name, info in json.loads((folder / "info.json").read_text()).items()}


def _store_split(
    folder: Path, text: Path, name: str, info: TextInfo, cleaning: StandardCleaning, tokenizers: Tokenizers
) -> TokenInfo:
    rows = np.fromfile(text / f"{name}.rows", np.int64)
    kept = np.zeros(len(rows), bool)
    dropped = Counter(info.dropped)
    with _SplitWriter(folder, name, tokenizers) as writer:
        for start, encoded in _encoded(text, name, rows, tokenizers):
            left = np.ones(len(encoded[0][1]), bool)
            if name == "train" and cleaning.length_unit == "tokens":
                left = apply_rules(cleaning.length_rules(*(lengths for _, lengths in encoded)), dropped)
            writer.append(encoded, left)
            kept[start : start + len(left)] = left
    save_array(folder / f"{name}.rows", rows[kept])
    noun = row_noun(len(tokenizers))
    report = [f"{name}: {counted(info.read, noun)} read, {kept.sum():,} kept; {writer.sizes()}."]
    if name == "train":
        save_array(folder / "target_counts", writer.counts["target"])
        report.append(counts_line(dropped, int(kept.sum()), len(tokenizers)))
    ends = np.concatenate([[0], np.cumsum(kept)])[info.ends]
    return TokenInfo(np.diff(ends, prepend=0).tolist(), writer.unknown("target"), report)


def _encoded(text: Path, name: str, rows: np.ndarray, tokenizers: Tokenizers) -> Iterator[tuple[int, Encoded]]:
    """Each side of consecutive rows, with the position of the first."""
    lines = [Text(text, f"{name}.{side}") for side in tokenizers]
    for start in tqdm(range(0, len(rows), CHUNK), f"encoding {name}", delay=2, disable=None, leave=False):
        chunk = rows[start : start + CHUNK]
        sides = zip(tokenizers.values(), lines, strict=True)
        yield start, [tokenizer.encode_flat([side[row] for row in chunk]) for tokenizer, side in sides]


class _SplitWriter:
    """Writes the ids of each side of a split and counts them (`counts`: an array over the vocabulary for each side)."""

    def __init__(self, folder: Path, name: str, tokenizers: Tokenizers) -> None:
        self._files = [RaggedWriter(folder, f"{name}.{side}") for side in tokenizers]
        self._tokenizers = tokenizers
        self.counts = {side: np.zeros(tokenizer.vocab_size, np.int64) for side, tokenizer in tokenizers.items()}

    def append(self, encoded: Encoded, left: np.ndarray) -> None:
        """Add the rows that are left."""
        sides = zip(self._files, self._tokenizers.values(), self.counts.values(), encoded, strict=True)
        for file, tokenizer, counts, (flat, lengths) in sides:
            flat = flat[np.repeat(left, lengths)]
            file.append(flat.astype(token_dtype(tokenizer)), lengths[left])
            counts += np.bincount(flat, minlength=len(counts))
            counts[tokenizer.eos] += left.sum()

    def unknown(self, side: str) -> float:
        """The share of unknown tokens of a side, `</s>` counted as a token."""
        return float(self.counts[side][self._tokenizers[side].unk] / max(1, self.counts[side].sum()))

    def sizes(self) -> str:
        """Tokens of each side, `</s>` included, and the share of unknown ones."""
        which = {side: f"{side} " if len(self.counts) > 1 else "" for side in self.counts}
        return ", ".join(
            f"{counts.sum():,} {which[side]}tokens ({self.unknown(side):.3%} unknown)" for side, counts in self.counts.items()
        )

    def __enter__(self) -> _SplitWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        for file in self._files:
            file.close()
