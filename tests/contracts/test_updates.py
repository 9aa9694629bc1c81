"""Several updates of one objective: in turn or at once, one warmed up before the other, each by its own schedule and clip."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqgen_cli.checkpoints.finding import find
from seqgen_cli.checkpoints.weights import read_state, read_weights
from seqgen_cli.commands import train
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.layers.rows import by_gradient
from seqgen_cli.objectives.base import Loss, MakeOptimizer, Progress, Update
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.training.loop import MAX_SKIPPED, Loop
from seqgen_cli.training.optimizers import SGD
from seqgen_cli.training.schedules import Constant, InverseSqrt
from tests.faults.test_resume import SMALL, assert_same_run, records, settings, stop_after
from tests.toys import OneProcess, Rows, stream

WARM_UP = 20
BOUND = 0.03


class Player(nn.Module):
    """Plays f = xy for x, which goes down (sign 1), or for y, which goes up (-1); both at once: 0."""

    def __init__(self, game: nn.ParameterDict, sign: int) -> None:
        super().__init__()
        self.game, self.sign = game, sign

    def counts(self, batch: Rows) -> dict[str, float]:
        return {"plays": 1.0}

    def forward(self, batch: Rows, progress: Progress) -> Loss:
        x, y = self.game["x"], self.game["y"]
        f = x * y.detach() - x.detach() * y if self.sign == 0 else self.sign * x * y
        return Loss({"plays": f})


def game(x: float = 1.0, y: float = 1.0) -> nn.ParameterDict:
    return nn.ParameterDict({name: torch.tensor(value, dtype=torch.float64) for name, value in (("x", x), ("y", y))})


def alternating(played: nn.ParameterDict, **of_y: Any) -> list[Update]:
    """x moves first, then y, which sees where x went."""
    make = SGD(lr=0.2).make
    return [
        Update("x", Player(played, 1), [make([("x", played["x"])])]),
        Update("y", Player(played, -1), [make([("y", played["y"])])], **of_y),
    ]


def play(updates: list[Update], steps: int, clip_norm: float | None = None, schedule: Any = None) -> Loop:
    loop = Loop(updates, stream([1]), OneProcess(), schedule or Constant(), seed=1, clip_norm=clip_norm)
    for _ in range(steps):
        loop.step()
    return loop


def test_simultaneous_steps_leave_the_equilibrium() -> None:
    """Each turn multiplies the radius by sqrt(1 + lr^2); see A7 of the facts."""
    played = game()
    play([Update("both", Player(played, 0), [SGD(lr=0.2).make(played.items())])], 16)
    radius = math.hypot(played["x"].item(), played["y"].item())
    assert radius == pytest.approx(math.sqrt(2) * (1 + 0.2**2) ** 8, rel=1e-12)


def test_alternating_steps_stay_on_an_ellipse() -> None:
    """x^2 + y^2 - lr x y is what steps in turn keep where x goes down first; a wrong order or a stale x leaves it."""
    played = game()
    loop = play(alternating(played), 1000)
    x, y = (value.item() for value in played.values())
    assert x * x + y * y - 0.2 * x * y == pytest.approx(1.8, rel=1e-10)
    assert abs(x * x + y * y + 0.2 * x * y - 2.2) > 0.01, "the other order's"
    figures = loop.take_figures()
    assert {"x.loss", "y.loss", "x.grad_norm", "y.grad_norm"} <= set(figures)


def test_an_update_has_its_own_schedule_and_clip() -> None:
    """y has both of its own; x takes the run's."""
    played = game(x=1.0, y=8.0)
    loop = play(alternating(played, schedule=InverseSqrt(4), clip_norm=0.25), 1, clip_norm=2.0, schedule=Constant(2))
    assert played["x"].item() == pytest.approx(1.0 - 0.2 * 0.5 * 2.0, rel=1e-5), "the run's clip, at half the rate"
    assert played["y"].item() == pytest.approx(8.0 + 0.2 * 0.25 * 0.25, rel=1e-5), "its own, at a quarter"
    assert loop.learning_rates == pytest.approx({"x.lr": 0.1, "y.lr": 0.05})
    free = game(x=1.0, y=8.0)
    play(alternating(free, clip_norm=math.inf), 1, clip_norm=0.1)
    assert free["y"].item() == pytest.approx(8.0 + 0.2 * (1.0 - 0.2 * 0.1), rel=1e-5), "not clipped at all"


def test_after_runs_once_its_step_is_made_and_sums_of_the_last_time_remain() -> None:
    played = game()
    seen: list[tuple[float, float]] = []

    def after() -> None:
        seen.append((played["x"].item(), played["y"].item()))

    updates = alternating(played, after=after, due=lambda update: update % 2 == 1)
    loop = play(updates, 1)
    assert seen == [] and set(loop.sums) == {name for name in loop.sums if name.startswith("x.")}
    loop.step()
    before = loop.sums["y.term.plays"].item()
    assert seen == [(played["x"].item(), played["y"].item())] and played["y"].item() != 1.0
    loop.step()
    assert len(seen) == 1 and loop.sums["y.term.plays"].item() == before
    assert loop.read == {"plays": 3}
    (x, y), rarely = alternating(game()), lambda update: update % 3 == 0
    assert play([replace(x, due=rarely), y], 5).read == {"plays": 5}, "of the update that has read most, not of the first"


def test_an_update_that_never_steps_ends_the_run_though_others_do() -> None:
    """Its streak of gradients that are not finite is its own."""
    played = game(x=math.inf)
    loop = play(alternating(played), 1)
    played["y"].data.fill_(1.0)  # y's gradient is x, infinite at every update; x's is y
    for _ in range(MAX_SKIPPED):
        loop.step()
    with pytest.raises(SeqgenError, match=f"last {MAX_SKIPPED + 1} updates were all skipped"):
        loop.take_figures()


class Critic(nn.Module):
    """Learns to tell a batch's hidden vectors from their negatives."""

    def __init__(self, model: Any, linear: nn.Linear, seen: Tensor) -> None:
        super().__init__()
        self.model, self.linear, self.seen = model, linear, seen

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"tokens": batch.targets_N.shape[0]}

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        self.seen += 1
        score_N = self.linear(self.model.hidden_states(batch).detach()).squeeze(1)
        return Loss({"tokens": nn.functional.softplus(-score_N).sum()})


class WarmedUp(MaximumLikelihood):
    """A critic trained alone for 20 updates, then in turn with a model that minds nobody but its references."""

    def __init__(self, model: Any, output: Any, class_weights: list[float] | None = None) -> None:
        super().__init__(model, output, class_weights)
        self.critic = nn.Linear(model.hidden_size, 1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        critic = Critic(self.model, self.critic, self.seen)
        rest = [(name, parameter) for name, parameter in self.named_parameters() if not name.startswith("critic.")]
        return [
            Update("critic", critic, [make_optimizer(self.critic.named_parameters())], Constant(), after=self.bound),
            Update("model", self, [make_optimizer(part) for part in by_gradient(rest)], due=lambda update: update >= WARM_UP),
        ]

    @torch.no_grad()
    def bound(self) -> None:
        for parameter in self.critic.parameters():
            parameter.clamp_(-BOUND, BOUND)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def warmed_up(cache: Path, runs: Path, *more: str) -> dict[str, Any]:
    objective = f"objective._target_={WarmedUp.__module__}.WarmedUp"
    asked = settings(cache, runs, "model=rnn", *SMALL["rnn"], objective, "trainer.steps=28", "trainer.evaluate_every=14", *more)
    return train.run(config_of("train", [*asked, "trainer.save_every=1", "trainer.keep_last=99", "trainer.log_every=1"]))


def test_a_warm_up_through_the_train_command(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's weights and moments wait; the critic's have a schedule, bounds and state of their own; stopping on either
    side of the end of the warm-up changes nothing."""
    whole = Path(warmed_up(cache, tmp_path / "whole")["run"])
    at = {step: read_weights(whole / "checkpoints" / f"step-{step}" / "model.safetensors") for step in (1, 20, 21)}
    assert all(torch.equal(tensor, at[20][name]) for name, tensor in at[1].items())
    assert not all(torch.equal(tensor, at[21][name]) for name, tensor in at[20].items())
    lines = [line for line in records(whole) if "critic.lr" in line]
    assert [line["update"] for line in lines] == list(range(1, 29))
    assert {line["critic.lr"] for line in lines} == {lines[0]["critic.lr"]}
    assert lines[27]["model.lr"] == pytest.approx(lines[0]["critic.lr"] * (2 / 28) ** 0.5), (
        "the run's schedule counts all updates"
    )
    assert ["model.loss" in line for line in lines] == [False] * 20 + [True] * 8
    assert lines[27]["tokens"] > lines[26]["tokens"] and lines[0]["tokens"] > 0
    state = read_state(find(whole, print, last=True))["objective"]
    assert set(state) == {"critic.weight", "critic.bias", "seen"} and state["seen"] == 28
    assert state["critic.weight"].abs().max() == pytest.approx(BOUND), "no bound at all would be reached by so few updates"
    for number, stop in zip(count(), (13, 24)):
        runs = tmp_path / f"stopped-{number}"
        with monkeypatch.context() as patch:
            stop_after(patch, stop)
            with pytest.raises(Exception, match="stopped at update"):
                warmed_up(cache, runs)
        assert_same_run(whole, Path(warmed_up(cache, runs)["run"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("critic.bias"), "no critic.bias"),
        (lambda held: held.update(judge=torch.ones(2)), "an unknown judge"),
        (lambda held: held.update(seen=torch.ones(3)), r"seen of shape \(3,\) where \(\) is needed"),
    ],
)
def test_an_objectives_state_is_loaded_strictly(change: Any, said: str, cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("seqgen_cli.training.session.weights.read_state", changed(change))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Exception, match="stopped at update"):
            warmed_up(cache, tmp_path)
    with pytest.raises(RequestError, match=f"The objective's state in .*step-3 does not fit: it holds {said}"):
        warmed_up(cache, tmp_path)


def changed(change: Any) -> Any:
    def read(folder: Path) -> dict[str, Any]:
        state = read_state(folder)
        change(state["objective"])
        return state

    return read
