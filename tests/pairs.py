"""All-pairs: few combinations of several choices in which every two choices meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any


def pairs(*factors: Sequence[Any], fits: Callable[..., bool] = lambda *values: True) -> list[tuple[Any, ...]]:
    """Combinations of one value of each factor, in which every two values of different factors meet that some fitting one holds.

    About as many as the two largest factors' product, where all combinations are all factors' product; the same each time.

    Args:
        factors: two or more.
        fits: whether a combination may be among them, told its values in the factors' order.
    """
    allowed = [
        numbers
        for numbers in product(*(range(len(factor)) for factor in factors))
        if fits(*(factor[number] for factor, number in zip(factors, numbers, strict=True)))
    ]
    holding = defaultdict(list)
    for numbers in allowed:
        for pair in met(numbers):
            holding[pair].append(numbers)
    found, unmet = [], set(holding)
    for pair in sorted(holding, key=lambda pair: [-len(factors[place]) for place, _ in pair]):  # the largest factors' first
        if pair in unmet:
            found.append(max(holding[pair], key=lambda numbers: len(unmet.intersection(met(numbers)))))
            unmet.difference_update(met(found[-1]))
    return [tuple(factor[number] for factor, number in zip(factors, numbers, strict=True)) for numbers in sorted(found)]


def met(numbers: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """Every two (place, number) of a combination."""
    return list(combinations(enumerate(numbers), 2))
