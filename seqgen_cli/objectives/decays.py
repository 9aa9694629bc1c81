"""Decays of a share in [0, 1] over updates (Bengio et al. 2015, section 2.4): pure functions of the update index.

Nothing is kept between calls, so a run resumed anywhere goes on with its schedule.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Constant:
    """`value` at every update."""

    value: Share

    def __call__(self, update: int) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """max(minimum, k - c i) at update i."""

    k: Share
    c: Annotated[float, Ge(0)]
    minimum: Share = 0.0

    def __call__(self, update: int) -> float:
        return max(self.minimum, self.k - self.c * update)


@dataclass(frozen=True)
class Exponential:
    """k^i at update i; 0 once that is too small for a float."""

    k: Annotated[float, Gt(0), Lt(1)]

    def __call__(self, update: int) -> float:
        return self.k**update


@dataclass(frozen=True)
class InverseSigmoid:
    """k / (k + exp(i / k)) at update i: k / (k + 1) at first, 1/2 at i = k log k.

    Computed as sigmoid(log k - i / k), by whichever of its two forms raises e to a power below 0: the printed form overflows
    from i = 710 k on.
    """

    k: Annotated[float, Ge(1)]

    def __call__(self, update: int) -> float:
        x = math.log(self.k) - update / self.k
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
