"""Laws of the training loop, on a toy problem whose answers torch gives directly."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.objectives.base import Loss, Progress, Update
from seqgen_cli.training.loop import MAX_SKIPPED, Loop
from seqgen_cli.training.optimizers import SGD, Adam
from seqgen_cli.training.schedules import Constant, InverseSqrt
from tests.toys import OneProcess, Regression, Rows, joined, rows, stream

SIZES = [5, 1, 7, 3]


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_accumulated_gradient_is_that_of_one_big_batch() -> None:
    """Batches of unequal sizes: a mean of batch means would differ in the first digit."""
    model = Regression()
    expected = torch.autograd.grad(model.definition(joined([rows(i, SIZES[i]) for i in range(4)])), list(model.parameters()))
    before = weights(model)
    Loop(model.updates(SGD(lr=1.0).make), stream(SIZES), OneProcess(), Constant(), seed=1, accumulate=4).step()
    for old, new, gradient in zip(before, weights(model), expected, strict=True):
        assert_close(old - new, gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [SGD(lr=0.1, momentum=0.9), Adam(lr=0.01)])
def test_many_steps_equal_torch_on_big_batches(settings: SGD | Adam) -> None:
    """20 accumulated, clipped, scheduled steps = torch's own optimizer, clipping and schedule on the joined batches."""
    ours, reference = Regression(), Regression()
    schedule = InverseSqrt(warmup=4)
    loop = Loop(ours.updates(settings.make), stream(SIZES), OneProcess(), schedule, seed=1, accumulate=4, clip_norm=0.5)
    optimizer = settings.make(reference.named_parameters())
    for step in range(20):
        loop.step()
        optimizer.zero_grad()
        reference.definition(joined([rows(i, SIZES[i % 4]) for i in range(4 * step, 4 * step + 4)])).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        optimizer.param_groups[0]["lr"] = settings.lr * min((step + 1) / 4, (4 / (step + 1)) ** 0.5)
        optimizer.step()
    for own, other in zip(weights(ours), weights(reference), strict=True):
        assert_close(own, other, rtol=0, atol=1e-10)


def test_clipping_bounds_the_norm() -> None:
    model = Regression()
    before = weights(model)
    loop = Loop(model.updates(SGD(lr=1.0).make), stream(SIZES), OneProcess(), Constant(), seed=1, clip_norm=0.01)
    loop.step()
    moved = torch.cat([(old - new).flatten() for old, new in zip(before, weights(model), strict=True)])
    assert_close(moved.norm(), torch.tensor(0.01, dtype=torch.float64), rtol=1e-4, atol=0)
    assert loop.take_figures()["grad_norm"] > 0.1  # what is logged is the norm before clipping


def test_figures_are_means_over_everything_since_the_last_call() -> None:
    model = Regression()
    loop = Loop(model.updates(SGD(lr=1e-30).make), stream(SIZES), OneProcess(), Constant(), seed=1, accumulate=2)
    loop.step()
    loop.step()
    everything = joined([rows(i, SIZES[i]) for i in range(4)])
    figures = loop.take_figures()
    assert_close(figures["loss"], model.definition(everything).item(), rtol=1e-12, atol=0)
    assert {name: float(count) for name, count in loop.totals.items()} == {"rows": 16, "outputs": 32}
    error = (model.second(torch.tanh(model.first(everything.x_B3))) - everything.y_B2).square().sum() / 16
    assert_close(figures["error"], error.item(), rtol=1e-12, atol=0)
    assert loop.take_figures() == {}


class Weighing(Regression):
    """Each row counts a fourth, as with class weights."""

    def counts(self, batch: Rows) -> dict[str, float]:
        return {name: count / 4 for name, count in super().counts(batch).items()}


@pytest.mark.parametrize(("kind", "share"), [(Regression, 1), (Weighing, 4)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_figures_of_a_small_window_are_means_too(kind: type[Regression], share: int, size: int) -> None:
    """Of one prediction or two, or where counts are less than 1."""
    model, batch = kind(), rows(0, size)
    expected = share * model.definition(batch).item()
    error = share * (model.second(torch.tanh(model.first(batch.x_B3))) - batch.y_B2).square().sum().item() / size
    loop = Loop(model.updates(SGD(lr=0.1).make), stream([size]), OneProcess(), Constant(), seed=1)
    loop.step()
    figures = loop.take_figures()
    assert (figures["loss"], figures["error"]) == pytest.approx((expected, error), rel=1e-12)


class Counting(Regression):
    """Says first how many calls there were, which divides nothing."""

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"calls": 1, **super().counts(batch)}


def test_a_count_without_a_term_is_added_up_and_divides_nothing() -> None:
    made = []
    for kind in (Regression, Counting):
        loop = Loop(kind().updates(SGD(lr=0.1).make), stream(SIZES), OneProcess(), Constant(), seed=1, accumulate=2)
        loop.step()
        loop.step()
        made.append((loop.take_figures(), list(loop.totals.items())))
    assert made[0][0] == made[1][0]
    assert made[1][1] == [("calls", 4), *made[0][1]]  # the first is what progress is told in


class Recorder(Regression):
    """Remembers the Progress of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, dict[str, float]]] = []

    def forward(self, batch: Rows, progress: Progress) -> Loss:
        self.seen.append((progress.update, progress.key.state, dict(progress.metrics)))
        return super().forward(batch, progress)


def test_progress_carries_update_key_and_the_last_sums() -> None:
    model = Recorder()
    loop = Loop(model.updates(SGD(lr=0.1).make), stream(SIZES), OneProcess(), Constant(), seed=7, accumulate=2)
    first = Regression()
    for _ in range(2):
        loop.step()
    assert [update for update, _, _ in model.seen] == [0, 0, 1, 1]
    assert len({key for _, key, _ in model.seen}) == 2
    assert model.seen[0][2] == {}
    batch = joined([rows(0, 5), rows(1, 1)])
    out_B2 = first.second(torch.tanh(first.first(batch.x_B3)))
    assert_close(model.seen[2][2]["error"], (out_B2 - batch.y_B2).square().sum().item(), rtol=1e-12, atol=0)
    assert model.seen[2][2]["rows"] == 6


class Duel(nn.Module):
    """Two updates over one module tree: each loss reads both layers, and may move only its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.left = nn.Linear(3, 2, dtype=torch.float64)
        self.right = nn.Linear(2, 2, dtype=torch.float64)

    def updates(self, period: int) -> list[Update]:
        half = [SGD(lr=0.1).make(self.left.named_parameters())]
        other = [SGD(lr=0.1).make([("weight", self.right.weight)]), SGD(lr=0.2).make([("bias", self.right.bias)])]
        return [Update("left", Half(self, 1.0), half, period), Update("right", Half(self, -1.0), other)]


class Half(nn.Module):
    def __init__(self, duel: Duel, sign: float) -> None:
        super().__init__()
        self.duel, self.sign = duel, sign
        self.needed: list[list[bool]] = []

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"rows": len(batch.x_B3)}

    def forward(self, batch: Rows, progress: Progress) -> Loss:
        self.needed.append([parameter.requires_grad for parameter in self.duel.parameters()])
        return Loss({"rows": self.sign * self.duel.right(torch.tanh(self.duel.left(batch.x_B3))).square().sum()})


def test_updates_run_in_order_at_their_period_and_move_only_their_own() -> None:
    duel = Duel()
    updates = duel.updates(period=3)
    loop = Loop(updates, stream(SIZES), OneProcess(), Constant(), seed=1)
    reference = Duel()
    for step in range(5):
        loop.step()
        batch = rows(step, SIZES[step % 4])

        def loss(batch: Rows = batch) -> Tensor:
            return reference.right(torch.tanh(reference.left(batch.x_B3))).square().sum() / len(batch.x_B3)

        if step % 3 == 0:
            descend(loss(), reference.left.parameters(), [0.1, 0.1])
        descend(-loss(), reference.right.parameters(), [0.1, 0.2])
        for own, other in zip(weights(duel), weights(reference), strict=True):
            assert_close(own, other, rtol=0, atol=1e-12)
    left, right = updates[0].module, updates[1].module
    assert left.needed == [[True, True, False, False]] * 2
    assert right.needed == [[False, False, True, True]] * 5
    assert all(parameter.requires_grad and parameter.grad is None for parameter in duel.parameters())
    figures = loop.take_figures()
    assert {"left.loss", "right.loss", "left.grad_norm"} <= set(figures)


def descend(loss: Tensor, parameters: Iterable[nn.Parameter], rates: list[float]) -> None:
    chosen = list(parameters)
    for parameter, rate, gradient in zip(chosen, rates, torch.autograd.grad(loss, chosen), strict=True):
        parameter.data -= rate * gradient


class Sometimes(nn.Module):
    """A loss whose gradient is infinite on the batches named."""

    def __init__(self, bad: Iterable[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.bad = set(bad)
        self.calls = 0

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"rows": len(batch.x_B3)}

    def forward(self, batch: Rows, progress: Progress) -> Loss:
        factor = float("inf") if progress.update in self.bad else 1.0
        return Loss({"rows": (self.weight * batch.y_B2).sum() * factor})


class PlainSGD(torch.optim.Optimizer):
    """An optimizer without a fused step."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_with_a_gradient_that_is_not_finite_is_skipped(fused: bool, clip_norm: float | None) -> None:
    model = Sometimes(bad=[1, 3])
    optimizer = SGD(lr=0.1).make(model.named_parameters()) if fused else PlainSGD(model.parameters())
    loop = Loop([Update("u", model, [optimizer])], stream(SIZES), OneProcess(), Constant(), seed=1, clip_norm=clip_norm)
    for step in range(5):
        before = model.weight.detach().clone()
        loop.step()
        assert torch.equal(before, model.weight) == (step in (1, 3))
    assert model.weight.isfinite().all()
    figures = loop.take_figures()
    assert figures["skipped"] == 2
    wanted, weight = 0.0, torch.ones(2, dtype=torch.float64)
    for step in (0, 2, 4):  # the skipped updates leave no trace in the means
        gradient = rows(step, SIZES[step % 4]).y_B2.sum(0) / SIZES[step % 4]
        wanted += float(gradient @ weight) * SIZES[step % 4]
        weight -= 0.1 * gradient * (1 if clip_norm is None else min(1.0, clip_norm / float(gradient.norm())))
    assert figures["loss"] == pytest.approx(wanted / (5 + 7 + 5), rel=1e-4)


def test_moments_survive_a_skipped_step() -> None:
    """Adam's state after a skipped step is its state before: one bad batch must not poison the moments."""
    model = Sometimes(bad=[2])
    optimizer = Adam(lr=0.1).make(model.named_parameters())
    loop = Loop([Update("u", model, [optimizer])], stream(SIZES), OneProcess(), Constant(), seed=1)
    loop.step()
    loop.step()
    before = {name: value.clone() for name, value in optimizer.state[model.weight].items()}
    loop.step()
    for name, value in optimizer.state[model.weight].items():
        assert torch.equal(value, before[name])


def test_training_stops_when_every_step_is_skipped() -> None:
    model = Sometimes(bad=range(2, 100))
    optimizer = SGD(lr=0.1).make(model.named_parameters())
    loop = Loop([Update("u", model, [optimizer])], stream(SIZES), OneProcess(), Constant(), seed=1)
    for _ in range(MAX_SKIPPED + 1):
        loop.step()
    assert loop.take_figures()["skipped"] == MAX_SKIPPED - 1
    loop.step()
    with pytest.raises(SeqgenError, match="not finite in the last 20 updates, up to update 22"):
        loop.take_figures()


def test_updates_skipped_now_and_then_do_not_stop_training() -> None:
    model = Sometimes(bad=range(0, 4 * MAX_SKIPPED, 2))
    optimizer = SGD(lr=0.1).make(model.named_parameters())
    loop = Loop([Update("u", model, [optimizer])], stream(SIZES), OneProcess(), Constant(), seed=1)
    for _ in range(4 * MAX_SKIPPED):
        loop.step()
    assert loop.take_figures()["skipped"] == 2 * MAX_SKIPPED


def test_fp16_scaling_changes_nothing_but_the_scale() -> None:
    """The scaled loss is unscaled before clipping; a scale is a power of two, so the numbers agree exactly."""
    plain, scaled = Regression(), Regression()
    for model, precision in ((plain, "fp32"), (scaled, "fp16")):
        loop = Loop(model.updates(Adam().make), stream(SIZES), OneProcess(precision), Constant(), seed=1, clip_norm=0.5)
        for _ in range(5):
            loop.step()
    for own, other in zip(weights(plain), weights(scaled), strict=True):
        assert_close(own, other, rtol=0, atol=1e-12)


def test_the_loss_scale_falls_after_an_overflow() -> None:
    model = Sometimes(bad=[0, 1])
    update = Update("u", model, [SGD(lr=0.1).make(model.named_parameters())])
    loop = Loop([update], stream(SIZES), OneProcess("fp16"), Constant(), seed=1)
    scales = []
    for _ in range(3):
        loop.step()
        scales.append(loop.state_dict()["steps"][0]["scaler"]["scale"])
    assert scales == [2.0**15, 2.0**14, 2.0**14]


def test_a_resumed_loop_goes_on_with_its_loss_scale() -> None:
    """One overflow before it was stopped, one after: each halves the scale that was reached."""
    scales = []
    for stops in (False, True):
        model = Sometimes(bad=[0, 1, 4])
        loop, scale = None, []
        for step in range(6):
            if loop is None or (stops and step == 3):
                state = None if loop is None else copy.deepcopy(loop.state_dict())
                update = Update("u", model, [SGD(lr=0.1).make(model.named_parameters())])
                loop = Loop([update], stream(SIZES, start=step), OneProcess("fp16"), Constant(), seed=1)
                if state is not None:
                    loop.load_state_dict(state)
            loop.step()
            scale.append(loop.state_dict()["steps"][0]["scaler"])
        scales.append(scale)
    assert scales[0] == scales[1]
    assert [each["scale"] for each in scales[0]] == [2.0**15, 2.0**14, 2.0**14, 2.0**14, 2.0**13, 2.0**13]


def test_a_streak_of_skipped_updates_outlives_a_stop() -> None:
    """A run that is stopped again and again must not skip for ever."""
    model = Sometimes(bad=range(100))

    def loop_from(state: dict[str, object] | None) -> Loop:
        made = Loop(
            [Update("u", model, [SGD(lr=0.1).make(model.named_parameters())])], stream(SIZES), OneProcess(), Constant(), seed=1
        )
        if state is not None:
            made.load_state_dict(state)
        return made

    state = None
    for _ in range(MAX_SKIPPED - 1):
        loop = loop_from(state)
        loop.step()
        loop.take_figures()
        state = copy.deepcopy(loop.state_dict())
    loop = loop_from(state)
    loop.step()
    with pytest.raises(SeqgenError, match=f"in the last {MAX_SKIPPED} updates"):
        loop.take_figures()


class OtherRank(OneProcess):
    """The second of several ranks, alone."""

    rank = 1


def test_ranks_drop_differently() -> None:
    """Their batches differ, and so must their masks; with the same batch the masks alone are seen."""
    found = []
    for machine in (OneProcess(), OtherRank(), OneProcess()):
        model = Regression(dropout=0.5)
        Loop(model.updates(SGD(lr=0.1).make), stream(SIZES), machine, Constant(), seed=1).step()
        found.append(weights(model))
    assert all(itertools.starmap(torch.equal, zip(found[0], found[2], strict=True)))
    assert not torch.equal(found[0][0], found[1][0])


def test_dropout_depends_on_seed_and_update_alone() -> None:
    """Whatever else draws random numbers between steps (decoding, evaluation), training is the same."""
    quiet, disturbed, other_seed = (Regression(dropout=0.5) for _ in range(3))
    for model, seed, noise in ((quiet, 1, 0), (disturbed, 1, 3), (other_seed, 2, 0)):
        loop = Loop(model.updates(SGD(lr=0.1).make), stream(SIZES), OneProcess(), Constant(), seed=seed)
        for _ in range(3):
            loop.step()
            torch.rand(noise)
    assert all(itertools.starmap(torch.equal, zip(weights(quiet), weights(disturbed), strict=True)))
    assert not torch.equal(weights(quiet)[0], weights(other_seed)[0])


@pytest.mark.parametrize("settings", [SGD(lr=0.1, momentum=0.9), Adam(lr=0.1)])
def test_a_resumed_loop_steps_as_one_that_never_stopped(settings: SGD | Adam) -> None:
    """With the settings configured now (here half the learning rate), the schedule's place and the saved moments."""
    whole, first, second = Regression(), Regression(), Regression()
    slower = replace(settings, lr=settings.lr / 2)
    loops = [Loop(m.updates(settings.make), stream(SIZES), OneProcess(), InverseSqrt(4), seed=1) for m in (whole, first)]
    for loop in loops:
        for _ in range(3):
            loop.step()
    for group in loops[0]._stages[0].step.groups:
        group["initial_lr"] /= 2
    second.load_state_dict(first.state_dict())
    resumed = Loop(second.updates(slower.make), stream(SIZES, start=3), OneProcess(), InverseSqrt(4), seed=1)
    resumed.load_state_dict(copy.deepcopy(loops[1].state_dict()))
    for _ in range(3):
        loops[0].step()
        resumed.step()
    assert resumed.update == 6 and resumed.batches == 6
    assert all(itertools.starmap(torch.equal, zip(weights(whole), weights(second), strict=True)))
    assert resumed.learning_rate == slower.lr * (4 / 6) ** 0.5
    assert loops[0].take_figures() == resumed.take_figures()


def test_state_of_another_optimizer_is_refused() -> None:
    model = Regression()
    first = Loop(model.updates(Adam().make), stream(SIZES), OneProcess(), Constant(), seed=1)
    second = Loop(model.updates(SGD().make), stream(SIZES), OneProcess(), Constant(), seed=1)
    with pytest.raises(RequestError, match="does not fit this run's optimizer"):
        second.load_state_dict(first.state_dict())
