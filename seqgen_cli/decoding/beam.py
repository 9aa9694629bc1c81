"""Beam search with length normalisation, over a step function.

At each step a sentence's K live hypotheses are extended by their best words; of the 2K best candidates those that end
within the first K are finished, and the K best others live on (a hypothesis that ends takes no live place).

Shapes: B sentences still searched, K beam, m live hypotheses of each sentence now, R = B * m rows, C candidates of a
sentence, F finished hypotheses kept, T target length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.decoding.base import Decoder, Hypotheses, Predictions, SearchState, Step, Task
from seqgen_cli.decoding.rollout import Turn, roll_out
from seqgen_cli.errors import RequestError
from seqgen_cli.runtime.devices import is_host

_NONE = float("-inf")


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Decoder):
    """The hypotheses with the best normalised score, log p(y|x) / penalty(|y|), `</s>` counted.

    Those that reach the maximum length without `</s>` are returned only where fewer than `n_best` finished.

    beam_size: K; 1 is greedy search. n_best: hypotheses returned for each sentence, at most K.
    length_penalty: a, in |y|^a (power) or ((5 + |y|) / 6)^a (gnmt; Wu et al. 2016); 0: no normalisation.
    stop: first ends a sentence when K hypotheses are finished; bound only when no live one can still enter the n best.

    Raises:
        RequestError: n_best exceeds beam_size.
    """

    beam_size: Annotated[int, Ge(1)] = 5
    n_best: Annotated[int, Ge(1)] = 1
    length_penalty: Annotated[float, Ge(0)] = 1.0
    length_penalty_kind: Literal["power", "gnmt"] = "power"
    stop: Literal["first", "bound"] = "first"

    def __post_init__(self) -> None:
        if self.n_best > self.beam_size:
            raise RequestError(f"decoding.n_best={self.n_best} is more than decoding.beam_size={self.beam_size}: widen the beam.")

    @property
    def outputs(self) -> int:
        return self.n_best

    def giving(self, outputs: int) -> BeamSearch:
        return replace(self, n_best=outputs)

    def search(self, step: Step, state: SearchState, task: Task) -> Hypotheses:
        if self.beam_size == 1 and self.stop == "first":
            greedy = roll_out(step, state, task, self, 1, _most_probable)
            return replace(greedy, scores_BK=self.normalise(greedy.log_probs_BK, greedy.lengths_BK))
        return beam_search(step, state, task, self)

    def normalise(self, log_prob: Tensor, length: Tensor) -> Tensor:
        """The score of hypotheses of this length (any shape); for the same log-probability, longer is never worse."""
        size = length.clamp_min(1).to(log_prob.dtype)
        base = size if self.length_penalty_kind == "power" else (5 + size) / 6
        return log_prob / base**self.length_penalty


def _most_probable(predictions: Predictions, turn: Turn) -> tuple[Tensor, Tensor]:
    log_p_W1, word_W1 = predictions.topk(1, turn.exclude_WX)
    return word_W1.squeeze(1), log_p_W1.squeeze(1)


@torch.no_grad()
def beam_search(step: Step, state: SearchState, task: Task, settings: BeamSearch) -> Hypotheses:
    """The `n_best` hypotheses of each sentence; see `BeamSearch`."""
    search = _Search(task, settings)
    while len(search.place_B):
        predictions, state = step(search.last_R, state)
        state = search.advance(predictions, state)
    return Hypotheses.join(search.pieces, search.places, task.specials.pad)


class _Search:
    """The sentences still searched. Live hypotheses stand in falling order of log p; those without hope have -inf.

    A finished sentence stays, ignored, until enough have finished: dropping sentences copies the sources of the rest.
    """

    def __init__(self, task: Task, settings: BeamSearch) -> None:
        self.task = task
        self.settings = settings
        self.pieces: list[Hypotheses] = []
        self.places: list[Tensor] = []
        device, count = task.index_B.device, len(task.index_B)
        self.place_B = torch.arange(count, device=device)
        self.max_B = settings.max_lengths(task)
        self.done_B = torch.zeros(count, dtype=torch.bool, device=device)
        self.ids_BmT = torch.empty((count, 1, 0), dtype=torch.int64, device=device)
        self.log_prob_Bm = torch.zeros((count, 1), device=device)
        self.last_R = torch.full((count,), task.specials.first, dtype=torch.int64, device=device)
        self.pool = _absent(count, settings.beam_size, device)

    def advance(self, predictions: Predictions, state: SearchState) -> SearchState:
        """Extend every live hypothesis by one word; drop sentences that are finished."""
        width, eos = self.settings.beam_size, self.task.specials.eos
        log_prob_BC, parent_BC, word_BC = self._candidates(predictions)
        ends_BK = ((word_BC == eos) & (log_prob_BC > _NONE) & ~self.done_B[:, None])[:, :width]
        before_BmT, before_Bm = self.ids_BmT, self.log_prob_Bm
        self.log_prob_Bm, choice_Bm = log_prob_BC.masked_fill(word_BC == eos, _NONE).topk(min(width, word_BC.shape[1]))
        parent_Bm, word_Bm = parent_BC.gather(1, choice_Bm), word_BC.gather(1, choice_Bm)
        self.ids_BmT = _extend(before_BmT, parent_Bm, word_Bm)
        self.last_R = word_Bm.flatten()

        full_B = ~self.done_B & (self.ids_BmT.shape[2] >= self.max_B)
        stuck_B = ~self.done_B & (log_prob_BC[:, 0] == _NONE)
        rows_Bm = _rows(parent_Bm, before_Bm.shape[1])
        # One wait for the device a step: has anything happened that may finish a sentence?
        if not bool((ends_BK.any(1) | full_B | stuck_B | (self._decided() & ~self.done_B)).any()):
            return _reorder(state, rows_Bm)
        self._collect(ends_BK, log_prob_BC[:, :width], _extend(before_BmT, parent_BC[:, :width], word_BC[:, :width]))
        self._fill(full_B, self.ids_BmT, self.log_prob_Bm)
        self._fill(stuck_B, before_BmT, before_Bm)
        self.done_B = self.done_B | full_B | (self.log_prob_Bm[:, 0] == _NONE) | self._decided()
        return self._drop_done(rows_Bm, state)

    def _candidates(self, predictions: Predictions) -> tuple[Tensor, Tensor, Tensor]:
        """The 2K best extensions of each sentence: log p, the live hypothesis extended, the word; (B, C) each, falling."""
        sentences, width, length = self.ids_BmT.shape
        # K + 1 words of each hypothesis, because one may be `</s>`.
        best = min(self.settings.beam_size + 1, predictions.vocab_size)
        exclude_RX = self.settings.exclusions(self.ids_BmT.flatten(0, 1), self.task.specials)
        log_p_Rk, word_Rk = predictions.topk(best, exclude_RX)
        log_p_Bmk, word_Bmk = log_p_Rk.view(sentences, width, best), word_Rk.view(sentences, width, best)
        if self.task.prefix_BP is not None and length < self.task.prefix_BP.shape[1]:
            log_p_Bmk, word_Bmk = _force(log_p_Bmk, word_Bmk, predictions, self.task, length)
        total_BX = (self.log_prob_Bm[:, :, None] + log_p_Bmk).flatten(1)
        log_prob_BC, place_BC = total_BX.topk(min(2 * self.settings.beam_size, total_BX.shape[1]))
        return log_prob_BC, place_BC // best, word_Bmk.flatten(1).gather(1, place_BC)

    def _decided(self) -> Tensor:
        """Whether the stop rule ends a sentence, (B,)."""
        if self.settings.stop == "first":
            return (self.pool.scores_BK > _NONE).all(1)
        # Words to come only lower log p, and the penalty is largest at the maximum length.
        hope_B = self.settings.normalise(self.log_prob_Bm[:, 0], self.max_B)
        return self.pool.scores_BK[:, self.settings.n_best - 1] >= hope_B

    def _collect(self, ends_BK: Tensor, log_prob_BK: Tensor, ids_BKT: Tensor) -> None:
        """Take those that ended into the pool, which keeps the K best scores."""
        length_BK = torch.full_like(ends_BK, ids_BKT.shape[2], dtype=torch.int64)
        score_BK = self.settings.normalise(log_prob_BK, length_BK).masked_fill(~ends_BK, _NONE)
        new = Hypotheses(ids_BKT, length_BK, log_prob_BK, score_BK, torch.zeros_like(ends_BK))
        both = _side_by_side(self.pool, new, self.task.specials.pad)
        self.pool = _gather(both, both.scores_BK.topk(self.settings.beam_size).indices)

    def _fill(self, which_B: Tensor, ids_BmT: Tensor, log_prob_Bm: Tensor) -> None:
        """Where `which_B`, put unfinished hypotheses behind the finished ones of the pool."""
        length_Bm = torch.full_like(log_prob_Bm, ids_BmT.shape[2], dtype=torch.int64)
        score_Bm = self.settings.normalise(log_prob_Bm, length_Bm).masked_fill(~which_B[:, None], _NONE)
        new = Hypotheses(ids_BmT, length_Bm, log_prob_Bm, score_Bm, torch.ones_like(score_Bm, dtype=torch.bool))
        both = _side_by_side(self.pool, new, self.task.specials.pad)
        # Both are sorted: 0 finished, 1 unfinished, 2 neither, each in the order it has.
        kind_BX = torch.where(both.scores_BK > _NONE, both.truncated_BK.long(), 2)
        self.pool = _gather(both, kind_BX.argsort(dim=1, stable=True)[:, : self.settings.beam_size])

    def _drop_done(self, rows_Bm: Tensor, state: SearchState) -> SearchState:
        """Hand over finished sentences once they are an eighth of all, and move the state to the live hypotheses."""
        count = len(self.place_B)
        gone = int(self.done_B.sum())
        if gone < count and 8 * gone < count:
            return _reorder(state, rows_Bm)
        gone_B, keep_B = self.done_B.nonzero().squeeze(1), (~self.done_B).nonzero().squeeze(1)
        self.pieces.append(_best(self.pool.select(gone_B), self.settings.n_best, self.task.specials.pad))
        self.places.append(self.place_B[gone_B])
        self.pool, self.task = self.pool.select(keep_B), self.task.select(keep_B)
        self.last_R = self.last_R.view(count, -1)[keep_B].flatten()
        self.place_B, self.max_B, self.done_B, self.ids_BmT, self.log_prob_Bm = (
            part[keep_B] for part in (self.place_B, self.max_B, self.done_B, self.ids_BmT, self.log_prob_Bm)
        )
        return state.select(rows_Bm[keep_B].flatten(), keep_B) if gone < count else state


def _force(log_p_Bmk: Tensor, word_Bmk: Tensor, predictions: Predictions, task: Task, length: int) -> tuple[Tensor, Tensor]:
    """In sentences still inside their prefix the only candidate is its next word, with its own log p."""
    assert task.prefix_BP is not None and task.prefix_lengths_B is not None
    inside_B11 = (length < task.prefix_lengths_B)[:, None, None]
    forced_Bm = task.prefix_BP[:, length, None].expand(word_Bmk.shape[:2])
    only_Bmk = torch.full_like(log_p_Bmk, _NONE)
    only_Bmk[:, :, 0] = predictions.score(forced_Bm.flatten()).view_as(forced_Bm)
    return torch.where(inside_B11, only_Bmk, log_p_Bmk), torch.where(inside_B11, forced_Bm[:, :, None], word_Bmk)


def _extend(ids_BmT: Tensor, parent_BC: Tensor, word_BC: Tensor) -> Tensor:
    """(B, C, T + 1): the words of each candidate's parent, then its own."""
    before_BCT = ids_BmT.gather(1, parent_BC[:, :, None].expand(-1, -1, ids_BmT.shape[2]))
    return torch.cat([before_BCT, word_BC[:, :, None]], dim=2)


def _rows(parent_Bm: Tensor, before: int) -> Tensor:
    """Rows of the parents among the `before` hypotheses that each sentence had."""
    sentence_B = torch.arange(len(parent_Bm), device=parent_Bm.device)
    return sentence_B[:, None] * before + parent_Bm


def _reorder(state: SearchState, rows_Bm: Tensor) -> SearchState:
    """The state of these rows. On a CPU, where looking is cheap, caches already in order are not copied."""
    row_R = rows_Bm.flatten()
    if is_host(row_R.device) and torch.equal(row_R, torch.arange(len(row_R), device=row_R.device)):
        return state
    return state.select(row_R)


def _absent(sentences: int, count: int, device: torch.device) -> Hypotheses:
    """`count` hypotheses of each sentence that do not exist yet."""
    none_BK = torch.full((sentences, count), _NONE, device=device)
    length_BK = torch.zeros_like(none_BK, dtype=torch.int64)
    return Hypotheses(length_BK[:, :, None][:, :, :0], length_BK, none_BK, none_BK, length_BK.bool())


def _side_by_side(left: Hypotheses, right: Hypotheses, pad: int) -> Hypotheses:
    """The hypotheses of the same sentences from both."""
    widen = nn.functional.pad
    width = max(left.ids_BKT.shape[2], right.ids_BKT.shape[2])
    ids = [widen(side.ids_BKT, (0, width - side.ids_BKT.shape[2]), value=pad) for side in (left, right)]
    rest = ("lengths_BK", "log_probs_BK", "scores_BK", "truncated_BK")
    return Hypotheses(torch.cat(ids, 1), *(torch.cat([getattr(left, name), getattr(right, name)], 1) for name in rest))


def _gather(hypotheses: Hypotheses, place_BK: Tensor) -> Hypotheses:
    """Those at these places of each sentence."""
    ids_BKT = hypotheses.ids_BKT.gather(1, place_BK[:, :, None].expand(-1, -1, hypotheses.ids_BKT.shape[2]))
    rest = (hypotheses.lengths_BK, hypotheses.log_probs_BK, hypotheses.scores_BK, hypotheses.truncated_BK)
    return Hypotheses(ids_BKT, *(part.gather(1, place_BK) for part in rest))


def _best(pool: Hypotheses, count: int, pad: int) -> Hypotheses:
    """The first `count`; those that do not exist made empty."""
    absent_BK = (pool.scores_BK == _NONE)[:, :count]
    return Hypotheses(
        pool.ids_BKT[:, :count].masked_fill(absent_BK[:, :, None], pad),
        pool.lengths_BK[:, :count].masked_fill(absent_BK, 0),
        pool.log_probs_BK[:, :count].masked_fill(absent_BK, _NONE),
        pool.scores_BK[:, :count],
        pool.truncated_BK[:, :count] | absent_BK,
    )
