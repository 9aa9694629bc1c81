"""The watch over the validation metric: which update was best, and whether patience has run out."""

import math
from dataclasses import dataclass

from seqgen_cli.errors import RequestError


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
