"""What an objective promises to the training loop: a list of updates, each a sum to minimise and the counts to divide by."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from seqgen_cli.data.batch import Batch
from seqgen_cli.layers.random import Key

MakeOptimizer = Callable[[Iterable[tuple[str, nn.Parameter]]], Optimizer]
"""The run's optimizer (as configured) over these named parameters; one for each kind of gradient (layers.rows.by_gradient)."""


@dataclass(frozen=True)
class Progress:
    """Where training stands. `key` is Key.of(seed, update); `metrics` are the last update's sums over all ranks."""

    update: int
    key: Key
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """Sums over one micro-batch: the loop divides each term by its global count, then adds the terms up.

    terms: scalars with a gradient. metrics: scalars without, added over micro-batches and ranks.
    """

    terms: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)


class UpdateModule(Protocol):
    """The module of an Update; called under DistributedDataParallel where there are several ranks."""

    def counts(self, batch: Batch) -> Mapping[str, float]:
        """What each term is divided by (tokens, sequences, texts), known before the forward, without a device sync.

        The first is what the run's progress and speed are told in, be it a term's or not.
        """
        ...

    def __call__(self, batch: Batch, progress: Progress) -> Loss: ...


class Schedule(Protocol):
    """A learning-rate schedule."""

    def factor(self, update: int) -> float:
        """What the learning rate is multiplied by at this update, counted from 0."""
        ...


def always(update: int) -> bool:
    """Due at every update."""
    return True


@dataclass(frozen=True)
class Update:
    """One gradient step of the loop: `module`'s loss, stepped by its optimizers.

    Args:
        name: begins the names of its figures, where an objective has several updates.
        optimizers: over disjoint parameters; those of the objective's other updates are frozen meanwhile.
        schedule: of their learning rates, by the run's updates; None: the run's.
        clip_norm: largest global norm of its gradient; None: the run's; infinity: not clipped.
        due: whether it is made at the run's update of this number, counted from 0. The same on all ranks, and a function of
            the number alone, so that a resumed run goes on in step.
        after: run after its step, e.g. to bring weights back into bounds; also where the step was skipped for a gradient that
            was not finite, which leaves the weights as they were.
    """

    name: str
    module: nn.Module
    optimizers: list[Optimizer]
    schedule: Schedule | None = None
    clip_norm: float | None = None
    due: Callable[[int], bool] = always
    after: Callable[[], None] | None = None


class Decay(Protocol):
    """How much of something is left as training goes on."""

    def __call__(self, update: int) -> float:
        """The share left at this update, counted from 0; in [0, 1], and never rising."""
        ...


class Advisor(Protocol):
    """Sees what is logged of an objective, and says what the user should know: whole sentences."""

    def at_start(self, fresh_weights: bool, best_metric: str) -> list[str]:
        """What to say before the first update of a run, of trained weights or not; best_metric chooses the checkpoint to use."""
        ...

    def see(self, figures: Mapping[str, float]) -> str | None:
        """What to say after these figures (`Loop.take_figures`), if anything."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A way to train. An implementation is an nn.Module that holds the model and the output layer it was given.

    It may have an `advisor`: an Advisor. Its class may have `figures`: the names of what its `evaluate` makes of a validation
    set, so that a trainer.best_metric that is not among them (or the metrics') is refused before training begins.
    """

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        """The updates, in the order they run: each sees the weights that those before it leave. Most objectives have one.

        Whatever else the objective holds (a discriminator, chains, a baseline) is in its parameters and buffers: saved, and
        loaded strictly.
        """
        ...

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Exact additive sums over the batch, e.g. nll, tokens, correct. No gradient; nothing smoothed or estimated."""
        ...
