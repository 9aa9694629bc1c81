"""A toy problem for the training loop: linear regression in float64, with batches and objectives of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seqgen_cli.objectives.base import Loss, MakeOptimizer, Progress, Update


@dataclass(frozen=True)
class Rows:
    """Inputs (B, 3) and wanted outputs (B, 2)."""

    x_B3: Tensor
    y_B2: Tensor

    def to(self, device: Any) -> Rows:
        return replace(self, x_B3=self.x_B3.to(device), y_B2=self.y_B2.to(device))


def rows(number: int, size: int) -> Rows:
    """Batch `number` of the stream: `size` rows that depend on it alone."""
    random = torch.Generator().manual_seed(1000 + number)
    return Rows(
        torch.randn(size, 3, generator=random, dtype=torch.float64), torch.randn(size, 2, generator=random, dtype=torch.float64)
    )


def stream(sizes: list[int], rank: int = 0, world_size: int = 1, start: int = 0) -> Iterator[Rows]:
    """Batches rank, rank + world_size, ... of an endless stream whose sizes repeat."""
    number = start + rank
    while True:
        yield rows(number, sizes[number % len(sizes)])
        number += world_size


class Regression(nn.Module):
    """Squared error, summed over rows; the second term is counted in pairs of outputs, to have two counts."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Linear(3, 4, dtype=torch.float64)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(4, 2, dtype=torch.float64)

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        return [Update("fit", self, [make_optimizer(self.named_parameters())])]

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"rows": len(batch.x_B3), "outputs": 2 * len(batch.x_B3)}

    def forward(self, batch: Rows, progress: Progress) -> Loss:
        out_B2 = self.second(self.dropout(torch.tanh(self.first(batch.x_B3))))
        error = (out_B2 - batch.y_B2).square().sum()
        return Loss({"rows": error, "outputs": out_B2.square().sum()}, {"error": error.detach()})

    def definition(self, batch: Rows) -> Tensor:
        """The mean that training minimises, on one batch of everything."""
        out_B2 = self.second(torch.tanh(self.first(batch.x_B3)))
        return (out_B2 - batch.y_B2).square().sum() / len(batch.x_B3) + out_B2.square().mean()


def joined(batches: list[Rows]) -> Rows:
    """All rows of several batches as one."""
    return Rows(torch.cat([batch.x_B3 for batch in batches]), torch.cat([batch.y_B2 for batch in batches]))


class OneProcess:
    """The least a loop needs of a runtime: one process on the CPU."""

    device = torch.device("cpu")
    rank = 0
    world_size = 1

    def __init__(self, precision: str = "fp32") -> None:
        self.precision = precision

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def all_sum(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        return sums

    def wrap(self, module: nn.Module) -> nn.Module:
        return module
