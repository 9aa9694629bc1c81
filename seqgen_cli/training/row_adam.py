"""Adam for tables of which an update touches few rows: it reads and writes those rows alone.

Every row has a clock of its own: it takes Adam's step on the sequence of its own gradients, and nothing happens to it (its
moments do not decay) in updates that do not touch it. torch's SparseAdam corrects the bias by the common update number
instead, so a row's first steps may be many times lr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqgen_cli.layers.rows import coalesced

_CHUNK_ELEMENTS = 1 << 18
"""Weights taken at once, so that the pieces stay in a processor's cache."""


class RowAdam(Optimizer):
    """Adam (Kingma and Ba 2015) by rows; a dense gradient touches every row.

    Args:
        parameters: matrices, or tensors of more dimensions, whose rows are the first.
        lr, betas, eps: as in torch.optim.Adam.
    """

    # As torch's fused optimizers: `found_inf` on the device says whether to leave everything as it is.
    _step_supports_amp_scaling = True
    found_inf: Tensor | None

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        self.found_inf = None

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of the rows touched."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, parameter.grad, group)
        return loss

    def _step_one(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["steps"] = torch.zeros(parameter.shape[0], device=parameter.device)
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        if gradient.is_sparse:
            gradient = coalesced(gradient)
            row_U, values_U = gradient.indices()[0], gradient.values()
        else:
            row_U, values_U = torch.arange(gradient.shape[0], device=gradient.device), gradient
        size = max(1, _CHUNK_ELEMENTS // max(1, parameter[:1].numel()))
        for row, values in zip(row_U.split(size), values_U.split(size), strict=True):
            self._step_rows(parameter, state, row, values, group)

    def _step_rows(
        self, parameter: Tensor, state: dict[str, Tensor], row: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> None:
        (beta1, beta2), keep = group["betas"], self.found_inf
        steps = state["steps"][row] + 1
        clock = steps.view(-1, *[1] * (gradient.ndim - 1)).to(gradient.dtype)
        mean = state["mean"][row].lerp_(gradient, 1 - beta1)
        square = state["square"][row].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = square.div(1 - beta2**clock).sqrt_().add_(group["eps"])
        weight = parameter[row].addcdiv_(mean / (1 - beta1**clock), denominator, value=-group["lr"])
        for old, new in ((state["steps"], steps), (state["mean"], mean), (state["square"], square), (parameter, weight)):
            old.index_copy_(0, row, new if keep is None else torch.where(keep > 0, old[row], new))
