"""A measured number, and which way is better; and what scores single outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seqgen_cli.errors import RequestError, counted

_LOWER_IS_BETTER = frozenset({"calibration_error", "log_loss", "loss", "nll", "nll_per_character", "perplexity", "ter"})
_HIGHER_IS_BETTER = frozenset({"accuracy", "average_precision", "bleu", "chrf", "f1", "roc_auc"})


@dataclass(frozen=True)
class Figure:
    """One number about a system.

    value: the number. low, high: its bootstrap confidence interval, None where none was asked for.
    signature: every setting that the number depends on, in sacrebleu's words.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    signature: str = ""

    def interval(self, form: str = ".2f") -> str:
        """`[low, high]`, by default with two decimals, or nothing."""
        if self.low is None or self.high is None or math.isnan(self.low):
            return ""
        return f"[{self.low:{form}}, {self.high:{form}}]"


class Reward(Protocol):
    """Scores texts; a plain object that pickles, for it may be asked in other processes, and never about an
    empty hypothesis, which earns 0.

    A reward may offer `for_ids()`: the reward to use where outputs are token ids, written as numbers with spaces between.
    """

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """What each hypothesis earns against the reference of the same place: finite, 0 or more, usually up to 1, the best."""
        ...


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric `name` is the better one (early stopping, best checkpoints).

    Raises:
        RequestError: no such metric.
    """
    if name not in _LOWER_IS_BETTER | _HIGHER_IS_BETTER:
        raise RequestError(f"{name} is not a metric; choose one of {', '.join(sorted(_LOWER_IS_BETTER | _HIGHER_IS_BETTER))}.")
    return name in _HIGHER_IS_BETTER


def check_parallel(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse a comparison of nothing, or of sides of unequal length.

    Raises:
        RequestError: no hypothesis, no reference, or a reference with another number of lines.
    """
    if not hypotheses:
        raise RequestError("There is nothing to score: no hypotheses.")
    if not references:
        raise RequestError("There is nothing to score against: no references.")
    for number, lines in enumerate(references, start=1):
        if len(lines) != len(hypotheses):
            which = "the references have" if len(references) == 1 else f"reference {number} has"
            wanted, got = counted(len(hypotheses), "line"), counted(len(lines), "line")
            raise RequestError(f"The hypotheses have {wanted} but {which} {got}; line i must match line i.")
