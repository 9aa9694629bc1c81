"""The moving average against its closed form."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.testing import assert_close

from seqgen_cli.training.ema import MovingAverage


def test_closed_form() -> None:
    """a_n = sum_i w_i (1 - d_i) prod_{j>i} d_j, with d_0 = 0: written out, not recursed."""
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    average = MovingAverage([weight], decay=0.5)
    values = [1.0]
    for n in range(1, 13):
        with torch.no_grad():
            weight.fill_(float(n * n % 7) - 2)
        values.append(weight.item())
        average.update()
        decays = [0.0] + [min(0.5, (1 + j) / (10 + j)) for j in range(1, n + 1)]
        expected = sum(values[i] * (1 - decays[i]) * math.prod(decays[i + 1 :]) for i in range(n + 1))
        assert_close(average.averages[0].item(), expected, rtol=1e-13, atol=1e-13)


def test_in_place_swaps_and_gives_back_exactly() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    shared = nn.Linear(4, 3)
    shared.weight = net.weight  # a tied weight must be swapped once, not twice
    average = MovingAverage([*net.parameters(), *shared.parameters()], decay=0.9)
    assert len(average.averages) == 3
    with torch.no_grad():
        for parameter in average.parameters:
            parameter.add_(1.0)
    average.update()
    raw = [parameter.detach().clone() for parameter in average.parameters]
    mean = [tensor.clone() for tensor in average.averages]
    places = [parameter.data_ptr() for parameter in average.parameters]
    with average.in_place():
        assert all(torch.equal(p, m) for p, m in zip(average.parameters, mean, strict=True))
    assert all(torch.equal(p, r) for p, r in zip(average.parameters, raw, strict=True))
    assert all(torch.equal(a, m) for a, m in zip(average.averages, mean, strict=True))
    assert places == [parameter.data_ptr() for parameter in average.parameters]


def test_state_continues_exactly() -> None:
    weight = nn.Parameter(torch.zeros(3))
    first = MovingAverage([weight], decay=0.99)

    def advance(average: MovingAverage, steps: range) -> None:
        for step in steps:
            with torch.no_grad():
                weight.fill_(math.sin(step))
            average.update()

    advance(first, range(5))
    with first.in_place():  # as a resumed run does: the stored weights are the average
        second = MovingAverage([weight], decay=0.99, updates=first.updates)
    advance(first, range(5, 9))
    advance(second, range(5, 9))
    assert torch.equal(first.averages[0], second.averages[0])
