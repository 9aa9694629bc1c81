"""Sampling whole sequences against the enumerated distribution over sequences.

Shapes: B sentences, K samples of each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.layers.random import Key
from tests.numerics.search_toys import SPECIALS, ToyModel, task_of

ORDINARY = [4, 5]
SENTENCE = 3


def draws(model: ToyModel, decoder: Sampling, key: Key | None = None) -> list[tuple[int, ...]]:
    task = replace(task_of([SENTENCE]), key=key)
    found = decoder.search(model.step, model.start(task), task)
    return [tuple(ids[:length].tolist()) for ids, length in zip(found.ids_BKT[0], found.lengths_BK[0], strict=True)]


def enumerated(model: ToyModel, max_length: int, temperature: float, min_length: int = 0) -> dict[tuple[int, ...], float]:
    """p of every sequence: words of each step renormalised over those allowed; cut at `max_length`."""
    found: dict[tuple[int, ...], float] = {}
    stack: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    while stack:
        ids, p = stack.pop()
        if len(ids) == max_length or (ids and ids[-1] == SPECIALS.eos):
            found[ids] = p
            continue
        allowed = [*ORDINARY, *([SPECIALS.eos] if len(ids) >= min_length else [])]
        weights = np.exp(np.array(model.log_probs_after(SENTENCE, ids))[allowed] / temperature)
        stack += [((*ids, word), p * weight) for word, weight in zip(allowed, weights / weights.sum(), strict=True)]
    assert sum(found.values()) == pytest.approx(1.0)
    return found


@pytest.mark.parametrize(("temperature", "min_length"), [(1.0, 0), (2.5, 1), (0.6, 2)])
def test_samples_follow_the_sequence_distribution(temperature: float, min_length: int) -> None:
    count = 20_000
    model = ToyModel(6, seed=4, sharpness=1.0)
    limits: dict[str, Any] = {"max_length_factor": 0, "max_length_offset": 3, "min_length": min_length}
    observed = Counter(draws(model, Sampling(samples=count, temperature=temperature, **limits)))
    expected = enumerated(model, 3, temperature, min_length)
    assert set(observed) <= set(expected)
    common = [ids for ids, p in expected.items() if p * count >= 5]
    rare = count - sum(observed[ids] for ids in common), count - sum(expected[ids] * count for ids in common)
    statistic = sum((observed[ids] - expected[ids] * count) ** 2 / (expected[ids] * count) for ids in common)
    statistic += (rare[0] - rare[1]) ** 2 / max(rare[1], 1e-3)
    assert chi2.sf(statistic, len(common)) > 1e-4


def test_samples_depend_on_seed_key_sentence_and_number_alone() -> None:
    model = ToyModel(40, seed=1, sharpness=1.0)
    limits: dict[str, Any] = {"max_length_factor": 0, "max_length_offset": 8}
    four = draws(model, Sampling(samples=4, **limits))
    assert draws(model, Sampling(samples=2, **limits)) == four[:2]  # asking for more changes none
    assert len(set(four)) == 4
    assert not set(four) & set(draws(model, Sampling(samples=4, seed=2, **limits)))
    with_key = draws(model, Sampling(samples=4, **limits), Key.of(7, 1))
    assert with_key == draws(model, Sampling(samples=4, seed=5, **limits), Key.of(7, 1))
    assert not set(with_key) & set(draws(model, Sampling(samples=4, **limits), Key.of(7, 2)))


@pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-4}])
def test_hardest_cuts_are_greedy(cut: dict[str, Any]) -> None:
    model = ToyModel(12, seed=1)
    for ids in draws(model, Sampling(samples=3, max_length_offset=8, **cut)):
        for place, word in enumerate(ids):
            after = model.log_probs_after(SENTENCE, ids[:place])
            assert word == max(range(3, 12), key=after.__getitem__)


def test_log_probs_are_those_of_the_model() -> None:
    """Not of the tempered, cut and renormalised distribution that was drawn from."""
    model = ToyModel(12, seed=1, sharpness=1.0)
    task = task_of([0, 1, 2])
    decoder = Sampling(samples=5, temperature=3.0, top_k=4, max_length_offset=6, max_length_factor=0)
    found = decoder.search(model.step, model.start(task), task)
    for b in range(3):
        for k in range(5):
            length = int(found.lengths_BK[b, k])
            ids = found.ids_BKT[b, k].tolist()
            log_p = sum(model.log_probs_after(b, tuple(ids[:t]))[ids[t]] for t in range(length))
            assert float(found.log_probs_BK[b, k]) == pytest.approx(log_p, abs=1e-10)
            assert bool(found.truncated_BK[b, k]) == (ids[length - 1] != SPECIALS.eos)
            assert torch.all(found.ids_BKT[b, k, length:] == SPECIALS.pad)
