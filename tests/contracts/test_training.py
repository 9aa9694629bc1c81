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

from seqgen_cli.errors import RequestError
from seqgen_cli.objectives.base import Loss, Progress, Update
from seqgen_cli.training.loop import Loop
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
        return [
            Update("left", Half(self, 1.0), half, due=lambda update: update % period == 0),
            Update("right", Half(self, -1.0), other),
        ]


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
    assert resumed.learning_rates["lr"] == slower.lr * (4 / 6) ** 0.5
    assert loops[0].take_figures() == resumed.take_figures()


def test_state_of_another_optimizer_is_refused() -> None:
    model = Regression()
    first = Loop(model.updates(Adam().make), stream(SIZES), OneProcess(), Constant(), seed=1)
    second = Loop(model.updates(SGD().make), stream(SIZES), OneProcess(), Constant(), seed=1)
    with pytest.raises(RequestError, match="does not fit this run's optimizer"):
        second.load_state_dict(first.state_dict())
