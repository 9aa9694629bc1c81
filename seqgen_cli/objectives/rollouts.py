"""Sequences that the model itself writes in training, and their log-probabilities with a gradient.

Samples come from the very distribution that `output.score` scores: nothing is excluded or cut (nor tempered, unless asked), so
that E_{y ~ p}[G(y) d log p(y)] is the gradient of E[G] and not of something near it. A greedy output leaves out what translate's
does. A sample that reaches the maximum length ends there without `</s>`; its log p is that of the words it has, a
probability all the same: those of all sequences, ended or cut, sum to 1.

Shapes: B sentences, K columns (outputs of each sentence), R = B * K rows, T longest output, P longest prefix, N own words of
outputs that differ, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.decoding.base import Hypotheses, Predictions, SearchState, Specials, Step, Task
from seqgen_cli.decoding.rollout import Turn, roll_out
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.decoding.steps import Cursor, Network, longest, make_step
from seqgen_cli.layers.random import Key
from seqgen_cli.layers.rows import places
from seqgen_cli.models.base import Selectable
from seqgen_cli.objectives.rewarding import Rewarding


@dataclass(frozen=True, kw_only=True)
class Policy(Sampling):
    """`samples` draws of each sentence with no word excluded, and, where `greedy`, the greedy output after them.

    All are followed together: one more row of a sentence costs less than a second search. Their `log_probs_BK` are left 0.
    """

    greedy: bool = False

    @property
    def outputs(self) -> int:
        return self.samples + self.greedy

    def search(self, step: Step, state: SearchState, task: Task) -> Hypotheses:
        key = task.key or Key.of(self.seed, "sampling")
        number_K = torch.arange(self.outputs, device=task.index_B.device)

        def choose(predictions: Predictions, turn: Turn) -> tuple[Tensor, Tensor]:
            number_W = number_K.repeat(len(turn.task.index_B))[turn.row_W]
            word_W = torch.empty_like(number_W)
            drawn_D, best_G = ((number_W == self.samples) == greedy for greedy in (False, True))
            drawn_D, best_G = (which.nonzero().squeeze(1) for which in (drawn_D, best_G))
            uniform_D = key.uniform(turn.index_W[drawn_D], torch.full_like(drawn_D, turn.length), number_W[drawn_D])
            if len(drawn_D):
                drawn = predictions.rows(drawn_D)
                word_W[drawn_D] = drawn.sample(self.draw(uniform_D, None))
            if len(best_G):
                word_W[best_G] = predictions.rows(best_G).topk(1, turn.exclude_WX[best_G])[1].squeeze(1)
            return word_W, torch.zeros_like(word_W, dtype=torch.float32)

        return roll_out(step, state, task, self, self.outputs, choose, scored=False)


@dataclass(frozen=True)
class Rollouts:
    """K outputs of each sentence.

    ids_BKT: words, `</s>` included where it was reached, then filler. lengths_BK: how many of them are real.
    starts_B: where the words of its own begin, after a given prefix.
    """

    ids_BKT: Tensor
    lengths_BK: Tensor
    starts_B: Tensor

    def first(self, columns: int) -> Rollouts:
        """The first so many of each sentence."""
        return replace(self, ids_BKT=self.ids_BKT[:, :columns], lengths_BK=self.lengths_BK[:, :columns])

    def with_references(self, batch: Batch, column: int) -> Rollouts:
        """One more column, at this place: the batch's targets."""
        assert batch.targets_BT is not None and batch.target_lengths_B is not None
        width = max(self.ids_BKT.shape[2], batch.targets_BT.shape[1])
        ids_BKT, target_B1T = _widened(self.ids_BKT, width), _widened(batch.targets_BT[:, None], width)
        ids_BKT = torch.cat([ids_BKT[:, :column], target_B1T, ids_BKT[:, column:]], dim=1)
        lengths = [self.lengths_BK[:, :column], batch.target_lengths_B[:, None], self.lengths_BK[:, column:]]
        return Rollouts(ids_BKT, torch.cat(lengths, dim=1), self.starts_B)

    @cached_property
    def original_BK(self) -> Tensor:
        """The first column that holds the same words."""
        ids_BKT, lengths_BK = self.ids_BKT, self.lengths_BK
        real_BKT = torch.arange(ids_BKT.shape[2], device=ids_BKT.device) < lengths_BK[..., None]
        words_BKT = torch.where(real_BKT, ids_BKT, -1)  # what fills the rest may be a word's id
        same_BKK = (words_BKT[:, :, None] == words_BKT[:, None]).all(-1)
        number_K = torch.arange(ids_BKT.shape[1], device=ids_BKT.device)
        return torch.where(same_BKK, number_K, ids_BKT.shape[1]).amin(-1)

    @property
    def distinct_BK(self) -> Tensor:
        """Whether no earlier column holds the same words."""
        return self.original_BK == torch.arange(self.ids_BKT.shape[1], device=self.ids_BKT.device)

    def own_lengths_BK(self) -> Tensor:
        """How many words are its own."""
        return self.lengths_BK - self.starts_B[:, None]

    def truncated_BK(self, eos: int) -> Tensor:
        """Whether it was cut at the maximum length."""
        last_BK = self.ids_BKT.gather(2, (self.lengths_BK - 1).clamp_min(0)[..., None]).squeeze(2)
        return last_BK != eos


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of the own words of those outputs that differ, in row order.

    log_p_N, hidden_ND: with their gradient. place_N: flat indices into B x K x T. rollouts: what was scored.
    """

    log_p_N: Tensor
    hidden_ND: Tensor
    place_N: Tensor
    rollouts: Rollouts

    @property
    def row_N(self) -> Tensor:
        """Index into B x K of each word's output."""
        return self.place_N // self.rollouts.ids_BKT.shape[2]

    def sums_BK(self, value_N: Tensor) -> Tensor:
        """The sum of each output's values; those of equal outputs are the same."""
        shape = self.rollouts.ids_BKT.shape
        # Not index_add, which adds up in any order on a GPU.
        spread_BKT = value_N.new_zeros(shape.numel()).index_copy(0, self.place_N, value_N).view(shape)
        return spread_BKT.sum(-1).gather(1, self.rollouts.original_BK)

    def merged_R(self, value_BK: Tensor) -> Tensor:
        """Each value added to that of the first equal output: (R,), 0 where there is one before."""
        original_BK = self.rollouts.original_BK
        columns = original_BK.shape[1]
        same_BKK = original_BK[:, None] == torch.arange(columns, device=original_BK.device)[:, None]
        return (same_BKK * value_BK[:, None]).sum(-1).flatten()


def draw(
    network: Network,
    memory: Selectable,
    batch: Batch,
    policy: Policy,
    specials: Specials,
    key: Key,
    prefix_lengths_B: Tensor | None = None,
) -> Rollouts:
    """Outputs of the batch's sentences, at most `max_length_factor` times the reference's tokens + `max_length_offset` long.

    Random numbers depend on (key, example index, position, column) alone. On the meta device, which can follow no words,
    the references stand in for them.

    Args:
        memory: the batch's encoded sources. key: of the update.
        prefix_lengths_B: how many words of the reference each output begins with; None: none.
    """
    assert batch.targets_BT is not None and batch.target_lengths_B is not None
    starts_B = torch.zeros_like(batch.target_lengths_B) if prefix_lengths_B is None else prefix_lengths_B
    if batch.index_B.is_meta:
        return _references(batch, policy.outputs, starts_B)
    prefix_BP = None if prefix_lengths_B is None else batch.targets_BT[:, : int(prefix_lengths_B.max())]
    if prefix_BP is None or not prefix_BP.shape[1]:
        prefix_BP = prefix_lengths_B = None
    task = Task(specials, batch.target_lengths_B, batch.index_B, key, prefix_BP, prefix_lengths_B, longest([network]))
    found = policy.search(make_step([network]), Cursor((memory,), (None,)), task)
    # In older versions of torch autocast keeps weights that it converted without a gradient, which they would lack in scoring.
    torch.clear_autocast_cache()
    return Rollouts(found.ids_BKT, found.lengths_BK, starts_B)


def score(network: Network, memory: Selectable, rollouts: Rollouts, specials: Specials) -> Scored:
    """Exact log p of the own words, in one pass over the whole outputs.

    Equal outputs of a sentence go through the output layer once.
    """
    model, output = network
    ids_RT = rollouts.ids_BKT.flatten(0, 1)
    inputs_RT = torch.cat([torch.full_like(ids_RT[:, :1], specials.first), ids_RT[:, :-1]], dim=1)
    hidden_RTD, _ = model.decode(model.embed(inputs_RT), memory)
    position_T = torch.arange(ids_RT.shape[1], device=ids_RT.device)
    own_BKT = (position_T >= rollouts.starts_B[:, None, None]) & (position_T < rollouts.lengths_BK[..., None])
    place_N = places(own_BKT & rollouts.distinct_BK[..., None])
    hidden_ND = hidden_RTD.flatten(0, 1)[place_N]
    return Scored(output.score(hidden_ND, ids_RT.flatten()[place_N]), hidden_ND, place_N, rollouts)


def rewards_of(rollouts: Rollouts, batch: Batch, rewarding: Rewarding) -> Callable[[torch.dtype], Tensor]:
    """Start computing the reward of each output against its reference; what waits for it gives (B, K) in a type asked for.

    On the meta device every reward is 0.
    """
    assert batch.targets_BT is not None and batch.target_lengths_B is not None
    shape, device = rollouts.lengths_BK.shape, rollouts.ids_BKT.device
    if rollouts.ids_BKT.is_meta:
        return lambda dtype: torch.zeros(shape, dtype=dtype, device=device)
    hypotheses = _words(rollouts.ids_BKT.flatten(0, 1), rollouts.lengths_BK.flatten())
    references = _words(batch.targets_BT, batch.target_lengths_B)
    wait = rewarding.start(hypotheses, [references[row // shape[1]] for row in range(len(hypotheses))])
    return lambda dtype: torch.tensor(wait(), dtype=dtype, device=device).view(shape)


def _words(ids_RT: Tensor, lengths_R: Tensor) -> list[list[int]]:
    return [row[:length] for row, length in zip(ids_RT.tolist(), lengths_R.tolist(), strict=True)]


def _references(batch: Batch, copies: int, starts_B: Tensor) -> Rollouts:
    assert batch.targets_BT is not None and batch.target_lengths_B is not None
    ids_BKT = batch.targets_BT[:, None].repeat_interleave(copies, 1)
    return Rollouts(ids_BKT, batch.target_lengths_B[:, None].repeat_interleave(copies, 1), starts_B)


def _widened(ids_BKT: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(ids_BKT, (0, width - ids_BKT.shape[2]))
