"""Decays against tables worked out from their equations, and their laws over a million updates."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from seqgen_cli.objectives.base import Decay
from seqgen_cli.objectives.decays import Constant, Exponential, InverseSigmoid, Linear
from tests.helpers import choices, make_choice

# (decay, share at updates 0, 1, 2, ...)
TABLES: list[tuple[Decay, list[float]]] = [
    (Constant(0.25), [0.25, 0.25, 0.25]),
    (Linear(k=1.0, c=0.25), [1, 0.75, 0.5, 0.25, 0, 0]),
    (Linear(k=0.75, c=0.125, minimum=0.5), [0.75, 0.625, 0.5, 0.5]),
    (Linear(k=0.25, c=1.0, minimum=0.5), [0.5, 0.5]),
    (Exponential(k=0.5), [1, 0.5, 0.25, 0.125]),
    (InverseSigmoid(k=1.0), [1 / 2, 1 / (1 + math.e), 1 / (1 + math.e**2)]),
    (InverseSigmoid(k=2.0), [2 / 3, 2 / (2 + math.sqrt(math.e)), 2 / (2 + math.e), 2 / (2 + math.e**1.5)]),
]


@pytest.mark.parametrize(("decay", "table"), TABLES)
def test_table(decay: Decay, table: list[float]) -> None:
    assert [decay(update) for update in range(len(table))] == pytest.approx(table, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("k", [1.0, 7.0, 2000.0, 1e9])
def test_inverse_sigmoid_is_its_printed_form_where_that_does_not_overflow(k: float) -> None:
    decay = InverseSigmoid(k)
    assert decay(0) == pytest.approx(k / (k + 1), rel=1e-14)
    for update in range(0, int(min(500 * k, 1e6)), max(1, int(min(50 * k, 1e5)))):
        assert decay(update) == pytest.approx(k / (k + math.exp(update / k)), rel=1e-11)
    half = k * math.log(k)
    assert decay(math.floor(half)) >= 0.5 >= decay(math.ceil(half))


EXTREME: list[Decay] = [
    *(InverseSigmoid(k) for k in (1.0, 1.5, 1e3, 1e15, 1e300)),
    *(Exponential(k) for k in (1e-300, 0.5, 1 - 1e-16)),
    *(Linear(k=k, c=c, minimum=0.1) for k, c in ((0.0, 1e300), (1.0, 0.0), (1.0, 1e-6))),
    Constant(0.0),
]


@pytest.mark.parametrize(
    "decay", [*(make_choice("objective/decay", name) for name in choices("objective/decay")), *EXTREME], ids=str
)
def test_a_share_never_rises_and_nothing_overflows_over_a_million_updates(decay: Decay) -> None:
    shares = [decay(update) for update in [*range(2000), *range(2000, 1_000_000, 997), 1_000_000, 10**12]]
    assert all(isinstance(share, float) and 0 <= share <= 1 for share in shares)
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares))


@pytest.mark.parametrize("choice", [name for name in choices("objective/decay") if name != "constant"])
def test_shipped_decays_start_near_1_and_fall_to_0(choice: str) -> None:
    decay = make_choice("objective/decay", choice)
    assert decay(0) > 0.999 and decay(1_000_000) < 1e-9


def test_a_line_does_not_gather_rounding() -> None:
    """k - c i is one product and one difference, however late: exact arithmetic agrees to the last places."""
    decay = Linear(k=1.0, c=1e-6)
    for update in (1, 333_333, 999_999):
        exact = 1 - Fraction(1e-6) * update
        assert abs(Fraction(decay(update)) - exact) < Fraction(1, 2**52)
