"""Adam for tables of which an update touches few rows: it reads and writes those rows alone.

Every row has a clock of its own: it takes Adam's step on the sequence of its own gradients, and nothing happens to it (its
moments do not decay) in updates that do not touch it. torch's SparseAdam corrects the bias by the common update number
instead, so a row's first steps may be many times lr.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqgen_cli.layers.rows import coalesced
from seqgen_cli.runtime.devices import elements_at_once, is_host

_LONG_RUN = 32
"""Mean length of runs of consecutive rows from which slices are faster than gathering."""


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
        skip = self.found_inf
        if skip is not None and is_host(skip.device):
            if skip.item():  # no device to wait for
                return
            skip = None
        if not row_U.shape[0]:
            return
        runs = _runs(row_U, state["steps"])
        if len(runs) * _LONG_RUN <= row_U.shape[0]:
            _step_runs(parameter, state, runs, gradient=values_U, group=group, skip=skip)
            state["steps"][row_U] += 1 if skip is None else 1 - skip
            return
        size = max(1, elements_at_once(parameter.device) // max(1, parameter[:1].numel()))
        for row, values in zip(row_U.split(size), values_U.split(size), strict=True):
            _step_rows(parameter, state, row, values, group, skip)


def _runs(row_U: Tensor, steps_R: Tensor) -> list[tuple[int, int, int]]:
    """Runs of consecutive rows with the same clock: first row, its place in `row_U`, and length."""
    steps_U = steps_R.index_select(0, row_U)
    breaks = ((row_U[1:] != row_U[:-1] + 1) | (steps_U[1:] != steps_U[:-1])).nonzero().squeeze(1) + 1
    if breaks.shape[0] * _LONG_RUN > row_U.shape[0]:
        return [(0, 0, 0)] * row_U.shape[0]  # too many to be of use
    starts = [0, *breaks.tolist()]
    first_rows = row_U[torch.as_tensor(starts, device=row_U.device)].tolist()
    return [(row, at, end - at) for row, at, end in zip(first_rows, starts, [*starts[1:], row_U.shape[0]], strict=True)]


def _step_runs(
    parameter: Tensor,
    state: dict[str, Tensor],
    runs: list[tuple[int, int, int]],
    gradient: Tensor,
    group: dict[str, Any],
    skip: Any,
) -> None:
    """torch's fused step on slices: one pass over the memory, nothing copied."""

    def slices(tensor: Tensor) -> list[Tensor]:
        return [tensor[row : row + length] for row, _, length in runs]

    torch._fused_adam_(
        slices(parameter),
        [gradient[at : at + length] for _, at, length in runs],
        slices(state["mean"]),
        slices(state["square"]),
        [],
        [state["steps"][row] + 1 for row, _, _ in runs],
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=0.0,
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
        grad_scale=None,
        found_inf=skip,
    )


def _step_rows(
    parameter: Tensor, state: dict[str, Tensor], row: Tensor, gradient: Tensor, group: dict[str, Any], skip: Tensor | None
) -> None:
    """Scattered rows, gathered and put back."""
    beta1, beta2 = group["betas"]
    steps = state["steps"].index_select(0, row) + 1
    clock = steps.view(-1, *[1] * (gradient.ndim - 1)).to(gradient.dtype)
    mean = state["mean"].index_select(0, row).lerp_(gradient, 1 - beta1)
    square = state["square"].index_select(0, row).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    # m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), both factors of m in the divisor: one pass fewer.
    bias1, bias2 = 1 - beta1**clock, 1 - beta2**clock
    divisor = torch.addcmul(group["eps"] * bias1, square.sqrt(), bias1 / bias2.sqrt())
    weight = parameter.index_select(0, row).addcdiv_(mean, divisor, value=-group["lr"])
    for old, new in ((state["steps"], steps), (state["mean"], mean), (state["square"], square), (parameter, weight)):
        old.index_copy_(0, row, new if skip is None else torch.where(skip > 0, old.index_select(0, row), new))
