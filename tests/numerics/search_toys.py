"""A made-up language model for tests of search: every prefix of every sentence has its own random distribution.

Shapes: B sentences, R rows, V words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqgen_cli.decoding.base import SearchState, Specials, Task
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import Draw, banned, sample_from

SPECIALS = Specials(pad=0, unk=1, bos=2, eos=3)


@dataclass(frozen=True)
class ToyState:
    """sentence_B plays the encoded sources (never repeated for rows), prefix_R the words read (hashed)."""

    sentence_B: Tensor
    prefix_R: Tensor

    def select(self, row_R: Tensor | None, sentence_B: Tensor | None = None) -> ToyState:
        sentences = self.sentence_B if sentence_B is None else self.sentence_B[sentence_B]
        return ToyState(sentences, self.prefix_R if row_R is None else self.prefix_R[row_R])


class ToyPredictions:
    def __init__(self, log_probs_RV: Tensor) -> None:
        self.log_probs_RV = log_probs_RV
        self.vocab_size = log_probs_RV.shape[1]

    def topk(self, k: int, exclude_RX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        values, ids = banned(self.log_probs_RV, exclude_RX).topk(k)
        return values, ids

    def sample(self, draw: Draw) -> Tensor:
        return sample_from(self.log_probs_RV, draw)

    def score(self, ids_R: Tensor) -> Tensor:
        return self.log_probs_RV.gather(1, ids_R[:, None]).squeeze(1)

    def rows(self, row_W: Tensor) -> ToyPredictions:
        return ToyPredictions(self.log_probs_RV[row_W])


class ToyModel:
    """Words 4 .. V - 1 are ordinary; every one of the V ids has some probability after every prefix.

    sharpness: standard deviation of the scores. eos_bias: added to the score of `</s>`.
    """

    def __init__(self, vocab_size: int, seed: int = 0, sharpness: float = 2.0, eos_bias: float = 0.0) -> None:
        self.vocab_size, self.sharpness, self.eos_bias = vocab_size, sharpness, eos_bias
        self.key = Key.of(seed, "toy")
        self.calls: list[int] = []

    def distribution(self, prefix_R: Tensor) -> Tensor:
        uniform_RV = self.key.uniform(prefix_R[:, None], torch.arange(self.vocab_size))
        scores_RV = self.sharpness * torch.special.ndtri(uniform_RV)
        scores_RV[:, SPECIALS.eos] += self.eos_bias
        return scores_RV.log_softmax(-1)

    def read(self, prefix_R: Tensor, word_R: Tensor) -> Tensor:
        return self.key.fold("read").bits(prefix_R, word_R)

    def start(self, task: Task) -> ToyState:
        return ToyState(task.index_B, task.index_B)

    def step(self, word_R: Tensor, state: SearchState) -> tuple[ToyPredictions, ToyState]:
        assert isinstance(state, ToyState)
        assert len(word_R) == len(state.prefix_R) and len(word_R) % len(state.sentence_B) == 0
        self.calls.append(len(word_R))
        # The source must still be the row's own: mix it into every prefix.
        sentence_R = state.sentence_B.repeat_interleave(len(word_R) // len(state.sentence_B))
        prefix_R = self.read(state.prefix_R + sentence_R, word_R)
        return ToyPredictions(self.distribution(prefix_R)), replace(state, prefix_R=prefix_R)

    def log_probs_after(self, sentence: int, words: tuple[int, ...]) -> list[float]:
        """The distribution after these words, one sequence at a time."""
        prefix = torch.tensor([sentence])
        for word in (SPECIALS.bos, *words):
            prefix = self.read(prefix + sentence, torch.tensor([word]))
        row: list[float] = self.distribution(prefix)[0].tolist()
        return row

    def sequences(self, sentence: int, max_length: int, words: list[int]) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every sequence of `words` ended by `</s>` with at most `max_length` tokens, and its log p."""
        stack: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        while stack:
            prefix, log_p = stack.pop()
            after = self.log_probs_after(sentence, prefix)
            yield (*prefix, SPECIALS.eos), log_p + after[SPECIALS.eos]
            if len(prefix) + 1 < max_length:
                stack.extend(((*prefix, word), log_p + after[word]) for word in words)


def task_of(sentences: list[int], source_lengths: list[int] | None = None) -> Task:
    lengths = torch.tensor(source_lengths or [0] * len(sentences))
    return Task(SPECIALS, lengths, torch.tensor(sentences))
