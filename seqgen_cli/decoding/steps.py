"""The bridge from networks to a step function; the only place in decoding that knows models and output layers.

Several networks form an ensemble: the average of their distributions.

Shapes: B sentences, R = B * m rows (or real target positions), D hidden, V words, K best words, X words excluded for each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.decoding.base import Decoder, Hypotheses, Predictions, SearchState, Specials, Step, Task
from seqgen_cli.layers.random import Key
from seqgen_cli.models.base import Generator, Selectable
from seqgen_cli.outputs.base import Draw, OutputLayer, row_chunks, sample_of, topk_of

Network = tuple[Generator, OutputLayer]


@dataclass(frozen=True)
class Cursor:
    """Each network's encoded sources and what it has decoded so far (None: nothing yet)."""

    memories: tuple[Selectable, ...]
    states: tuple[Selectable | None, ...]

    def select(self, row_R: Tensor | None, sentence_B: Tensor | None = None) -> Cursor:
        memories, states = self.memories, self.states
        if sentence_B is not None:
            memories = tuple(memory.select(sentence_B) for memory in memories)
        if row_R is not None:
            states = tuple(None if state is None else state.select(row_R) for state in states)
        return Cursor(memories, states)


def begin(networks: Sequence[Network], batch: Batch) -> Cursor:
    """The state before the first word of each sentence of the batch."""
    return Cursor(tuple(model.encode(batch) for model, _ in networks), (None,) * len(networks))


def predict(networks: Sequence[Network], batch: Batch) -> Predictions:
    """The distribution at each real target position of the batch, all at once."""
    return _joined([_OfOne(output, model.hidden_states(batch)) for model, output in networks])


def make_step(networks: Sequence[Network]) -> Step:
    """The step function of one network, or of the average of several."""

    def step(ids_R: Tensor, cursor: SearchState) -> tuple[Predictions, Cursor]:
        assert isinstance(cursor, Cursor)
        parts, states = [], []
        for (model, output), memory, state in zip(networks, cursor.memories, cursor.states, strict=True):
            hidden_R1D, state = model.decode(model.embed(ids_R[:, None]), memory, state)
            parts.append(_OfOne(output, hidden_R1D[:, 0]))
            states.append(state)
        return _joined(parts), Cursor(cursor.memories, tuple(states))

    return step


@torch.no_grad()
def generate(
    networks: Sequence[Network],
    decoder: Decoder,
    batch: Batch,
    specials: Specials,
    key: Key | None = None,
    prefix_BP: Tensor | None = None,
    prefix_lengths_B: Tensor | None = None,
) -> Hypotheses:
    """Decode the batch's sources, all together; without sources (a language model's batch), continue its prefixes.

    The networks stay in their mode: dropout is on unless they are in eval().

    Args:
        networks: one (model, output layer), or an ensemble over the same vocabulary.
        batch: its targets, if any, are not read.
        specials: of the target vocabulary.
        key: random numbers of a sampling decoder, with `batch.index_B`; None: the decoder's own seed.
        prefix_BP, prefix_lengths_B: words that the targets must begin with.
    """
    lengths_B = prefix_lengths_B if batch.source_lengths_B is None else batch.source_lengths_B
    lengths_B = torch.zeros_like(batch.index_B) if lengths_B is None else lengths_B
    task = Task(specials, lengths_B, batch.index_B, key, prefix_BP, prefix_lengths_B, longest(networks))
    return decoder.search(make_step(networks), begin(networks, batch), task)


def longest(networks: Sequence[Network]) -> int | None:
    """Most tokens of a target that every network can write; None: no bound."""
    bounds = [getattr(model, "longest", None) for model, _ in networks]
    return min((bound for bound in bounds if bound is not None), default=None)


class _OfOne:
    """One network's distribution; asks its output layer for no more than is wanted."""

    def __init__(self, output: OutputLayer, hidden_RD: Tensor) -> None:
        self.output = output
        self.hidden_RD = hidden_RD
        self.vocab_size = output.vocab_size

    def topk(self, k: int, exclude_RX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.output.topk(self.hidden_RD, k, exclude_RX)

    def sample(self, draw: Draw) -> Tensor:
        return self.output.sample(self.hidden_RD, draw)

    def score(self, ids_R: Tensor) -> Tensor:
        return self.output.score(self.hidden_RD, ids_R)

    def rows(self, row_W: Tensor) -> _OfOne:
        return _OfOne(self.output, self.hidden_RD[row_W])


def _joined(parts: Sequence[_OfOne]) -> Predictions:
    return parts[0] if len(parts) == 1 else _Average(parts)


class _Average:
    """The average of several distributions, p = (1/M) sum_m p_m, as log p."""

    def __init__(self, parts: Sequence[_OfOne]) -> None:
        self.parts = parts
        self.vocab_size = parts[0].vocab_size

    def topk(self, k: int, exclude_RX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return topk_of(self._log_probs, self._chunks(), k, exclude_RX)

    def sample(self, draw: Draw) -> Tensor:
        return sample_of(self._log_probs, self._chunks(), draw)

    def score(self, ids_R: Tensor) -> Tensor:
        scores_RM = torch.stack([part.score(ids_R) for part in self.parts], dim=1)
        return scores_RM.logsumexp(1) - math.log(len(self.parts))

    def rows(self, row_W: Tensor) -> _Average:
        return _Average([part.rows(row_W) for part in self.parts])

    def _chunks(self) -> Iterator[slice]:
        return row_chunks(self.parts[0].hidden_RD.shape[0], self.vocab_size)

    def _log_probs(self, rows: slice) -> Tensor:
        total_RV = self.parts[0].output.log_probs(self.parts[0].hidden_RD[rows])
        for part in self.parts[1:]:
            total_RV = torch.logaddexp(total_RV, part.output.log_probs(part.hidden_RD[rows]))
        return total_RV - math.log(len(self.parts))
