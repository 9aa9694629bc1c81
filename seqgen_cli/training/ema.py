"""Exponential moving average of the weights: a_n = d_n a_{n-1} + (1 - d_n) w_n, a_0 = w_0, d_n = min(decay, (1 + n) / (10 + n)).

The smaller decay of the first updates lets the average leave the random initial weights soon, so it is of use in short runs too.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """The average of these parameters, on their devices; a shared parameter counts once.

    Args:
        parameters: what to average, e.g. of the model and the output layer.
        decay: the limit of d_n; in (0, 1).
        updates: n, how many updates the parameters' present values are the average of (resuming); 0: they are initial weights.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float, updates: int = 0) -> None:
        self.parameters = list(dict.fromkeys(parameters))
        self.decay = decay
        self.updates = updates
        self.averages = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more update."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.averages, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the parameters hold the average: to evaluate, decode, and write it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # By copying: kernels and compiled code may hold the parameters' memory.
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            raw = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(raw)
