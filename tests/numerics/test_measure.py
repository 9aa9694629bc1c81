"""Measuring tools against work of known size."""

import mmap
import time

import numpy as np
import pytest
import torch

from seqgen_cli.bench.rates import Spread, flops, matmul_rate
from seqgen_cli.runtime import meters
from seqgen_cli.runtime.meters import PeakMemory, timed

CPU = torch.device("cpu")


def test_flops_of_a_linear_map_and_its_backward():
    """Forward 2 m k n; backward the same for the input and for the weight."""
    x, w = (torch.zeros(shape, device="meta", requires_grad=True) for shape in ((7, 11), (11, 13)))
    assert flops(lambda: (x @ w).sum().backward()) == 3 * 2 * 7 * 11 * 13


def test_flops_of_an_lstm_on_meta_are_those_of_its_products():
    lstm = torch.nn.LSTM(5, 6, batch_first=True, device="meta")
    x = torch.zeros(3, 4, 5, device="meta", requires_grad=True)
    forward = 2 * 3 * 4 * (5 + 6) * 4 * 6
    first_state = 2 * 3 * 6 * 4 * 6  # its gradient is not asked for
    assert flops(lambda: lstm(x)[0].sum().backward()) == 3 * forward - first_state


def touched(size: int) -> mmap.mmap:
    """New pages, all written to: an array could stand on pages that an earlier test's arrays left resident."""
    block = mmap.mmap(-1, size)
    np.frombuffer(block, np.uint8)[:] = 1
    return block


@pytest.mark.parametrize("kernel", [True, False], ids=["by the kernel", "by a thread"])
def test_peak_memory_sees_what_is_gone_at_the_end_and_nothing_of_before(kernel, monkeypatch):
    if not kernel:
        monkeypatch.setattr(meters, "_forget_high_water", lambda: False)
    elif not meters._forget_high_water():
        pytest.skip("no high-water mark here")
    memory = PeakMemory(CPU)
    touched(90_000_000).close()
    for size in (50_000_000, 20_000_000):
        with memory:
            block = touched(size)
            time.sleep(0.02)
            block.close()
    assert 49e6 <= memory.peak_bytes < 60e6  # the kernel counts to within a part of a megabyte


def test_rate_of_products_is_that_of_the_fastest_size():
    rate = matmul_rate([(64, 64, 64), (256, 256, 256)], torch.float32, CPU, seconds=0.05)
    a = torch.randn(256, 256)
    own = min(timed(lambda: a @ a, CPU) for _ in range(200))
    assert 0.25 < rate * own / (2 * 256**3) < 4  # a busy machine


def test_spread_is_median_and_quartiles():
    assert Spread.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0)
