"""Products of positions with the words of one group each: positions sorted by group, one product a group (two-level softmax).

    log p(word | its group, h) = s_word - log sum_{v in group} exp s_v,   s_v = w_v . h + b_v

Only groups that occur cost anything, and only their rows get a gradient. Scores are kept for the backward while they are
few, and computed again where they are many, so memory is bounded. Differentiable once.

A product a group reads its weights where they lie. One batched product over groups with like numbers of positions has to
copy them first, which takes longer than the loop saves: 15 instead of 10 ms for the scores at V = 32,768, 80 instead of 24 at
131,072 (N = 1,024, D = 512, sqrt(V) groups, one thread). torch._grouped_mm wants groups of one size, and gains 5 to 10 %.

Shapes: N positions sorted by group, D hidden, V words sorted by group, G words of one group, C positions taken at once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqgen_cli.layers.rows import RowTable, row_gradient
from seqgen_cli.outputs.base import exact_scores

_KEEP_ELEMENTS = 1 << 22
"""Log-probabilities kept for the backward, in all, and computed at once."""


class Block(NamedTuple):
    """A slice of positions, and the slice of words of their group."""

    positions: slice
    words: slice


def blocks(count_C: Sequence[int], start_C: Sequence[int], size_C: Sequence[int]) -> Iterator[Block]:
    """The blocks of positions sorted by group: `count_C` positions of each; groups are words start .. start + size."""
    first = 0
    for count, start, size in zip(count_C, start_C, size_C, strict=True):
        step = max(1, _KEEP_ELEMENTS // size)
        for at in range(first, first + count, step):
            yield Block(slice(at, min(at + step, first + count)), slice(start, start + size))
        first += count


def log_probs_of(block: Block, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
    """log p(v | group, h) of every word of the block's group at its positions: (C, G)."""
    weight_GD, bias_G = weight_VD[block.words], bias_V[block.words]
    return exact_scores(hidden_ND[block.positions], weight_GD, bias_G).log_softmax(-1)


def word_log_probs(hidden_ND: Tensor, table: RowTable, bias_V: Tensor, word_N: Tensor, plan: Sequence[Block]) -> Tensor:
    """log p(word | its group, h): (N,). `word_N` counts from its group's first word."""
    log_p_N: Tensor = _WordLogProbs.apply(hidden_ND.to(table.weight.dtype), table.weight, bias_V, word_N, plan, table.sparse)
    return log_p_N


class _WordLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, word_N: Tensor, plan: Sequence[Block], sparse: bool
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, word_N)
        ctx.plan, ctx.sparse, ctx.kept = plan, sparse, []
        room = _KEEP_ELEMENTS if any(ctx.needs_input_grad) else 0
        found_N = hidden_ND.new_zeros(hidden_ND.shape[0])
        for block in plan:
            log_p_CG = log_probs_of(block, hidden_ND, weight_VD, bias_V)
            found_N[block.positions] = log_p_CG.gather(1, word_N[block.positions, None]).squeeze(1)
            room -= log_p_CG.numel()
            ctx.kept.append(log_p_CG if room >= 0 else None)
        return found_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        """With e = p - onehot: -g e W for the hidden vectors, -e' (g h) for the weights."""
        hidden_ND, weight_VD, bias_V, word_N = ctx.saved_tensors
        hidden_grad_ND, bias_grad_V, minus_N = torch.empty_like(hidden_ND), torch.zeros_like(bias_V), -grad_N
        scaled_ND = minus_N[:, None] * hidden_ND
        groups = list(dict.fromkeys((block.words.start, block.words.stop) for block in ctx.plan))
        sizes = [stop - start for start, stop in groups]
        values_UD = weight_VD.new_empty(sum(sizes), weight_VD.shape[1])
        rows_of = {start: rows_GD for (start, _), rows_GD in zip(groups, values_UD.split(sizes), strict=True)}
        begun: set[int] = set()
        for block, log_p_CG in zip(ctx.plan, ctx.kept, strict=True):
            if log_p_CG is None:
                log_p_CG = log_probs_of(block, hidden_ND, weight_VD, bias_V)
            error_CG = log_p_CG.exp()
            error_CG.scatter_add_(1, word_N[block.positions, None], torch.full_like(error_CG[:, :1], -1.0))
            torch.mm(error_CG, weight_VD[block.words], out=hidden_grad_ND[block.positions])
            # With beta 0 what the new rows hold is not read.
            beta = float(block.words.start in begun)
            rows_of[block.words.start].addmm_(error_CG.t(), scaled_ND[block.positions], beta=beta)
            begun.add(block.words.start)
            bias_grad_V[block.words].addmv_(error_CG.t(), minus_N[block.positions])
        row_U = torch.cat([torch.arange(*group, device=weight_VD.device) for group in groups] or [word_N[:0]])
        weight_grad_VD = row_gradient(row_U, values_UD, weight_VD.shape, ctx.sparse)
        return hidden_grad_ND.mul_(minus_N[:, None]), weight_grad_VD, bias_grad_V, None, None, None
