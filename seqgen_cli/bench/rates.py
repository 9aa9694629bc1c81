"""What is made of times: their spread, floating-point operations, and what the machine could do at best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqgen_cli.runtime.meters import timed


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a repeated measurement."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return Spread(float(median), float(low), float(high))


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attentions that `work` runs, backward included.

    A multiply-add counts as two. On the meta device nothing is computed, and fused recurrent kernels fall apart into the
    products that are counted, so that is where to run it.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matmul_rate(sizes: Sequence[tuple[int, int, int]], dtype: torch.dtype, device: torch.device, seconds: float = 0.3) -> float:
    """The best rate of a matrix product here, FLOP/s: over sizes (m, k, n), each repeated for about `seconds`."""
    best = 0.0
    for m, k, n in sizes:
        left, right = torch.randn(m, k, dtype=dtype, device=device), torch.randn(k, n, dtype=dtype, device=device)
        product = partial(torch.matmul, left, right)
        timed(product, device)  # warm-up
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            best = max(best, 2.0 * m * k * n / timed(product, device))
    return best
