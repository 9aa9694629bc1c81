"""Follows one word at a time: greedy search and sampling differ only in how the next word is chosen.

Shapes: B sentences still followed, K rollouts of each, R = B * K rows, T target length, X words excluded for each row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seqgen_cli.decoding.base import Decoder, Hypotheses, Predictions, SearchState, Step, Task

Choose = Callable[[Predictions, Tensor, Task, int], tuple[Tensor, Tensor]]
"""(predictions, excluded ids (R, X), task, words so far) -> ids (R,) and log p (R,); -inf where every word is excluded."""


@torch.no_grad()
def roll_out(step: Step, state: SearchState, task: Task, settings: Decoder, copies: int, choose: Choose) -> Hypotheses:
    """Follow `copies` rows of each sentence until `</s>`, the maximum length, or a dead end (every word excluded).

    A sentence leaves the batch with its last row. The result's scores are its log-probabilities.
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
    going_R = torch.ones_like(last_R, dtype=torch.bool)
    while len(place_B):
        length = ids_RT.shape[1]
        predictions, state = step(last_R, state)
        word_R, log_p_R = choose(predictions, settings.exclusions(ids_RT, task.specials), task, length)
        if task.prefix_BP is not None and length < task.prefix_BP.shape[1]:
            word_R, log_p_R = _force(predictions, task, length, word_R, log_p_R)
        going_R = going_R & (log_p_R > float("-inf"))
        last_R = torch.where(going_R, word_R, pad)
        ids_RT = torch.cat([ids_RT, last_R[:, None]], dim=1)
        log_prob_R = log_prob_R + torch.where(going_R, log_p_R, 0.0)
        length_R = length_R + going_R
        going_R = going_R & (last_R != eos) & (length + 1 < max_B).repeat_interleave(copies)
        if bool(going_R.all()):
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
        if left:
            state = state.select(rows_R, keep_B)
    return Hypotheses.join(pieces, places, pad)


def _force(predictions: Predictions, task: Task, length: int, word_R: Tensor, log_p_R: Tensor) -> tuple[Tensor, Tensor]:
    """The prefix's next word and its log p, in sentences that are still inside their prefix."""
    assert task.prefix_BP is not None and task.prefix_lengths_B is not None
    copies = len(word_R) // len(task.index_B)
    inside_R = (length < task.prefix_lengths_B).repeat_interleave(copies)
    forced_R = torch.where(inside_R, task.prefix_BP[:, length].repeat_interleave(copies), word_R.clamp_min(0))
    return forced_R, torch.where(inside_R, predictions.score(forced_R), log_p_R)


def _hypotheses(ids_RT: Tensor, length_R: Tensor, log_prob_R: Tensor, copies: int, eos: int) -> Hypotheses:
    log_prob_BK = log_prob_R.view(-1, copies)
    real_RT = torch.arange(ids_RT.shape[1], device=ids_RT.device) < length_R[:, None]
    truncated_BK = ~((ids_RT == eos) & real_RT).any(1).view(-1, copies)
    return Hypotheses(ids_RT.view(-1, copies, ids_RT.shape[1]), length_R.view(-1, copies), log_prob_BK, log_prob_BK, truncated_BK)
