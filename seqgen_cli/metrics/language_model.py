"""How well a language model predicts text: perplexity and accuracy, with bootstrap intervals over its examples.

Shapes: L examples (texts, or windows of them).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from seqgen_cli.errors import RequestError
from seqgen_cli.hints import NEUTRAL
from seqgen_cli.metrics.base import Figure
from seqgen_cli.metrics.bootstrap import interval
from seqgen_cli.metrics.perplexity import perplexity

Name = Literal["perplexity", "nll", "accuracy"]

_SCORES: dict[str, Callable[[list[float]], float]] = {
    "perplexity": lambda sums: perplexity(sums[0], round(sums[2])),
    "nll": lambda sums: sums[0] / sums[2],
    "accuracy": lambda sums: sums[1] / sums[2],
}
"""Of the sums of -log p, of correct predictions, and of tokens."""


@dataclass(frozen=True)
class LanguageModelMetrics:
    """Which metrics to compute, and how. All are per predicted token, `</s>` included where it was predicted.

    Args:
        names: perplexity, nll (nats) and accuracy (share of the tokens that were the most probable), in the order shown.
        bootstrap: resamples for the confidence interval; 0: no interval.
        confidence: share of the resamples that the interval holds.
        seed: of the resampling.
    """

    task: ClassVar[str] = "generate"
    """What these are figures of."""

    names: Annotated[list[Name], NEUTRAL] = field(default_factory=lambda: ["perplexity", "nll", "accuracy"])
    bootstrap: Annotated[int, Ge(0), NEUTRAL] = 1000
    confidence: Annotated[float, Gt(0), Lt(1), NEUTRAL] = 0.95
    seed: Annotated[int, Ge(0), NEUTRAL] = 12345

    def compute(self, nll_L: np.ndarray, correct_L: np.ndarray, tokens_L: np.ndarray) -> dict[str, Figure]:
        """One Figure for each name, from each example's sums: -log p (nats), correct predictions, and predicted tokens.

        Raises:
            RequestError: there is nothing to measure.
        """
        if not tokens_L.sum():
            raise RequestError("There is nothing to measure: no target tokens.")
        stats_LC = np.stack([nll_L, correct_L, tokens_L], axis=1).astype(np.float64)[tokens_L > 0]
        return {name: self._figure(name, stats_LC) for name in self.names}

    def _figure(self, name: str, stats_LC: np.ndarray) -> Figure:
        score = _SCORES[name]
        ends: tuple[float | None, float | None] = (None, None)
        if self.bootstrap:
            ends = interval(stats_LC, score, self.bootstrap, self.confidence, self.seed)
        return Figure(name, score(stats_LC.sum(0).tolist()), *ends)
