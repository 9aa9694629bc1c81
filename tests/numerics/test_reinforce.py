"""The policy gradient against all outputs of a tiny model: its mean, its variance, and what it must leave alone.

Shapes: S outputs, P parameters, B sentences, K samples of each, T words.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.objectives.baselines import Baseline, Greedy, Learned, LeaveOneOut, MovingAverage, NoBaseline, Rewards
from seqgen_cli.objectives.reinforce import Reinforce
from tests.helpers import choices
from tests.numerics.enumeration import GREEDY, SHAPES, World, estimate, forced, numbered, progress, reinforce

OUTPUTS = [choice for choice in choices("output") if choice != "sigmoid"]
LAST = {"samples/sequences": 10.0, "reward/samples/sequences": 4.0}  # a mean reward of 0.4 at the last update


@pytest.mark.parametrize(("model", "output"), [*itertools.product(SHAPES, ["softmax"]), *itertools.product(["rnn"], OUTPUTS)])
def test_every_output_is_scored_exactly(model: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each output once, in one batch: the gradient of sum G log p, by the whole distribution."""
    world = World(model, output)
    forced(monkeypatch, world, [[number] for number in range(len(world.outputs))])
    found = estimate(world, reinforce(world, NoBaseline(), samples=1), world.references(len(world.outputs)))
    wanted = world.gradient((world.rewards() * world.log_p().sum(1)).mean())
    assert wanted.abs().max() > 1e-2
    assert_close(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", SHAPES)
def test_samples_follow_the_model(model: str) -> None:
    """Every word may be drawn, also those that no translation holds; one cut at the longest length counts as it is."""
    world, count = World(model), 3000
    trial = reinforce(world, LeaveOneOut(), samples=2).trials.run(world.references(count), progress())
    rows, lengths = trial.drawn.ids_BKT.flatten(0, 1).tolist(), trial.drawn.lengths_BK.flatten().tolist()
    number = {output: place for place, output in enumerate(world.outputs)}
    drawn_S = torch.zeros(len(number), dtype=torch.float64)
    for row, length in zip(rows, lengths, strict=True):
        drawn_S[number[tuple(row[:length])]] += 1
    expected_S = 2 * count * world.log_p().sum(1).exp().detach()
    common_S = expected_S >= 5
    statistic = ((drawn_S - expected_S)[common_S].square() / expected_S[common_S]).sum()
    assert common_S.sum() > 4
    assert chi2.sf(float(statistic), int(common_S.sum())) > 1e-4


class Truth:
    """What the estimators of one world ought to be."""

    def __init__(self, world: World) -> None:
        self.words_STP = world.scores()
        self.score_SP = self.words_STP.sum(1)
        self.p_S, self.reward_S = world.log_p().sum(1).exp().detach(), world.rewards()
        self.gradient_P = (self.p_S * self.reward_S) @ self.score_SP

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Of each pair of samples its probability and the leave-one-out estimate, 1/2 (G_1 - G_2)(d log p_1 - d log p_2)."""
        reward_SS = self.reward_S[:, None] - self.reward_S
        estimate_SSP = 0.5 * reward_SS[..., None] * (self.score_SP[:, None] - self.score_SP)
        return (self.p_S[:, None] * self.p_S).flatten(), estimate_SSP.flatten(0, 1)

    def variance(self, estimates_SP: Tensor) -> float:
        """Trace of the covariance of these estimates, one for each output."""
        return float(self.p_S @ (estimates_SP - self.gradient_P).square().sum(1))

    def constant(self, baseline: float) -> float:
        """Its variance with this constant baseline and one sample."""
        return self.variance((self.reward_S - baseline)[:, None] * self.score_SP)


@pytest.fixture(scope="module")
def small() -> World:
    return World("rnn", longest=2)


@pytest.fixture(scope="module")
def truth(small: World) -> Truth:
    return Truth(small)


def all_estimates(world: World, objective: Reinforce, monkeypatch: pytest.MonkeyPatch, samples: int, **metrics: float) -> Tensor:
    """The estimate from each possible set of samples, (S^samples, P)."""
    found = []
    for drawn in itertools.product(range(len(world.outputs)), repeat=samples):
        greedy = [GREEDY] if objective.baseline.wants_greedy else []
        forced(monkeypatch, world, [[*drawn, *greedy]])
        found.append(estimate(world, objective, world.references(1), **metrics))
    return torch.stack(found)


@pytest.mark.parametrize("baseline", [NoBaseline(), MovingAverage(), Greedy(), Learned()], ids=lambda each: type(each).__name__)
def test_mean_and_variance_of_one_sample(baseline: Baseline, small: World, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = reinforce(small, baseline, samples=1)
    unsettle(objective)
    found_SP = all_estimates(small, objective, monkeypatch, 1, **LAST)
    assert truth.gradient_P.norm() > 0.05
    assert_close(truth.p_S @ found_SP, truth.gradient_P, rtol=0, atol=1e-12)
    constant = {MovingAverage: 0.4, Greedy: float(truth.reward_S[GREEDY])}.get(type(baseline), 0.0)
    wanted = truth.constant(constant)
    if objective.regressor is not None:
        wanted = learned_variance(objective, small, truth)
        assert abs(wanted / truth.constant(0.0) - 1) > 0.1
    assert truth.variance(found_SP) == pytest.approx(wanted, rel=1e-9)


def unsettle(objective: Reinforce) -> None:
    """A learned baseline away from the 0 that it starts at."""
    if objective.regressor is not None:
        for parameter in objective.regressor.parameters():
            torch.nn.init.normal_(parameter)


def learned_variance(objective: Reinforce, small: World, truth: Truth) -> float:
    """The variance of one sample's estimate whose words each have the learned baseline of the words before them."""
    assert objective.regressor is not None
    batch = small.batch(small.outputs)
    value_N = objective.regressor(small.model.hidden_states(batch)).squeeze(1).detach()
    value_ST = torch.zeros(truth.words_STP.shape[:2], dtype=torch.float64)
    value_ST[torch.arange(value_ST.shape[1]) < batch.target_lengths_B[:, None]] = value_N  # type: ignore[index]
    return truth.variance(((truth.reward_S[:, None] - value_ST)[..., None] * truth.words_STP).sum(1))


@pytest.mark.parametrize("baseline", [NoBaseline(), Learned(), LeaveOneOut()], ids=lambda each: type(each).__name__)
def test_mean_and_variance_of_two_samples(
    baseline: Baseline, small: World, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of equal samples among them, which are scored once."""
    objective = reinforce(small, baseline, samples=2)
    unsettle(objective)
    found_QP = all_estimates(small, objective, monkeypatch, 2)
    p_Q = (truth.p_S[:, None] * truth.p_S).flatten()
    assert_close(p_Q @ found_QP, truth.gradient_P, rtol=0, atol=1e-12)
    variance = float(p_Q @ (found_QP - truth.gradient_P).square().sum(1))
    if isinstance(baseline, LeaveOneOut):
        _, pair_QP = truth.pairs()
        assert variance == pytest.approx(float(p_Q @ (pair_QP - truth.gradient_P).square().sum(1)), rel=1e-9)
    else:
        single = truth.constant(0.0) if objective.regressor is None else learned_variance(objective, small, truth)
        assert variance == pytest.approx(single / 2, rel=1e-9)


def test_the_best_constant_baseline(small: World, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """b* = E[G |d log p|^2] / E[|d log p|^2], which is not E[G]."""
    square_S = truth.score_SP.square().sum(1)
    best = float(truth.p_S @ (truth.reward_S * square_S) / (truth.p_S @ square_S))
    objective = reinforce(small, MovingAverage(), samples=1)
    spread = []
    for value in (best, best - 0.05, best + 0.05, float(truth.p_S @ truth.reward_S)):
        metrics = {"samples/sequences": 1.0, "reward/samples/sequences": value}
        spread.append(truth.variance(all_estimates(small, objective, monkeypatch, 1, **metrics)))
    assert spread[0] < min(spread[1:])


@pytest.mark.parametrize(
    ("baseline", "samples"), [(NoBaseline(), 1), (Greedy(), 1), (LeaveOneOut(), 2)], ids=["none", "greedy", "leave_one_out"]
)
def test_entropy_and_divergence_are_those_of_all_outputs(
    baseline: Baseline, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d(E[G] + c H(p) - c_0 KL(p || p_0)), in the mean over all sets of samples."""
    before, world = World("rnn", longest=2, seed=2), World("rnn", longest=2)
    objective = reinforce(world, baseline, samples=samples, entropy=0.3, kl=0.2)
    assert objective.starting is not None
    objective.starting["model"].load_state_dict(before.model.state_dict())
    objective.starting["output"].load_state_dict(before.output.state_dict())
    log_p_S, log_p0_S = world.log_p().sum(1), before.log_p().sum(1).detach()
    p_S = log_p_S.exp()
    wanted = world.gradient((p_S * (world.rewards() - 0.3 * log_p_S - 0.2 * (log_p_S - log_p0_S))).sum())
    found, kl = torch.zeros_like(wanted), 0.0
    for drawn in itertools.product(range(len(world.outputs)), repeat=samples):
        forced(monkeypatch, world, [[*drawn, *([GREEDY] if baseline.wants_greedy else [])]])
        loss = objective(world.references(1), progress(1))
        weight = float(p_S.detach()[list(drawn)].prod())
        found -= weight * world.gradient(loss.terms["sequences"])
        kl += weight * float(loss.metrics["kl/samples/sequences"]) / samples
    assert_close(found, wanted, rtol=0, atol=1e-12)
    assert kl == pytest.approx(float((p_S * (log_p_S - log_p0_S)).sum().detach()), rel=1e-9) and kl > 0.1


@pytest.mark.parametrize(
    ("baseline", "samples"),
    [(NoBaseline(), 1), (NoBaseline(), 3), (MovingAverage(), 2), (Greedy(), 2), (Learned(), 2), (LeaveOneOut(), 2)],
    ids=lambda each: type(each).__name__ if isinstance(each, Baseline) else str(each),
)
def test_the_mean_over_draws_is_within_its_standard_error(baseline: Baseline, samples: int, small: World, truth: Truth) -> None:
    """Nothing forced: drawn, rewarded and compared as in training, along the gradient and eight random directions."""
    count = 4000
    objective = reinforce(small, baseline, samples=samples)
    found_P = estimate(small, objective, small.references(count), **LAST)
    random = torch.Generator().manual_seed(1)
    directions_XP = torch.randn(8, len(found_P), generator=random, dtype=torch.float64)
    directions_XP = torch.cat([truth.gradient_P[None], directions_XP])
    value = {MovingAverage: 0.4, Greedy: greedy_reward(objective, small)}.get(type(baseline), 0.0)
    if isinstance(baseline, LeaveOneOut):
        p_Q, each = truth.pairs()
        variance_X = p_Q @ ((each - truth.gradient_P) @ directions_XP.T).square()
    else:
        each = (truth.reward_S - value)[:, None] * truth.score_SP
        variance_X = truth.p_S @ ((each - truth.gradient_P) @ directions_XP.T).square() / samples
    error_X = (variance_X / count).sqrt()
    distance_X = directions_XP @ (found_P - truth.gradient_P) / error_X
    assert distance_X.abs().max() < 4
    assert truth.gradient_P.square().sum() / error_X[0] > 8, "zero would not pass"


def greedy_reward(objective: Reinforce, world: World) -> float:
    if not objective.baseline.wants_greedy:
        return 0.0
    trial = objective.trials.run(world.references(1), progress())
    return float(trial.rewards(torch.float64)[0, -1])


@pytest.mark.parametrize("samples", [1, 2])
def test_the_variance_over_draws_is_the_enumerated_one(samples: int, small: World, truth: Truth) -> None:
    """Without a baseline, and leave-one-out, of the mean over 8 sentences; the fourth moment gives its own standard error."""
    count, rows = 100, 8
    objective = reinforce(small, LeaveOneOut() if samples == 2 else NoBaseline(), samples=samples)
    direction_P = truth.gradient_P / truth.gradient_P.norm()
    batches = [numbered(small.references(rows), rows * number) for number in range(count)]
    drawn_C = torch.stack([estimate(small, objective, batch) for batch in batches]) @ direction_P
    weight, each = truth.pairs() if samples == 2 else (truth.p_S, truth.reward_S[:, None] * truth.score_SP)
    mean = float(truth.gradient_P @ direction_P)
    second, fourth = (float(weight @ (each @ direction_P - mean) ** power) for power in (2, 4))
    second, fourth = second / rows, (fourth + 3 * (rows - 1) * second**2) / rows**3
    error = ((fourth - second**2) / count) ** 0.5
    assert abs(float((drawn_C - mean).square().mean()) - second) < 4 * error
    assert 4 * error < 0.65 * second


def test_a_learned_baseline_leaves_the_model_alone(small: World) -> None:
    """It is fitted to the rewards by what the hidden vectors hold, and no gradient passes either way."""
    objective = reinforce(small, Learned(), samples=2)
    assert objective.regressor is not None
    loss = objective(small.references(20), progress())
    assert set(loss.terms) == {"samples", "sequences"}
    own = list(objective.regressor.parameters())
    plain = reinforce(small, NoBaseline(), samples=2)(small.references(20), progress())
    # w and c are 0 at the start: b = 0 at every word.
    assert_close(small.gradient(loss.terms["sequences"]), small.gradient(plain.terms["sequences"]), rtol=0, atol=1e-14)
    assert all(each is None for each in torch.autograd.grad(loss.terms["sequences"], own, retain_graph=True, allow_unused=True))
    trial = objective.trials.run(small.references(20), progress())
    reward_BK = trial.rewards(torch.float64)
    assert float(loss.terms["samples"].detach()) == pytest.approx(float(reward_BK.square().sum()), rel=1e-12)
    slope = torch.autograd.grad(loss.terms["samples"], own[1])[0]
    assert float(slope) == pytest.approx(-2 * float(reward_BK.sum()), rel=1e-12)
    with torch.no_grad():
        own[0].fill_(0.7)
    assert not small.gradient(objective(small.references(20), progress()).terms["samples"]).any()


def test_equal_samples_are_scored_once(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """...and weigh as often as they were drawn."""
    objective = reinforce(small, LeaveOneOut(), samples=4)
    forced(monkeypatch, small, [[3, 1, 3, 3]])
    loss = objective(small.references(1), progress())
    log_p_S, reward_S = small.log_p().sum(1), small.rewards()
    mean = (3 * reward_S[3] + reward_S[1]) / 4
    wanted = 4 / 3 * (3 * (reward_S[3] - mean) * log_p_S[3] + (reward_S[1] - mean) * log_p_S[1]) / 4
    assert_close(-small.gradient(loss.terms["sequences"]), small.gradient(wanted), rtol=0, atol=1e-12)
    assert float(loss.metrics["distinct/samples/sequences"]) == 2


def test_moving_average_is_told_by_the_last_update() -> None:
    """b = decay b + (1 - decay) mean, from the first mean on; of what is maximised where that is more than the reward."""
    baseline, sample_BK = MovingAverage(decay=0.9), torch.zeros(2, 3)

    def value(**metrics: float) -> float | None:
        found = baseline.values(Rewards(sample_BK, None, progress(5, **metrics)))
        return None if found is None else float(found.unique())

    assert value() is None
    assert value(**LAST) == pytest.approx(0.4)
    assert value(**LAST, **{"baseline/samples/sequences": 7.0}) == pytest.approx(0.9 * 0.7 + 0.1 * 0.4)
    assert value(**LAST, **{"return/samples/sequences": 6.0}) == pytest.approx(0.6)
    assert value(**dict.fromkeys(LAST, 0.0)) is None  # after an update that was skipped
