"""Cross-entropy of a linear layer without its (positions x words) scores: positions are taken in chunks.

    loss_n = log Z_n - (1 - e) s_{n,y} - e mean_v s_{n,v},    s_{n,v} = w_v . h_n + b_v

Its gradient in the scores is G = p - (1 - e) onehot(y) - e/V; the last term is constant, so what it adds to the gradients
is of rank one and needs no pass over the scores. A chunk's G is formed either in the forward, where every position's
weight is known beforehand (three matrix products), or from recomputed scores in backward (four).

Under autocast the products run in its dtype and everything else in float32. Differentiable once.

Shapes: N positions, C positions of one chunk, D hidden, V words.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqgen_cli.outputs.base import row_chunks
from seqgen_cli.runtime.devices import autocast_dtype, no_autocast

Gradients = list[Tensor | None]


class _Plan(NamedTuple):
    """How the loss is computed: smoothing e, most scores at once (None: of 256 positions, or 4 Mi), dtype of the products."""

    smoothing: float
    chunk_elements: int | None
    dtype: torch.dtype


def nll_each(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, target_N: Tensor, smoothing: float, chunk_elements: int | None
) -> Tensor:
    """(N,) losses; their gradient comes from recomputed scores."""
    plan = _Plan(smoothing, chunk_elements, product_dtype(weight_VD))
    losses_N: Tensor = _Each.apply(hidden_ND, weight_VD, bias_V, target_N, plan)
    return losses_N


def nll_sum(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    target_N: Tensor,
    weights_N: Tensor,
    smoothing: float,
    chunk_elements: int | None,
) -> Tensor:
    """sum_n weights_n loss_n, a scalar; its gradient (none for `weights_N`) is taken in the forward."""
    plan = _Plan(smoothing, chunk_elements, product_dtype(weight_VD))
    total: Tensor = _WeightedSum.apply(hidden_ND, weight_VD, bias_V, target_N, weights_N, plan)
    return total


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, target_N: Tensor, plan: _Plan) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, target_N)
        ctx.plan = plan
        return _loss_and_gradients(hidden_ND, weight_VD, bias_V, target_N, None, plan, (False, False, False))[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, target_N = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        _, gradients = _loss_and_gradients(hidden_ND, weight_VD, bias_V, target_N, grad_N, ctx.plan, wanted)
        return (*gradients, None, None)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, target_N: Tensor, weights_N: Tensor, plan: _Plan
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, target_N, weights_N)
        ctx.plan = plan
        wanted = ctx.needs_input_grad[:3]
        loss_N, ctx.gradients = _loss_and_gradients(hidden_ND, weight_VD, bias_V, target_N, weights_N, plan, wanted)
        return (loss_N * weights_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:  # a second backward through a retained graph: the first has scaled them in place
            hidden_ND, weight_VD, bias_V, target_N, weights_N = ctx.saved_tensors
            wanted = ctx.needs_input_grad[:3]
            _, gradients = _loss_and_gradients(hidden_ND, weight_VD, bias_V, target_N, weights_N, ctx.plan, wanted)
        scaled = [None if part is None else part.mul_(grad.to(part.dtype)) for part in gradients]
        return (*scaled, None, None, None)


def _loss_and_gradients(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    target_N: Tensor,
    weights_N: Tensor | None,
    plan: _Plan,
    wanted: tuple[bool, ...],
) -> tuple[Tensor, Gradients]:
    """Loss of each position (N,), and the wanted gradients (of hidden, weight, bias) of its sum weighted by `weights_N`."""
    exact = torch.promote_types(plan.dtype, torch.float32)
    hidden_grad_ND = torch.empty_like(hidden_ND) if wanted[0] else None
    weight_grad_VD = torch.zeros_like(weight_VD) if wanted[1] else None
    bias_grad_V = torch.zeros_like(bias_V) if bias_V is not None and wanted[2] else None
    losses = []
    with no_autocast(weight_VD.device):
        matrix_VD = weight_VD.to(plan.dtype)
        mean_D = weight_VD.mean(0, dtype=exact) if plan.smoothing else None
        factor, weights_N1 = _split_weights(weights_N, exact, plan.dtype)
        for rows in row_chunks(hidden_ND.shape[0], weight_VD.shape[0], plan.chunk_elements):
            hidden_CD, target_C1 = hidden_ND[rows].to(plan.dtype), target_N[rows, None]
            loss_C1, probs_CV = _chunk_loss(hidden_CD, matrix_VD, bias_V, target_C1, mean_D, plan.smoothing)
            losses.append(loss_C1.squeeze(1))
            if weights_N1 is None:
                continue
            weights_C1 = weights_N1[rows]
            error_CV = probs_CV.scatter_add_(1, target_C1, torch.full_like(loss_C1, plan.smoothing - 1.0))
            if bias_grad_V is not None:
                bias_grad_V += (error_CV.t() @ weights_C1).squeeze(1)
            error_CV = error_CV.to(plan.dtype)
            if hidden_grad_ND is not None:
                hidden_grad_ND[rows] = weights_C1 * (error_CV @ matrix_VD)
            if weight_grad_VD is not None:
                _add_product_(weight_grad_VD, error_CV.t(), (weights_C1 * hidden_CD).to(plan.dtype))
            del probs_CV, error_CV  # before the next chunk's scores are made
        gradients = [hidden_grad_ND, weight_grad_VD, bias_grad_V]
        if weights_N1 is not None and mean_D is not None:
            _subtract_uniform_(gradients, hidden_ND.to(exact), weights_N1, mean_D, plan.smoothing)
    if factor is not None:
        gradients = [None if part is None else part.mul_(factor.to(part.dtype)) for part in gradients]
    return torch.cat(losses), gradients


def _chunk_loss(
    hidden_CD: Tensor, matrix_VD: Tensor, bias_V: Tensor | None, target_C1: Tensor, mean_D: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Loss (C, 1) and p (C, V) of one chunk."""
    exact = torch.promote_types(hidden_CD.dtype, torch.float32)
    if hidden_CD.dtype == exact:
        scores_CV = torch.nn.functional.linear(hidden_CD, matrix_VD, bias_V)
    else:
        scores_CV = (hidden_CD @ matrix_VD.t()).to(exact)
        scores_CV = scores_CV if bias_V is None else scores_CV.add_(bias_V)
    probs_CV = scores_CV.softmax(-1)
    # The largest probability is exp(largest score) / Z, and cannot underflow.
    log_z_C1 = scores_CV.amax(-1, keepdim=True) - probs_CV.amax(-1, keepdim=True).log()
    score_C1 = scores_CV.gather(1, target_C1)
    if mean_D is not None:
        mean_C1 = hidden_CD.to(exact) @ mean_D[:, None] + (0.0 if bias_V is None else bias_V.mean(dtype=exact))
        score_C1 = (1.0 - smoothing) * score_C1 + smoothing * mean_C1
    return log_z_C1 - score_C1, probs_CV


def _subtract_uniform_(gradients: Gradients, hidden_ND: Tensor, weights_N1: Tensor, mean_D: Tensor, smoothing: float) -> None:
    """What -e/V in every score's gradient adds: -e w mean(W) to dh, -(e/V) sum_n w_n h_n to each row of dW, likewise db."""
    hidden_grad_ND, weight_grad_VD, bias_grad_V = gradients
    if hidden_grad_ND is not None:
        hidden_grad_ND -= (smoothing * weights_N1 * mean_D).to(hidden_grad_ND.dtype)
    if weight_grad_VD is not None:
        weight_grad_VD -= smoothing / weight_grad_VD.shape[0] * (weights_N1.t() @ hidden_ND)
    if bias_grad_V is not None:
        bias_grad_V -= smoothing / bias_grad_V.shape[0] * weights_N1.sum()


def _split_weights(weights_N: Tensor | None, exact: torch.dtype, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
    """Weights as a factor times (N, 1) numbers of at most 1: in float16 a loss scale, or 1/N, would leave its range."""
    if weights_N is None:
        return None, None
    if dtype != torch.float16:
        return None, weights_N.to(exact)[:, None]
    # The spare entry serves no weights at all, and weights that are all 0.
    factor = torch.nn.functional.pad(weights_N.to(exact).abs(), (0, 1), value=torch.finfo(exact).tiny).amax()
    return factor, (weights_N.to(exact) / factor)[:, None]


def _add_product_(total_VD: Tensor, left_VC: Tensor, right_CD: Tensor) -> None:
    """total += left @ right, summed over chunks in the total's own dtype."""
    if total_VD.dtype == left_VC.dtype:
        total_VD.addmm_(left_VC, right_CD)
    else:
        total_VD += left_VC @ right_CD


def product_dtype(weight_VD: Tensor) -> torch.dtype:
    """Autocast's dtype where it is on."""
    return autocast_dtype(weight_VD.device) or weight_VD.dtype
