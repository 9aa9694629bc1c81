"""Follows one word at a time: greedy search and sampling differ only in how the next word is chosen.

Shapes: B sentences still followed, K rollouts of each, R = B * K rows, W rows whose next word is to be chosen, T target length,
X words excluded for each row.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqgen_cli.decoding.base import Decoder, Hypotheses, Predictions, SearchState, Step, Task


@dataclass(frozen=True)
class Turn:
    """One step: the rows whose next word is to be chosen, which are neither over nor inside their prefix.

    exclude_WX: words that may not be chosen. length: words so far. copies: rows of a sentence, which stand together.
    """

    task: Task
    row_W: Tensor
    exclude_WX: Tensor
    length: int
    copies: int

    @property
    def index_W(self) -> Tensor:
        """Names each row's sentence."""
        return self.task.index_B[self.row_W // self.copies]


Choose = Callable[[Predictions, Turn], tuple[Tensor, Tensor]]
"""(predictions of the turn's rows, turn) -> ids (W,) and log p (W,); -inf where every word is excluded."""


@torch.no_grad()
def roll_out(
    step: Step, state: SearchState, task: Task, settings: Decoder, copies: int, choose: Choose, scored: bool = True
) -> Hypotheses:
    """Follow `copies` rows of each sentence until `</s>`, the maximum length, or a dead end (every word excluded).

    A sentence leaves the batch with its last row. The result's scores are its log-probabilities; not those of the prefix's
    words where they are not to be `scored`.
    """
    device, pad, eos = task.index_B.device, task.specials.pad, task.specials.eos
    pieces, places = [], []
    place_B = torch.arange(len(task.index_B), device=device)
    max_B = settings.max_lengths(task)
    state = state.select(place_B.repeat_interleave(copies)) if copies > 1 else state
    last_R = torch.full((len(place_B) * copies,), task.specials.first, dtype=torch.int64, device=device)
    ids_RT = last_R[:, None][:, :0]
    log_prob_R = torch.zeros_like(last_R, dtype=torch.float32)
    length_R = torch.zeros_like(last_R)
    going_R, row_W = torch.ones_like(last_R, dtype=torch.bool), torch.arange(len(last_R), device=device)
    while len(place_B):
        length = ids_RT.shape[1]
        predictions, state = step(last_R, state)
        word_R, log_p_R = _next(predictions, task, settings.exclusions(ids_RT, task.specials), row_W, length, choose, scored)
        going_R = going_R & (log_p_R > float("-inf"))
        last_R = torch.where(going_R, word_R, pad)
        ids_RT = torch.cat([ids_RT, last_R[:, None]], dim=1)
        log_prob_R = log_prob_R + torch.where(going_R, log_p_R, 0.0)
        length_R = length_R + going_R
        going_R = going_R & (last_R != eos) & (length + 1 < max_B).repeat_interleave(copies)
        row_W = going_R.nonzero().squeeze(1)
        if len(row_W) == len(going_R):
            continue
        going_B = going_R.view(-1, copies).any(1)
        left = int(going_B.sum())
        # Dropping sentences copies the sources of the rest, so a few wait for others.
        if left and 8 * (len(place_B) - left) < len(place_B):
            continue
        gone_B, keep_B = (~going_B).nonzero().squeeze(1), going_B.nonzero().squeeze(1)
        result = _hypotheses(ids_RT, length_R, log_prob_R, copies, eos)
        pieces.append(result.select(gone_B))
        places.append(place_B[gone_B])
        rows_R = (keep_B[:, None] * copies + torch.arange(copies, device=device)).flatten()
        place_B, max_B, task = place_B[keep_B], max_B[keep_B], task.select(keep_B)
        last_R, ids_RT, log_prob_R, length_R, going_R = (part[rows_R] for part in (last_R, ids_RT, log_prob_R, length_R, going_R))
        row_W = going_R.nonzero().squeeze(1)
        if left:
            state = state.select(rows_R, keep_B)
    return Hypotheses.join(pieces, places, pad)


def _next(
    predictions: Predictions, task: Task, exclude_RX: Tensor, row_W: Tensor, length: int, choose: Choose, scored: bool
) -> tuple[Tensor, Tensor]:
    """The next word of each of the rows `row_W`, the prefix's while it is inside, and its log p: (R,). Others have anything."""
    copies = exclude_RX.shape[0] // len(task.index_B)
    word_R = torch.zeros(exclude_RX.shape[0], dtype=torch.int64, device=exclude_RX.device)
    log_p_R = None
    if task.prefix_BP is not None and task.prefix_lengths_B is not None and length < task.prefix_BP.shape[1]:
        inside_R = (length < task.prefix_lengths_B).repeat_interleave(copies)
        word_R = torch.where(inside_R, task.prefix_BP[:, length].repeat_interleave(copies), 0)
        log_p_R = predictions.score(word_R) if scored else None
        row_W = row_W[~inside_R[row_W]]
    if len(row_W):
        word_W, log_p_W = choose(predictions.rows(row_W), Turn(task, row_W, exclude_RX[row_W], length, copies))
        log_p_R = torch.zeros_like(word_R, dtype=log_p_W.dtype) if log_p_R is None else log_p_R
        word_R, log_p_R = word_R.index_copy(0, row_W, word_W), log_p_R.index_copy(0, row_W, log_p_W)
    return word_R, torch.zeros_like(word_R, dtype=torch.float32) if log_p_R is None else log_p_R


def _hypotheses(ids_RT: Tensor, length_R: Tensor, log_prob_R: Tensor, copies: int, eos: int) -> Hypotheses:
    log_prob_BK = log_prob_R.view(-1, copies)
    real_RT = torch.arange(ids_RT.shape[1], device=ids_RT.device) < length_R[:, None]
    truncated_BK = ~((ids_RT == eos) & real_RT).any(1).view(-1, copies)
    return Hypotheses(ids_RT.view(-1, copies, ids_RT.shape[1]), length_R.view(-1, copies), log_prob_BK, log_prob_BK, truncated_BK)
