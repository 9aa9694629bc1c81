"""The policy gradient in training: parts of a batch, dropout, the hand-over from mle, the log, precision, the starting model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from seqgen_cli.objectives import trials
from seqgen_cli.objectives.baselines import Greedy, Learned, LeaveOneOut, NoBaseline
from seqgen_cli.objectives.handovers import Constant, LinearRise, Mixer, SigmoidRise
from seqgen_cli.objectives.minimum_risk import MinimumRisk
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.objectives.trials import TrialSettings
from tests.numerics.enumeration import (
    EOS,
    GREEDY,
    SHAPES,
    Numbers,
    Table,
    World,
    estimate,
    forced,
    limits,
    numbered,
    progress,
    reinforce,
)


@pytest.fixture(scope="module")
def small() -> World:
    return World("rnn", longest=2)


def test_parts_of_a_batch_add_up(small: World) -> None:
    """Samples depend on update and example alone: two micro-batches draw what one batch draws."""
    objective = reinforce(small, LeaveOneOut(), samples=3)
    whole = objective(small.references(8), progress())
    parts = [objective(batch, progress()) for batch in (small.references(3), numbered(small.references(5), 3))]
    gradient_P = sum(small.gradient(part.terms["sequences"]) for part in parts)
    assert_close(gradient_P, small.gradient(whole.terms["sequences"]), rtol=0, atol=1e-12)
    for name, value in whole.metrics.items():
        assert float(sum(part.metrics[name] for part in parts)) == pytest.approx(float(value), rel=1e-12)
    others = objective(small.references(8), progress(1))
    assert not torch.equal(small.gradient(others.terms["sequences"]), small.gradient(whole.terms["sequences"]))


@pytest.mark.parametrize("model", SHAPES)
def test_dropout_neither_draws_nor_scores(model: str) -> None:
    quiet, noisy = World(model), World(model)
    for part in noisy.networks.modules():
        if hasattr(part, "p"):
            part.p = 0.5
    batch = quiet.references(5)
    gradients = [estimate(world, reinforce(world, LeaveOneOut(), samples=2).train(), batch) for world in (quiet, noisy)]
    assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    assert all(part.training for part in noisy.networks.modules())
    dropped = reinforce(noisy, LeaveOneOut(), samples=2, dropout=True).train()
    assert not torch.equal(estimate(noisy, dropped, batch), gradients[0])


def test_mixer_with_nothing_left_to_samples_is_mle_to_the_last_bit() -> None:
    world = World("rnn")
    for part in world.networks.modules():
        if hasattr(part, "p"):
            part.p = 0.3
    batch, gradients = world.batch([[3, 0, EOS], [EOS], [0, EOS]]), []
    for objective in (MaximumLikelihood(world.model, world.output), reinforce(world, NoBaseline(), Mixer(), samples=1)):
        torch.manual_seed(3)
        loss = objective(batch, progress())
        assert set(loss.terms) == {"tokens"}
        gradients.append(world.gradient(loss.terms["tokens"]))
    assert torch.equal(*gradients)


def test_mixer_with_everything_left_to_samples_is_reinforce(small: World) -> None:
    batch = small.batch([[3, EOS], [EOS], [0, EOS]])
    whole = reinforce(small, LeaveOneOut(), Mixer(start=2), samples=3)(batch, progress())
    plain = reinforce(small, LeaveOneOut(), samples=3)(batch, progress())
    assert torch.equal(*(small.gradient(loss.terms["sequences"]) for loss in (whole, plain)))
    assert not whole.terms["tokens"]  # there, for ranks whose references are longer


def test_mixer_in_between() -> None:
    """References end in 2 words of their own: the likelihood of the first, and samples that go on from it, by enumeration."""
    world, count = World("rnn"), 2000
    reference = (3, 0, EOS)
    objective = reinforce(world, NoBaseline(), Mixer(start=2), samples=2)
    loss = objective(world.batch([reference] * count), progress())
    log_p_ST, own_S = world.log_p(), torch.tensor([float(output[0] == 3) for output in world.outputs])
    nll = -log_p_ST[world.outputs.index(reference), 0]
    assert_close(world.gradient(loss.terms["tokens"]) / count, world.gradient(nll), rtol=0, atol=1e-10)
    suffix_S = log_p_ST[:, 1:].sum(1)
    p_S = (own_S * suffix_S.exp()).detach()
    assert float(p_S.sum()) == pytest.approx(1.0)
    wanted = world.gradient((own_S * suffix_S.exp() * world.rewards()).sum())
    along = wanted / wanted.norm()
    along_S = torch.stack([world.gradient(suffix) @ along for suffix in suffix_S])
    spread = p_S @ (world.rewards() * along_S - wanted.norm()).square()
    error = float((spread / (2 * count)).sqrt())
    found = -world.gradient(loss.terms["sequences"]) / count
    assert abs(float(found @ along - wanted.norm())) < 4 * error
    assert float(wanted.norm()) > 8 * error


@pytest.mark.parametrize(
    ("handover", "weights"),
    [
        (Constant(0.25), {0: 0.25, 10**6: 0.25}),
        (LinearRise(0.1, 0.9, 100), {0: 0.1, 50: 0.5, 100: 0.9, 10**6: 0.9}),
        (SigmoidRise(100.0), {0: 1 / 101, 460: 0.4987, 10**6: 1.0}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_weights_of_a_handover(handover: Any, weights: dict[int, float]) -> None:
    for update, weight in weights.items():
        plan = handover.plan(update)
        assert plan.samples == pytest.approx(weight, abs=1e-3) and plan.reference == pytest.approx(1 - weight, abs=1e-3)
        assert plan.last is None
    rising = [handover.plan(update).samples for update in range(0, 2000, 37)]
    assert rising == sorted(rising)


def test_mixer_grows_by_step_every_so_many_updates() -> None:
    plans = [Mixer(start=1, step=3, every=10).plan(update) for update in (0, 9, 10, 19, 20, 10**6)]
    assert [plan.last for plan in plans] == [1, 1, 4, 4, 7, 300_001]
    assert Mixer().plan(999).samples == 0.0 and Mixer().plan(1000).samples == 1.0


def test_mixed_terms_are_weighted(small: World) -> None:
    """0.7 of mle's loss per token and 0.3 of reinforce's per sentence."""
    batch = small.batch([[3, EOS], [0, EOS]])
    mixed = reinforce(small, LeaveOneOut(), Constant(0.3), samples=2)
    loss, whole = mixed(batch, progress()), reinforce(small, LeaveOneOut(), samples=2)(batch, progress())
    gold = MaximumLikelihood(small.model, small.output)(batch, progress())
    assert_close(loss.terms["tokens"], 0.7 * gold.terms["tokens"], rtol=1e-12, atol=0)
    assert_close(loss.terms["sequences"], 0.3 * whole.terms["sequences"], rtol=1e-12, atol=0)
    assert mixed.counts(batch) == {"tokens": 4, "sequences": 2}


def test_the_log_tells_what_was_drawn(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = reinforce(small, Greedy(), samples=2)
    forced(monkeypatch, small, [[0, 5, GREEDY], [4, 4, GREEDY]])
    metrics = {name: float(value) for name, value in objective(small.references(2), progress()).metrics.items()}
    outputs, reward_S, log_p_S = small.outputs, small.rewards(), small.log_p().sum(1).detach()
    drawn = [0, 5, 4, 4]
    tokens = sum(len(outputs[each]) for each in drawn)
    advantages = [float(reward_S[each] - reward_S[GREEDY]) for each in drawn]
    wanted = {
        "samples/sequences": 4,
        "reward/samples/sequences": float(sum(reward_S[each] for each in drawn)),
        "length/samples/sequences": tokens,
        "distinct/samples/sequences": 3,
        "truncated/samples/sequences": sum(outputs[each][-1] != EOS for each in drawn),
        "own_tokens/samples/sequences": tokens,
        "entropy/own_tokens/samples/sequences": -float(sum(log_p_S[each] for each in drawn)),
        "baseline/samples/sequences": 4 * float(reward_S[GREEDY]),
        "greedy_outputs/sequences": 2,
        "greedy_reward/greedy_outputs/sequences": 2 * float(reward_S[GREEDY]),
        "advantage/samples/sequences": sum(advantages),
        "advantage_squared/samples/sequences": sum(each**2 for each in advantages),
        "samples_weight/sequences": 2.0,
    }
    assert metrics == pytest.approx(wanted)


def test_a_learned_baseline_is_logged_as_its_mean_over_a_samples_words(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = reinforce(small, Learned(), samples=2)
    assert objective.regressor is not None
    torch.nn.init.normal_(objective.regressor.weight)
    drawn = [0, 5, 4, 4]
    forced(monkeypatch, small, [drawn[:2], drawn[2:]])
    metrics = objective(small.references(2), progress()).metrics
    words = [objective.regressor(small.model.hidden_states(small.batch([small.outputs[each]]))) for each in drawn]
    means = [float(each.mean().detach()) for each in words]
    advantages = [float(small.rewards()[each]) - mean for each, mean in zip(drawn, means, strict=True)]
    assert float(metrics["baseline/samples/sequences"]) == pytest.approx(sum(means))
    assert float(metrics["advantage/samples/sequences"]) == pytest.approx(sum(advantages))
    assert float(metrics["advantage_squared/samples/sequences"]) == pytest.approx(sum(each**2 for each in advantages))


@pytest.mark.parametrize("choice", ["leave one out", "with entropy", "minimum risk", "minimum risk, no reference"])
def test_greedy_outputs_are_looked_at_every_tenth_update_and_change_nothing(
    choice: str, small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if choice.startswith("minimum"):
        networks = (small.model, small.output, Numbers(), Table())
        drawn = TrialSettings(samples=3, **limits(small))
        objective = MinimumRisk(*networks, drawn, include_reference="no" not in choice).double()
    else:
        objective = reinforce(small, LeaveOneOut(), samples=3, entropy=0.1 * (choice == "with entropy"))
    batch, gradients, losses = small.references(4), [], []
    for every in (10, 10**6):
        monkeypatch.setattr(trials, "GREEDY_EVERY", every)
        losses.append(objective(batch, progress(9)))
        gradients.append(small.gradient(losses[-1].terms["sequences"]))
    looked, plain = ({name: float(value) for name, value in loss.metrics.items()} for loss in losses)
    assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)
    assert looked.pop("greedy_outputs/sequences") == 4
    assert looked.pop("greedy_reward/greedy_outputs/sequences") == pytest.approx(4 * float(small.rewards()[GREEDY]))
    assert looked == pytest.approx(plain)


@pytest.mark.parametrize("model", SHAPES)
def test_autocast_leaves_every_weight_a_gradient(model: str) -> None:
    """Weights that autocast converted while samples were drawn, without a gradient, must not serve their scoring."""
    world = World(model)
    world.networks.float()
    objective = reinforce(world, LeaveOneOut(), samples=4).float()
    batch = world.references(20)
    exact = estimate(world, objective, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = estimate(world, objective, batch)
    assert torch.nn.functional.cosine_similarity(found, exact, dim=0) > 0.95
    assert torch.equal(found != 0, exact != 0)


def test_the_starting_model_is_the_one_before_the_first_update(small: World) -> None:
    """...whatever weights the networks were built with; nothing trains it."""
    world = World("rnn", longest=2, seed=4)
    objective = reinforce(world, NoBaseline(), samples=2, kl=0.1)
    with torch.no_grad():
        for own, loaded in zip(world.parameters, small.parameters, strict=True):
            own.copy_(loaded)
    first = objective(world.references(4), progress(0))
    assert float(first.metrics["kl/samples/sequences"]) == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        for own in world.parameters:
            own.mul_(1.3)
    assert abs(float(objective(world.references(4), progress(1)).metrics["kl/samples/sequences"])) > 1e-3
    assert objective.starting is not None
    assert all(torch.equal(own, kept) for own, kept in zip(small.parameters, objective.starting.parameters(), strict=True))
    trained: list[Any] = []
    objective.updates(lambda named: trained.extend(named) or torch.optim.SGD([each for _, each in trained], lr=1.0))
    assert {id(each) for _, each in trained} == {id(each) for each in world.parameters}
