"""Scores of a few candidate words, the same for all positions, and of each position's target (shared samples).

    s_nk = w_k . h_n + o_k  for the K candidates,   s_n = w_y . h_n + b_y  for the target, in one matrix with J = K + 1 columns

Only the rows of these words get a gradient. Under autocast the products run in its dtype and everything else in float32.
Differentiable once.

Shapes: N positions, D hidden, V words, K candidates, J = K + 1, U distinct words.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqgen_cli.layers.rows import distinct, row_gradient
from seqgen_cli.outputs.chunked_loss import product_dtype
from seqgen_cli.runtime.devices import no_autocast


def candidate_scores(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor,
    target_N: Tensor,
    word_K: Tensor,
    offset_K: Tensor,
    remove_hits: bool,
    sparse: bool,
) -> Tensor:
    """Scores of the candidates and, last, of the target: (N, J).

    Args:
        word_K: candidates; rising where `remove_hits`.
        offset_K: added to their scores, beside the bias.
        remove_hits: -inf for a candidate that is the target.
        sparse: whether the weight's gradient holds the rows touched alone.
    """
    score_NJ: Tensor = _CandidateScores.apply(hidden_ND, weight_VD, bias_V, target_N, word_K, offset_K, remove_hits, sparse)
    return score_NJ


class _CandidateScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        target_N: Tensor,
        word_K: Tensor,
        offset_K: Tensor,
        remove_hits: bool,
        sparse: bool,
    ) -> Tensor:
        ctx.dtype, ctx.sparse, ctx.size = product_dtype(weight_VD), sparse, weight_VD.shape
        word_J, last = torch.cat([word_K, target_N]), word_K.shape[0]
        row_KD, target_ND = weight_VD.index_select(0, word_J).split([last, target_N.shape[0]])
        ctx.save_for_backward(hidden_ND, row_KD, target_ND, word_J, bias_V)
        bias_K = bias_V.index_select(0, word_K) + offset_K
        score_NJ = weight_VD.new_empty(hidden_ND.shape[0], last + 1)
        with no_autocast(weight_VD.device):
            if ctx.dtype == hidden_ND.dtype == score_NJ.dtype:
                torch.addmm(bias_K, hidden_ND, row_KD.t(), out=score_NJ[:, :last])
            else:
                torch.add(hidden_ND.to(ctx.dtype) @ row_KD.to(ctx.dtype).t(), bias_K, out=score_NJ[:, :last])
            score_NJ[:, last] = (hidden_ND.to(weight_VD.dtype) * target_ND).sum(1) + bias_V.index_select(0, target_N)
        if remove_hits:
            place_N1 = torch.searchsorted(word_K, target_N[:, None]).clamp(max=last - 1)
            kept_N1 = score_NJ.gather(1, place_N1).masked_fill(word_K[place_N1] == target_N[:, None], float("-inf"))
            score_NJ.scatter_(1, place_N1, kept_N1)
        return score_NJ

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NJ: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, row_KD, target_ND, word_J, bias_V = ctx.saved_tensors
        last = row_KD.shape[0]
        grad_N1, exact_ND = grad_NJ[:, last:], hidden_ND.to(row_KD.dtype)
        with no_autocast(row_KD.device):
            grad_NK = grad_NJ[:, :last].to(ctx.dtype)
            hidden_grad_ND = (grad_NK @ row_KD.to(ctx.dtype)).to(row_KD.dtype).addcmul_(grad_N1, target_ND)
            row_grad_KD = (grad_NK.t() @ hidden_ND.to(ctx.dtype)).to(row_KD.dtype)
        row_U, place_J = distinct(word_J)
        values_UD = row_KD.new_zeros(row_U.shape[0], row_KD.shape[1]).index_add_(0, place_J[:last], row_grad_KD)
        values_UD.index_add_(0, place_J[last:], grad_N1 * exact_ND)
        sums_J = torch.cat([grad_NJ[:, :last].sum(0), grad_NJ[:, last]])
        bias_grad_V = torch.zeros_like(bias_V).index_add_(0, word_J, sums_J)
        weight_grad_VD = row_gradient(row_U, values_UD, ctx.size, ctx.sparse)
        return hidden_grad_ND.to(hidden_ND.dtype), weight_grad_VD, bias_grad_V, None, None, None, None, None
