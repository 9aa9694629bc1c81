"""Random sentences, or pairs of them, of a stated length distribution, to measure speed without a corpus."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from seqgen_cli.data.batch import Batch, make_batch

PAD, UNK, BOS, EOS = 0, 1, 2, 3  # as a trained SentencePiece has them
_FIRST_WORD = 4
_CORRELATION = 0.9  # of the two sides' log-lengths
_ZIPF_SHIFT = 2.7  # Zipf-Mandelbrot
_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou"]


class SyntheticDataset:
    """Sentences of random words, held in memory, parallel where there are sources; reads like data.dataset.Dataset.

    Attributes:
        source_lengths_n, target_lengths_n: tokens of each sentence, `</s>` included; lengths_nk: a column for each side.
    """

    name = "synthetic"
    epochs_alike = True

    def __init__(self, sources: list[np.ndarray] | None, targets: list[np.ndarray]) -> None:
        self._sources, self._targets = sources, targets
        self.source_lengths_n = None if sources is None else np.array([len(row) + 1 for row in sources])
        self.target_lengths_n = np.array([len(row) + 1 for row in targets])
        sides = [lengths for lengths in (self.source_lengths_n, self.target_lengths_n) if lengths is not None]
        self.lengths_nk = np.stack(sides, axis=1)

    def __len__(self) -> int:
        return len(self._targets)

    def examples_of_epoch(self, epoch: int, seed: int) -> np.ndarray:
        """All of them, int64."""
        return np.arange(len(self))

    def batch(self, indices: np.ndarray, epoch: int | None = None) -> Batch:
        """These sentences as a Batch; every epoch reads the same."""
        return make_batch(
            indices,
            None if self._sources is None else [self._sources[i] for i in indices],
            [self._targets[i] for i in indices],
            source_pad=PAD,
            target_pad=PAD,
            bos=BOS,
            eos=EOS,
            source_eos=EOS,
        )


@dataclass(frozen=True)
class Synthetic:
    """What random sentence pairs look like.

    Lengths are log-normal, the two sides' logarithms correlated by 0.9; word ids follow Zipf's law, 1 / (rank + 2.7).

    Args:
        source_vocab_size, target_vocab_size: words of each side, the 4 special ids included.
        sentences: how many pairs.
        mean_length: mean tokens of a sentence, without `</s>`.
        length_spread: standard deviation of the length over its mean; 0: all alike.
    """

    source_vocab_size: Annotated[int, Ge(5)] = 8000
    target_vocab_size: Annotated[int, Ge(5)] = 8000
    sentences: Annotated[int, Ge(1)] = 4000
    mean_length: Annotated[float, Ge(1)] = 20.0
    length_spread: Annotated[float, Ge(0)] = 0.5

    def describe(self, parallel: bool = True) -> str:
        """In a sentence's words; without sources where they are not `parallel`."""
        sizes = f"vocabularies {self.source_vocab_size:,} and" if parallel else "vocabulary"
        return (
            f"{self.sentences:,} synthetic {'pairs' if parallel else 'sentences'} (lengths log-normal, mean "
            f"{self.mean_length:g} tokens, spread {self.length_spread:g} of it; {sizes} {self.target_vocab_size:,})"
        )

    def counts_V(self) -> np.ndarray:
        """Expected counts of the target words, at least 1: what output layers shaped by frequency are given."""
        counts = np.zeros(self.target_vocab_size)
        counts[_FIRST_WORD:] = _zipf(self.target_vocab_size) * self.sentences * self.mean_length
        counts[EOS] = self.sentences
        return np.maximum(1, counts.round()).astype(np.int64)

    def dataset(self, seed: int, parallel: bool = True) -> SyntheticDataset:
        """The sentences of this seed; the targets alone where they are not to be `parallel`."""
        random = np.random.default_rng(seed)
        lengths_2n = self._lengths(random)
        sides = []
        for vocab_size, lengths_n in zip((self.source_vocab_size, self.target_vocab_size), lengths_2n, strict=True):
            words = random.choice(vocab_size - _FIRST_WORD, size=int(lengths_n.sum()), p=_zipf(vocab_size)) + _FIRST_WORD
            sides.append(np.split(words, np.cumsum(lengths_n)[:-1]))
        return SyntheticDataset(sides[0] if parallel else None, sides[1])

    def _lengths(self, random: np.random.Generator) -> np.ndarray:
        """(2, sentences): tokens of each side, 1 or more."""
        sigma = math.sqrt(math.log1p(self.length_spread**2))
        common, own = random.standard_normal(self.sentences), random.standard_normal(self.sentences)
        normal_2n = np.stack([common, _CORRELATION * common + math.sqrt(1 - _CORRELATION**2) * own])
        lengths_2n = self.mean_length * np.exp(sigma * normal_2n - sigma**2 / 2)
        return np.maximum(1, lengths_2n.round()).astype(np.int64)


class SyntheticWords:
    """Texts of synthetic sentences: each id is a word of its own, made of syllables, the frequent ones short.

    Args:
        vocab_size: words, the special ids included.
    """

    pad, unk, bos, eos = PAD, UNK, BOS, EOS

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def decode(self, rows: Iterable[Sequence[int] | np.ndarray]) -> list[str]:
        """The words of each id sequence, with spaces between; special ids leave nothing."""
        return [" ".join(_word(int(number) - _FIRST_WORD) for number in row if number >= _FIRST_WORD) for row in rows]


def _word(rank: int) -> str:
    """The word of this rank, 0 the most frequent: "ba", "be" ... then two syllables."""
    syllables = _SYLLABLES[rank % len(_SYLLABLES)]
    return syllables if rank < len(_SYLLABLES) else _word(rank // len(_SYLLABLES) - 1) + syllables


def _zipf(vocab_size: int) -> np.ndarray:
    weights = 1.0 / (np.arange(vocab_size - _FIRST_WORD) + 1 + _ZIPF_SHIFT)
    return weights / weights.sum()
