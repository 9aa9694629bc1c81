"""Dropout: how often, how much, and what the gradient sees."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from seqgen_cli.layers.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.83])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zeroes_with_probability_p_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    count = 400_003  # not a multiple of the four numbers of one draw
    value = torch.ones(count, dtype=dtype, requires_grad=True)
    result = Dropout(p).train()(value)
    zeros = int((result == 0).sum())
    assert abs(zeros - p * count) < 5 * math.sqrt(count * p * (1 - p)) + count * 2**-17
    scale = 1 / (1 - round(p * 65536) / 65536)
    assert_close(result[result != 0], torch.full((count - zeros,), scale, dtype=dtype), rtol=0, atol=0)
    result.sum().backward()
    assert_close(value.grad, result.detach(), rtol=0, atol=0)


def test_neighbours_are_independent() -> None:
    """The four levels cut from one 64-bit draw share no bits."""
    torch.manual_seed(1)
    dropped = (Dropout(0.3).train()(torch.ones(1_000_000)) == 0).double() - 0.3
    for lag in range(1, 9):
        correlation = float((dropped[:-lag] * dropped[lag:]).mean()) / (0.3 * 0.7)
        assert abs(correlation) < 5e-3


def test_follows_the_generator_and_stops_in_evaluation() -> None:
    dropout, value = Dropout(0.5), torch.randn(3, 5)
    torch.manual_seed(2)
    first = dropout(value)
    torch.manual_seed(2)
    assert_close(dropout(value), first, rtol=0, atol=0)
    assert not torch.equal(dropout(value), first)
    assert dropout.eval()(value) is value
    assert Dropout(0.0).train()(value) is value
    assert Dropout(0.5)(torch.empty(0, 4)).shape == (0, 4)
