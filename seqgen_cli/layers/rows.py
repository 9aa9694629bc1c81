"""Tables of which a batch touches few rows: their gradients hold those rows alone (DESIGN.md, row-sparse updates).

Shapes: N positions, D hidden, R rows of a table, P pairs of a position and a row, in order of position.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqgen_cli.runtime.devices import elements_at_once


class RowTable(nn.Embedding):
    """A weight (R, D) with row-sparse gradients, uniform in +-1/sqrt(D) at the start.

    An nn.Embedding, so that DistributedDataParallel knows of the sparse gradients.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width, sparse=True, device=None)  # None: torch's default device
        self.set_sparse(True)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, -(self.embedding_dim**-0.5), self.embedding_dim**-0.5)

    def set_sparse(self, sparse: bool) -> None:
        """Whether gradients hold the touched rows alone."""
        self.sparse = sparse
        vars(self.weight)["row_sparse"] = sparse


def is_row_sparse(parameter: nn.Parameter) -> bool:
    """Whether its gradient will be a sparse tensor of whole rows."""
    return bool(getattr(parameter, "row_sparse", False))


def by_gradient(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> list[list[tuple[str, nn.Parameter]]]:
    """The parameters with dense gradients, then those with row-sparse ones: each kind has an optimizer of its own.

    Empty kinds are left out.
    """
    kinds: tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]] = ([], [])
    for name, parameter in named_parameters:
        kinds[is_row_sparse(parameter)].append((name, parameter))
    return [kind for kind in kinds if kind]


def make_dense(module: nn.Module) -> bool:
    """Give every table of the module dense gradients; whether any had row-sparse ones."""
    tables = [part for part in module.modules() if isinstance(part, RowTable) and part.sparse]
    for table in tables:
        table.set_sparse(False)
    return bool(tables)


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ids, rising, and where each id stands among them. On the meta device, which holds no ids, all differ."""
    if ids.is_meta:
        return ids, torch.arange(ids.shape[0], device=ids.device)
    unique, inverse = torch.unique(ids, return_inverse=True)
    return unique, inverse


def row_gradient(row_U: Tensor, values_UD: Tensor, size: torch.Size, sparse: bool) -> Tensor:
    """A (R, D) gradient from distinct rising rows: sparse, or with zeros everywhere else (always on the meta device)."""
    if not sparse or values_UD.is_meta:
        return values_UD.new_zeros(size).index_copy_(0, row_U, values_UD)
    return torch.sparse_coo_tensor(
        row_U[None], values_UD, size, is_coalesced=True, check_invariants=False, device=values_UD.device
    )


def coalesced(gradient: Tensor) -> Tensor:
    """The sparse gradient with each row once, rising. Copied only where it is not so yet: autograd forgets."""
    row_U = gradient._indices()[0]
    if not gradient.is_coalesced() and bool((row_U[1:] > row_U[:-1]).all()):
        return gradient._coalesced_(True)
    return gradient.coalesce()


def pair_scores(hidden_ND: Tensor, weight_RD: Tensor, row_P: Tensor, position_P: Tensor, start_N: Tensor, sparse: bool) -> Tensor:
    """score_p = weight[row_p] . hidden[position_p]: (P,). Differentiable once.

    Args:
        row_P: any row, any number of times.
        position_P: rising.
        start_N: index of each position's first pair.
        sparse: whether the weight's gradient holds the rows touched alone.
    """
    hidden_ND = hidden_ND.to(weight_RD.dtype)  # under autocast: no product here gains from a lower precision
    scores_P: Tensor = _PairScores.apply(hidden_ND, weight_RD, row_P, position_P, start_N, sparse)
    return scores_P


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_RD: Tensor, row_P: Tensor, position_P: Tensor, start_N: Tensor, sparse: bool
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_RD, row_P, position_P, start_N)
        ctx.sparse = sparse
        step = max(1, elements_at_once(hidden_ND.device) // hidden_ND.shape[1])
        parts = [
            (weight_RD.index_select(0, row) * hidden_ND.index_select(0, position)).sum(1)
            for row, position in zip(row_P.split(step), position_P.split(step), strict=True)
        ]
        return torch.cat(parts) if parts else hidden_ND.new_zeros(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_P: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_RD, row_P, position_P, start_N = ctx.saved_tensors
        if not row_P.shape[0]:
            return torch.zeros_like(hidden_ND), _nothing(weight_RD, ctx.sparse), None, None, None, None
        hidden_grad_ND = weighted_sums(weight_RD, row_P, start_N, grad_P) if ctx.needs_input_grad[0] else None
        weight_grad_RD = None
        if ctx.needs_input_grad[1]:
            row_U, inverse_P = distinct(row_P)
            order_P = inverse_P.argsort(stable=True)
            count_U = torch.zeros_like(row_U).scatter_add_(0, inverse_P, torch.ones_like(inverse_P))
            sums_UD = weighted_sums(hidden_ND, position_P[order_P], count_U.cumsum(0) - count_U, grad_P[order_P])
            weight_grad_RD = row_gradient(row_U, sums_UD, weight_RD.shape, ctx.sparse)
        return hidden_grad_ND, weight_grad_RD, None, None, None, None


def weighted_sums(values_RD: Tensor, index_P: Tensor, start_G: Tensor, weight_P: Tensor) -> Tensor:
    """For each group of consecutive pairs, sum_p weight_p values[index_p]: (G, D). An empty group's sum is 0."""
    sums_GD: Tensor = nn.functional.embedding_bag(
        index_P, values_RD, start_G, mode="sum", per_sample_weights=weight_P.to(values_RD.dtype)
    )
    return sums_GD


def _nothing(weight_RD: Tensor, sparse: bool) -> Tensor:
    row_0 = torch.zeros(0, dtype=torch.int64, device=weight_RD.device)
    return row_gradient(row_0, weight_RD.new_zeros(0, weight_RD.shape[1]), weight_RD.shape, sparse)


def places(mask: Tensor) -> Tensor:
    """The flat places where a mask is true, rising. On the meta device, which holds no mask, all of them."""
    return torch.arange(mask.numel(), device=mask.device) if mask.is_meta else mask.flatten().nonzero().squeeze(1)
