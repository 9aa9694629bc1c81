"""Optimizers: settings whose `make` gives torch's own, with the fused step.

A fused step reads whether a gradient was non-finite on the device (`found_inf`), so the loop never waits for the answer.
Weight decay (decoupled in AdamW, an L2 term in SGD) leaves out biases, gains of normalisation layers and embeddings:
every parameter with fewer than two dimensions, and every one whose name contains "embed".

A parameter with an attribute `learning_rate` (a pretrained part that must move slowly) has that in place of `lr`.
Parameters with row-sparse gradients go to an optimizer of their own, with the same settings (`by_gradient`). A choice's
`row_sparse` is None where it has one for them, else why not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from torch import nn, optim

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.rows import is_row_sparse
from seqgen_cli.training.row_adam import RowAdam

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def _groups(named_parameters: NamedParameters, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: by their own learning rate, and by whether they decay; frozen parameters are left out."""
    groups: dict[tuple[float | None, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            decays = weight_decay > 0 and parameter.ndim >= 2 and "embed" not in name
            groups.setdefault((getattr(parameter, "learning_rate", None), decays), []).append(parameter)
    # Those at the run's own rate first: the loop logs the first group's.
    order = sorted(groups, key=lambda kind: (kind[0] is not None, kind[0] or 0.0, not kind[1]))
    return [
        {"params": groups[rate, decays], "weight_decay": weight_decay if decays else 0.0, **({"lr": rate} if rate else {})}
        for rate, decays in order
    ]


def _by_rows(groups: list[dict[str, Any]]) -> bool:
    """Whether these are parameters with row-sparse gradients."""
    return bool(groups) and all(is_row_sparse(parameter) for group in groups for parameter in group["params"])


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015)."""

    lr: Annotated[float, Gt(0)] = 1e-3
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.98
    eps: Annotated[float, Gt(0)] = 1e-9

    @property
    def row_sparse(self) -> str | None:
        return None

    def make(self, named_parameters: NamedParameters) -> optim.Optimizer:
        groups = _groups(named_parameters, 0.0)
        if _by_rows(groups):
            return RowAdam(groups[0]["params"], self.lr, (self.beta1, self.beta2), self.eps)
        return optim.Adam(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): w <- w - lr (step + weight_decay w)."""

    lr: Annotated[float, Gt(0)] = 1e-3
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.98
    eps: Annotated[float, Gt(0)] = 1e-9
    weight_decay: Annotated[float, Ge(0)] = 0.01

    @property
    def row_sparse(self) -> str | None:
        return "optimizer.weight_decay moves every row" if self.weight_decay else None

    def make(self, named_parameters: NamedParameters) -> optim.Optimizer:
        groups = _groups(named_parameters, self.weight_decay)
        if _by_rows(groups) and not self.weight_decay:
            return RowAdam(groups[0]["params"], self.lr, (self.beta1, self.beta2), self.eps)
        return optim.AdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum."""

    lr: Annotated[float, Gt(0)] = 0.1
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    nesterov: bool = False
    weight_decay: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise RequestError("optimizer.nesterov looks ahead along the velocity: set optimizer.momentum above 0, e.g. 0.9.")

    @property
    def row_sparse(self) -> str | None:
        return "optimizer=sgd has no form by rows"

    def make(self, named_parameters: NamedParameters) -> optim.Optimizer:
        groups = _groups(named_parameters, self.weight_decay)
        return optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)
