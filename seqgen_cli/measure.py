"""What a piece of work costs: time and its spread, memory, floating-point operations, and what the machine could do at best."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

_SAMPLE_SECONDS = 0.002


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


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, the device's queue included."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


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


class PeakMemory:
    """Bytes in use at the highest point inside a `with`, over what was in use when it was entered.

    On CUDA what the allocator gave out; elsewhere the resident memory of the process, sampled every 2 ms by a thread.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak_bytes = 0
        self._process = psutil.Process()
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
        else:
            self._start = self._process.memory_info().rss
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.device.type == "cuda":
            self.peak_bytes = torch.cuda.max_memory_allocated(self.device) - self._start
        else:
            self._done.set()
            self._sampler.join()
            self._note()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._note()

    def _note(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss - self._start)
