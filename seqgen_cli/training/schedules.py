"""Learning-rate schedules: pure functions of the update index, so that resuming anywhere continues exactly.

`factor(update)` multiplies the optimizer's learning rate at the update numbered `update`, counted from 0. In the
equations n = update + 1 and w is the number of warm-up updates, over which each schedule rises linearly, n / w.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from seqgen_cli.errors import RequestError


def _warm_up(update: int, warmup: int) -> float:
    return min(1.0, (update + 1) / warmup) if warmup else 1.0


@dataclass(frozen=True)
class Constant:
    """1 after warm-up."""

    warmup: Annotated[int, Ge(0)] = 0

    def factor(self, update: int) -> float:
        return _warm_up(update, self.warmup)


@dataclass(frozen=True)
class InverseSqrt:
    """min(n / w, sqrt(w / n)): 1 at the end of warm-up, then falling with the square root; w = 0 counts as 1."""

    warmup: Annotated[int, Ge(0)] = 4000

    def factor(self, update: int) -> float:
        warmup = max(1, self.warmup)
        return min((update + 1) / warmup, math.sqrt(warmup / (update + 1)))


@dataclass(frozen=True)
class Noam:
    """D^-1/2 min(n^-1/2, n w^-3/2) (Vaswani et al. 2017, equation 3), D the model's hidden size.

    The factor is the learning rate itself: set `optimizer.lr` to 1, or to a multiple such as 2.
    """

    hidden_size: Annotated[int, Ge(1)] = 512
    warmup: Annotated[int, Ge(1)] = 4000

    def factor(self, update: int) -> float:
        n = update + 1
        return self.hidden_size**-0.5 * min(n**-0.5, n * self.warmup**-1.5)


@dataclass(frozen=True)
class _Falling:
    """A schedule that reaches `final` at the last of its updates and keeps it.

    Args:
        end: its number of updates; None: `total_updates`.
        warmup, final: updates of linear rise; factor at the end.
        total_updates: the run's number of updates; None where the budget does not say.

    Raises:
        RequestError: neither `end` nor `total_updates` says where it ends.
    """

    end: Annotated[int, Ge(1)] | None = None
    warmup: Annotated[int, Ge(0)] = 0
    final: Annotated[float, Ge(0), Le(1)] = 0.0
    total_updates: int | None = None

    def __post_init__(self) -> None:
        if self.end is None and self.total_updates is None:
            raise RequestError(
                f"schedule={type(self).__name__.lower()} needs to know where it ends, and a budget in minutes does not say. "
                "Set schedule.end, or trainer.steps or trainer.epochs."
            )

    def _progress(self, update: int) -> float:
        """Share of the way from the end of warm-up (0) to the last update (1)."""
        last = self.end or self.total_updates or 1
        return min(1.0, max(0.0, (update + 1 - self.warmup) / max(1, last - self.warmup)))


@dataclass(frozen=True)
class Linear(_Falling):
    """1 - (1 - final) p after warm-up, p the share of the updates since then."""

    def factor(self, update: int) -> float:
        return _warm_up(update, self.warmup) * (1 - (1 - self.final) * self._progress(update))


@dataclass(frozen=True)
class Cosine(_Falling):
    """final + (1 - final) (1 + cos(pi p)) / 2 after warm-up, p as in Linear (Loshchilov and Hutter 2017)."""

    def factor(self, update: int) -> float:
        fall = (1 + math.cos(math.pi * self._progress(update))) / 2
        return _warm_up(update, self.warmup) * (self.final + (1 - self.final) * fall)
