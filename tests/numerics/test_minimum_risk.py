"""Minimum risk against the enumerated expected risk, and against its definition on given sets.

Shapes: S outputs of a world.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from seqgen_cli.config.signatures import arguments
from seqgen_cli.objectives.minimum_risk import MinimumRisk
from seqgen_cli.objectives.mle import MaximumLikelihood
from tests.numerics.enumeration import EOS, SHAPES, Numbers, Table, World, forced, limits, progress


def minimum_risk(world: World, **settings: Any) -> MinimumRisk:
    given = arguments(MinimumRisk, {"samples": 10, **limits(world), **settings})
    return MinimumRisk(world.model, world.output, Numbers(), Table(), **given)


@pytest.mark.parametrize("model", SHAPES)
@pytest.mark.parametrize("repeats", [1, 2])
def test_over_all_outputs_it_is_the_expected_risk(model: str, repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At alpha = 1, and however often each was drawn; the reference is one of them."""
    world = World(model)
    drawn = list(range(len(world.outputs))) * repeats
    forced(monkeypatch, world, [drawn])
    loss = minimum_risk(world, alpha=1.0, samples=len(drawn))(world.references(1), progress()).terms["sequences"]
    p_S = world.log_p().sum(1).exp()
    wanted = 1 - (p_S * world.rewards()).sum()
    assert_close(loss, wanted, rtol=0, atol=1e-12)
    assert_close(world.gradient(loss), world.gradient(wanted), rtol=0, atol=1e-12)
    assert world.gradient(wanted).norm() > 1e-2


@pytest.mark.parametrize("include_reference", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 1.7])
def test_q_is_sharpened_and_renormalised_over_the_set(
    include_reference: bool, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("rnn")
    reference = world.outputs.index((3, EOS))
    drawn = [[5, 0, 5, 30], [reference, 9, 9, 9]]
    forced(monkeypatch, world, drawn)
    loss = minimum_risk(world, alpha=alpha, samples=4, include_reference=include_reference)(world.references(2), progress())
    p_S, risk_S = world.log_p().sum(1).exp(), 1 - world.rewards()
    wanted, spread = torch.zeros((), dtype=torch.float64), 0.0
    for row in drawn:
        members = sorted({*row, reference} if include_reference else set(row))
        q = p_S[members] ** alpha / (p_S[members] ** alpha).sum()
        wanted = wanted + (q * risk_S[members]).sum()
        spread += 1 / float(q.square().sum().detach())
    assert_close(world.gradient(loss.terms["sequences"]), world.gradient(wanted), rtol=0, atol=1e-12)
    assert_close(loss.terms["sequences"], wanted, rtol=0, atol=1e-12)
    assert float(loss.metrics["effective_outputs/sequences"]) == pytest.approx(spread, rel=1e-12)
    assert float(loss.metrics["distinct/samples/sequences"]) == 5
    assert float(loss.metrics["reward/samples/sequences"]) == pytest.approx(float((1 - risk_S)[torch.tensor(drawn)].sum()))


def test_it_is_mixed_with_likelihood() -> None:
    world = World("rnn")
    batch = world.batch([[3, 0, EOS], [0, EOS]])
    mixed, whole = (minimum_risk(world, mle_weight=weight)(batch, progress()) for weight in (0.3, 0.0))
    gold = MaximumLikelihood(world.model, world.output)(batch, progress())
    assert_close(mixed.terms["tokens"], 0.3 * gold.terms["tokens"], rtol=1e-12, atol=0)
    assert_close(mixed.terms["sequences"], 0.7 * whole.terms["sequences"], rtol=1e-12, atol=0)
    assert set(whole.terms) == {"sequences"}


def test_a_higher_temperature_draws_more_that_differ() -> None:
    world = World("attention")
    distinct = [
        float(minimum_risk(world, temperature=each)(world.references(50), progress()).metrics["distinct/samples/sequences"])
        for each in (0.5, 1.0, 3.0)
    ]
    assert distinct[0] < distinct[1] - 20 and distinct[1] < distinct[2] - 20
