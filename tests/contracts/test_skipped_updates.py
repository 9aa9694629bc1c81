"""Updates whose gradient is not finite are skipped; the loss scale of fp16; and how both go on in a resumed run."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqgen_cli.errors import SeqgenError
from seqgen_cli.objectives.base import Loss, Progress, Update
from seqgen_cli.training.loop import MAX_SKIPPED, Loop
from seqgen_cli.training.optimizers import SGD, Adam
from seqgen_cli.training.schedules import Constant
from tests.contracts.test_training import SIZES, weights
from tests.toys import OneProcess, Regression, Rows, rows, stream


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
    with pytest.raises(SeqgenError, match="last 20 updates were all skipped, up to update 22, for a gradient that is not finite"):
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
    with pytest.raises(SeqgenError, match=f"last {MAX_SKIPPED} updates were all skipped"):
        loop.take_figures()
