"""One split as a model reads it, token ids from memory-mapped files and raw lines for references; and all that is prepared.

Shapes: n examples, k sides.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.data.prepare.store import Ragged, Text
from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.data.tokenizers.sentencepiece import Tokenizer


@dataclass(frozen=True)
class Side:
    """The source or the target of a split.

    Args:
        tokens: ids of each example, without `<s>` and `</s>`.
        text: lines as stored; several examples or none may come from one.
        rows: (n,) the line of `text` behind each example.
        tokenizer: made `tokens` of `text`.
    """

    tokens: Ragged
    text: Text
    rows: np.ndarray
    tokenizer: TextTokenizer

    def lines(self, indices: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """The text of some examples, or of all."""
        return [self.text[row] for row in (self.rows if indices is None else self.rows[indices])]


@dataclass(frozen=True)
class Sampling:
    """Subword sampling: see Tokenizer.encode_sampled. Each line's draw depends on (seed, epoch, side, example's number) alone."""

    alpha: float
    nbest: int
    seed: int


class Weighted:
    """Which examples of a split an epoch sees.

    Args:
        name: "train", "valid" or "test".
        parts: number of examples of each corpus the split is made of; weights: passes over each in an epoch.
    """

    def __init__(self, name: str, parts: Sequence[int], weights: Sequence[float]) -> None:
        self.name = name
        self._parts, self._weights = list(parts), list(weights)

    def __len__(self) -> int:
        return sum(self._parts)

    @property
    def epochs_alike(self) -> bool:
        """Whether every epoch sees the same examples (all weights are whole numbers)."""
        return all(weight == int(weight) for weight in self._weights)

    def examples_of_epoch(self, epoch: int, seed: int) -> np.ndarray:
        """What an epoch sees, int64: weight w of a corpus of m pairs gives floor(w) times all of them, and
        round((w - floor(w)) m) more: the next ones, epoch by epoch, in a random order fixed by the seed.

        Of n examples, number i + c n is example i for the c-th time after the first: copies have numbers, and so random
        draws, of their own.
        """
        chosen, start = [np.zeros(0, np.int64)], 0
        for part, (count, weight) in enumerate(zip(self._parts, self._weights, strict=True)):
            chosen += [np.arange(start, start + count) + copy * len(self) for copy in range(int(weight))]
            if share := round((weight - int(weight)) * count):
                order = np.random.default_rng([seed, part]).permutation(count)
                more = start + order[np.arange(epoch * share, (epoch + 1) * share) % count]
                chosen.append(more + int(weight) * len(self))
            start += count
        return np.concatenate(chosen)

    def examples(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The examples that these numbers of an epoch stand for."""
        return np.asarray(numbers, dtype=np.int64) % len(self)


class Dataset(Weighted):
    """A split, read from the token store. Pickles without its contents; workers open the files anew.

    Args:
        name, parts, weights: see Weighted.
        source, target: the sides; None where there is none (a language model has no source).
        sampling: subword sampling in batches read for an epoch; None = the stored segmentation.
    """

    noun = "line"  # what people call an example without a source

    def __init__(
        self,
        name: str,
        source: Side | None,
        target: Side | None,
        parts: Sequence[int],
        weights: Sequence[float],
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__(name, parts, weights)
        self._source, self._target = source, target
        self._sampling = sampling

    @cached_property
    def source_lengths_n(self) -> np.ndarray | None:
        """(n,) int32: source tokens, `</s>` included."""
        return _lengths(self._source)

    @cached_property
    def target_lengths_n(self) -> np.ndarray | None:
        """(n,) int32: target tokens, `</s>` included."""
        return _lengths(self._target)

    @cached_property
    def lengths_nk(self) -> np.ndarray:
        """(n, k) int32: a column for each side there is, the target last; what batching goes by."""
        sides = [lengths for lengths in (self.source_lengths_n, self.target_lengths_n) if lengths is not None]
        return np.stack(sides, axis=1)

    def batch(self, indices: Sequence[int] | np.ndarray, epoch: int | None = None) -> Batch:
        """Collate examples, given as `examples_of_epoch` numbers them, which is how the batch names them; given an epoch,
        subwords are sampled anew for it if the data set samples.

        Sampled segmentations are longer than the stored ones that batching goes by: a batch may hold more tokens than
        its bound.
        """
        sides = ("source", self._source), ("target", self._target)
        sources, targets = (None if side is None else self._tokens(name, side, indices, epoch) for name, side in sides)
        source = self._source.tokenizer if self._source else None
        target = self._target.tokenizer if self._target else None
        anyone = target or source
        assert anyone is not None
        return make_batch(
            indices,
            sources,
            targets,
            source_pad=(source or anyone).pad,
            target_pad=anyone.pad,
            bos=anyone.bos,
            eos=anyone.eos,
            source_eos=(source or anyone).eos,
        )

    def source_lines(self, indices: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Source text of some examples, or of all, in order."""
        assert self._source is not None
        return self._source.lines(indices)

    def target_lines(self, indices: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Target text (the references) of some examples, or of all, in order."""
        assert self._target is not None
        return self._target.lines(indices)

    def target_characters(self, limit: int | None = None) -> int | None:
        """Characters of the target text, of the first `limit` examples or of all."""
        return sum(map(len, self.target_lines(np.arange(len(self))[:limit])))

    def _tokens(self, name: str, side: Side, numbers: Sequence[int] | np.ndarray, epoch: int | None) -> list[np.ndarray]:
        examples = self.examples(numbers)
        if epoch is None or self._sampling is None:
            return [side.tokens[example] for example in examples]
        assert isinstance(side.tokenizer, Tokenizer)
        seeds = [_seed(self._sampling.seed, epoch, name, int(number)) for number in numbers]
        return side.tokenizer.encode_sampled(side.lines(examples), seeds, self._sampling.alpha, self._sampling.nbest)


def open_side(text: Path, tokens: Path, split: str, side: str, tokenizer: TextTokenizer) -> Side:
    """A side of a split in the folders that prepare() filled."""
    return Side(
        tokens=Ragged(tokens, f"{split}.{side}", token_dtype(tokenizer)),
        text=Text(text, f"{split}.{side}"),
        rows=np.fromfile(tokens / f"{split}.rows", np.int64),
        tokenizer=tokenizer,
    )


def token_dtype(tokenizer: TextTokenizer) -> str:
    """The smallest type that the store keeps ids in."""
    return "uint16" if tokenizer.vocab_size <= 1 << 16 else "int32"


def _lengths(side: Side | None) -> np.ndarray | None:
    return None if side is None else (side.tokens.lengths() + 1).astype(np.int32)


def _seed(*parts: int | str) -> int:
    """31 random bits that depend on the parts alone."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "little") >> 1


@dataclass(frozen=True)
class Prepared:
    """Data ready to be read.

    Args:
        splits: "train", "valid" and "test", as far as the corpus has them: each a Dataset, or a LabelledDataset.
        source_tokenizer, target_tokenizer: TextTokenizers, one object when joint, the source's None where there is no
            source; for labelled texts the encoder's tokenizer, and the Labels in place of the target's.
        source_language, target_language: the corpus's.
        target_counts_V: int64, how often each target id occurs in training, `</s>` included, each pair counted once;
            None without a training split.
        fingerprint: a hash of all that a model can see of the data; equal only when training would be.
        report: what was done, in lines for people: rows dropped by each rule, sizes, unknown tokens.
        unknown_rates: of each split, the share of target tokens (`</s>` counted) that the vocabulary does not know.
        round_trips: of each split, what the target tokenizer gives back of its lines (see data/prepare/round_trip.py).
    """

    splits: Mapping[str, Any]
    source_tokenizer: Any
    target_tokenizer: Any
    source_language: str | None
    target_language: str | None
    target_counts_V: np.ndarray | None
    fingerprint: str
    report: list[str]
    unknown_rates: Mapping[str, float] = field(default_factory=dict)
    round_trips: Mapping[str, Any] = field(default_factory=dict)


def spread(count: int, wanted: int) -> Iterator[int]:
    """`wanted` of the numbers 0 .. count - 1 (all, where there are fewer), evenly spread."""
    wanted = min(wanted, count)
    return (number * count // wanted for number in range(wanted))
