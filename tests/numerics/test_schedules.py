"""Schedules against tables worked out by hand from their equations."""

from __future__ import annotations

import math

import pytest

from seqgen_cli.errors import RequestError
from seqgen_cli.objectives.base import Schedule
from seqgen_cli.training.schedules import Constant, Cosine, InverseSqrt, Linear, Noam
from tests.helpers import choices, make_choice

ROOT2 = math.sqrt(2)

# (schedule, factor at updates 0, 1, 2, ...)
TABLES: list[tuple[Schedule, list[float]]] = [
    (Constant(), [1, 1, 1]),
    (Constant(warmup=4), [0.25, 0.5, 0.75, 1, 1]),
    (InverseSqrt(warmup=2), [0.5, 1, math.sqrt(2 / 3), 1 / ROOT2, math.sqrt(2 / 5)]),
    (InverseSqrt(warmup=0), [1, 1 / ROOT2, 1 / math.sqrt(3), 0.5]),
    (Noam(hidden_size=4, warmup=4), [0.5 / 8, 1 / 8, 1.5 / 8, 0.25, 0.5 / math.sqrt(5)]),
    (Linear(end=4), [0.75, 0.5, 0.25, 0, 0]),
    (Linear(end=6, warmup=2, final=0.2), [0.5, 1, 0.8, 0.6, 0.4, 0.2, 0.2]),
    (Cosine(end=4), [(1 + 1 / ROOT2) / 2, 0.5, (1 - 1 / ROOT2) / 2, 0, 0]),
    (
        Cosine(end=6, warmup=2, final=0.5),
        [0.5, 1, 0.5 + (1 + 1 / ROOT2) / 4, 0.75, 0.5 + (1 - 1 / ROOT2) / 4, 0.5, 0.5],
    ),
]


@pytest.mark.parametrize(("schedule", "table"), TABLES)
def test_table(schedule: Schedule, table: list[float]) -> None:
    assert [schedule.factor(update) for update in range(len(table))] == pytest.approx(table, rel=1e-14, abs=1e-15)


def test_noam_is_the_papers_example() -> None:
    """Vaswani et al. 2017: d_model 512, 4000 warm-up steps; the peak is 512^-1/2 4000^-1/2 at step 4000."""
    schedule = Noam()
    assert schedule.factor(3999) == pytest.approx((512 * 4000) ** -0.5, rel=1e-14)
    assert schedule.factor(3998) < schedule.factor(3999) > schedule.factor(4000)


@pytest.mark.parametrize("choice", choices("schedule"))
def test_shipped_schedules_give_factors_between_0_and_1(choice: str) -> None:
    passed = {"total_updates": 1000} if choice in ("linear", "cosine") else {}
    schedule = make_choice("schedule", choice, **passed)
    factors = [schedule.factor(update) for update in range(1200)]
    assert all(0 <= factor <= 1 for factor in factors) and max(factors) > 0


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_length_comes_from_the_budget_or_is_asked_for(kind: type[Linear] | type[Cosine]) -> None:
    assert kind(total_updates=10).factor(9) == 0 < kind(total_updates=10).factor(8)
    assert kind(end=5, total_updates=10).factor(4) == 0
    with pytest.raises(RequestError, match=r"schedule\.end, or trainer\.steps"):
        kind()
