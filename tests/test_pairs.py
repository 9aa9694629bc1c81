"""The combinations that stand for all of them: every two choices meet, in few."""

from __future__ import annotations

from itertools import combinations, product
from math import prod
from typing import Any

import pytest

from tests.pairs import pairs

FACTORS = [["ab", "cde"], ["abc", "de", "fghi"], [range(7), range(8), range(5)], [range(14), range(16), range(10), "ab"]]


def met(combination: tuple[Any, ...]) -> set[Any]:
    """Every two (place, value) of a combination."""
    return set(combinations(enumerate(combination), 2))


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_every_two_values_meet_in_about_as_few_combinations_as_can_be(factors: list[Any]) -> None:
    found = pairs(*factors)
    assert set().union(*map(met, found)) == set().union(*map(met, product(*factors)))
    fewest = prod(sorted(map(len, factors))[-2:])
    assert len(set(found)) == len(found) <= 1.1 * fewest
    assert pairs(*factors) == found


def test_only_what_fits_is_combined_and_all_that_can_meet_does() -> None:
    def fits(model: str, output: str, objective: str) -> bool:
        return model != "c" or (output == "d" and objective != "i")

    found = pairs("abc", "de", "fghi", fits=fits)
    assert all(fits(*each) for each in found)
    assert set().union(*map(met, found)) == set().union(*(met(each) for each in product("abc", "de", "fghi") if fits(*each)))


def test_values_need_no_hash_and_equal_ones_count_apart() -> None:
    assert pairs([[1], [1]], [{}]) == [([1], {}), ([1], {})]
