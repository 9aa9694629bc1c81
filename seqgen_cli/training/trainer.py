"""How long to train and what to do on the way; and the watch over the validation metric."""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from seqgen_cli.errors import RequestError
from seqgen_cli.hints import NEUTRAL


@dataclass(frozen=True)
class Trainer:
    """Settings of a training run. Of several budgets the first one spent ends it.

    Args:
        steps, epochs, minutes: budgets; at least one is set. Minutes count training and validation, over all resumptions.
        accumulate: batches an update, on each rank.
        clip_norm: largest global norm of the gradient.
        evaluate_every: updates between validations; None: once an epoch.
        save_every: updates between checkpoints beyond those at validations; None: only those.
        keep_last, keep_best: checkpoints kept: the latest, and the best by `best_metric`.
        best_metric: a validation figure.
        patience: validations without a new best before training stops.
        ema_decay: of an average of the weights, which is then what is evaluated and kept for use.
        average: at the end, how many of the best checkpoints to average; kept where it is better than each.
        log_every: updates between log lines.
        samples: validation sentences whose translations are written at each validation.
        decode_limit: validation sentences decoded for the translation metrics; None: all; 0: none.
        tensorboard: also write TensorBoard events. plots: draw the curves at the end.
        progress: draw a progress bar on a terminal.
    """

    steps: Annotated[int, Ge(1)] | None = None
    epochs: Annotated[float, Gt(0)] | None = None
    minutes: Annotated[float, Gt(0)] | None = None
    accumulate: Annotated[int, Ge(1)] = 1
    clip_norm: Annotated[float, Gt(0)] | None = 1.0
    evaluate_every: Annotated[int, Ge(1)] | None = None
    save_every: Annotated[int, Ge(1), NEUTRAL] | None = None
    keep_last: Annotated[int, Ge(1), NEUTRAL] = 1
    keep_best: Annotated[int, Ge(0)] = 1
    best_metric: str = "nll"
    patience: Annotated[int, Ge(1)] | None = None
    ema_decay: Annotated[float, Gt(0), Lt(1)] | None = None
    average: Annotated[int, Ge(2)] | None = None
    log_every: Annotated[int, Ge(1), NEUTRAL] = 50
    samples: Annotated[int, Ge(0), NEUTRAL] = 8
    decode_limit: Annotated[int, Ge(0)] | None = 500
    tensorboard: Annotated[bool, NEUTRAL] = True
    plots: Annotated[bool, NEUTRAL] = True
    progress: Annotated[bool, NEUTRAL] = True

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise RequestError("The run has no budget: set trainer.steps, trainer.epochs or trainer.minutes.")
        if self.average is not None and self.average > self.keep_best:
            raise RequestError(
                f"trainer.average={self.average} averages the best checkpoints, but trainer.keep_best={self.keep_best}: "
                f"set trainer.keep_best={self.average}."
            )

    def updates_per_epoch(self, batches_per_epoch: int, world_size: int) -> float:
        """Updates that read the training data once."""
        return batches_per_epoch / (self.accumulate * world_size)

    def total_updates(self, updates_per_epoch: float | None) -> int | None:
        """The updates that steps and epochs allow; None where only minutes bound the run.

        Args:
            updates_per_epoch: None where the data is not read yet: epochs then count as one update each.
        """
        bounds = [self.steps] if self.steps is not None else []
        if self.epochs is not None:
            bounds.append(max(1, math.ceil(self.epochs * (updates_per_epoch or 1.0) - 1e-9)))
        return min(bounds, default=None)


@dataclass
class Watch:
    """What has been seen of the validation metric, for early stopping. Plain values, kept in every checkpoint.

    Args:
        metric: the figure watched. higher: whether a larger value is better.
        best: its best value so far. best_step: the update of that. bad: validations since.
    """

    metric: str
    higher: bool
    best: float | None = None
    best_step: int = 0
    bad: int = 0

    def see(self, figures: dict[str, float], step: int) -> bool:
        """Take in a validation; whether it is the best so far. A figure that is not a number never is.

        Raises:
            RequestError: the metric is not among the figures.
        """
        if self.metric not in figures:
            raise RequestError(
                f"trainer.best_metric={self.metric} is not measured in this run. What is: {', '.join(sorted(figures))}."
            )
        value, sign = figures[self.metric], 1 if self.higher else -1
        better = not math.isnan(value) and (self.best is None or sign * value > sign * self.best)
        if better:
            self.best, self.best_step, self.bad = value, step, 0
        else:
            self.bad += 1
        return better
