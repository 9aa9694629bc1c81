"""Rewards as a user may bring them, right and wrong. Knows nothing of torch: worker processes import it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge


class Recording:
    """Rewards length, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        self.asked += zip(hypotheses, references, strict=True)
        return [len(text) / 10 for text in hypotheses]


class ByProcess:
    """Rewards with the number of the process that is asked."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [float(os.getpid())] * len(hypotheses)


class Short:
    """One answer too few."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [1.0] * (len(hypotheses) - 1)


class Scalar:
    """One answer for all."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return 1.0  # type: ignore[return-value]


class NotANumber:
    """NaN where a 3 is in the text."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [math.nan if "3" in text else 1.0 for text in hypotheses]


class Distance:
    """Below 0: the worse, the lower."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [-1.0] * len(hypotheses)


class Raising:
    """Fails."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [float(hypotheses.index("not there"))]


class Brevity:
    """Rewards how much of `words` the output leaves unused, 0 from there on."""

    def __init__(self, words: Annotated[int, Ge(1)]) -> None:
        self.words = words

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [max(0.0, 1 - len(text.split()) / self.words) for text in hypotheses]
