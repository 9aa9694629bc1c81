"""RAML's sampler against its definition, q(y'|y) ~ exp(-d/tau), enumerated; its gradient against mle on the drawn targets."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.data.batch import Batch, make_batch, make_block_batch
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.objectives.raml import RewardAugmented
from tests.helpers import make_choice, random_batch

SPECIALS = SimpleNamespace(pad=5, unk=1, bos=0, eos=3)  # ordinary words: 2, 4, 6, ...


def objective(tau: float, vocab_size: int = 8, tokenizer: object = SPECIALS) -> RewardAugmented:
    torch.manual_seed(3)
    sizes = {"embedding_size": 5, "hidden_size": 6, "layers": 1, "dropout": 0.0}
    model = make_choice("model", "rnn", sizes, source_vocab_size=11, target_vocab_size=vocab_size).double()
    output = build.output_layer("softmax", hidden_size=6, vocab_size=vocab_size).double()
    return RewardAugmented(model, output, tokenizer, tau)


def drawn(made: RewardAugmented, target: list[int], draws: int) -> list[tuple[int, ...]]:
    """Draws around one target, as many examples of a batch."""
    target_N = torch.tensor(target).repeat(draws)
    example_N, position_N = torch.arange(draws).repeat_interleave(len(target)), torch.arange(len(target)).repeat(draws)
    return [tuple(row) for row in made.draw(target_N, example_N, position_N, Key.of("draws")).view(draws, -1).tolist()]


@pytest.mark.parametrize("tau", [0.4, 0.8, 3.0])
@pytest.mark.parametrize("target", [[2, 4, 3], [6, 7, 2, 3], [4, 1, 3], [2, 2]], ids=str)
def test_draws_follow_the_definition(target: list[int], tau: float) -> None:
    """All sequences of ordinary words, and of the true words where those are not ordinary, weighed by exp(-d/tau)."""
    ordinary, draws = [2, 4, 6, 7], 30_000
    alternatives = [[word] if word == 3 else sorted({word, *ordinary}) for word in target]
    weights = {
        each: math.exp(-sum(a != b for a, b in zip(each, target, strict=True)) / tau) for each in itertools.product(*alternatives)
    }
    counts = Counter(drawn(objective(tau), target, draws))
    assert set(counts) <= set(weights)
    total = sum(weights.values())
    expected = {each: draws * weight / total for each, weight in weights.items()}
    common = [each for each in weights if expected[each] >= 5]
    rest = draws - sum(expected[each] for each in common)
    observed, wanted = [counts[each] for each in common], [expected[each] for each in common]
    if rest > 1e-6:
        observed, wanted = [*observed, draws - sum(observed)], [*wanted, rest]
    assert chisquare(observed, wanted).pvalue > 1e-3


@pytest.mark.parametrize(("words", "length", "tau"), [(8000, 25, 0.09), (8000, 25, 0.12), (50, 12, 0.3)])
def test_the_number_of_changes_is_distributed_as_printed(words: int, length: int, tau: float) -> None:
    """P(e) ~ C(n, e) (V' - 1)^e exp(-e / tau), by logarithms of factorials."""
    draws = 4000
    made = objective(tau, words + 4)
    target = [4 + 3 * place % (words - 10) for place in range(length)]
    target = [word if word != 5 else 6 for word in target]
    changes = [sum(a != b for a, b in zip(each, target, strict=True)) for each in drawn(made, [*target, 3][:-1], draws)]
    log_p = [
        math.lgamma(length + 1) - math.lgamma(e + 1) - math.lgamma(length - e + 1) + e * math.log(words - 1) - e / tau
        for e in range(length + 1)
    ]
    p = np.exp(np.array(log_p) - max(log_p))
    p /= p.sum()
    counts = np.bincount(changes, minlength=length + 1)
    common = p * draws >= 5
    observed, wanted = [*counts[common], counts[~common].sum()], [*p[common] * draws, p[~common].sum() * draws]
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_a_rare_extreme_neither_overflows_nor_leaves_the_vocabulary() -> None:
    assert drawn(objective(1e-300), [2, 4, 7, 3], 50) == [(2, 4, 7, 3)] * 50
    hot = drawn(objective(1e300), [2, 4, 7, 3], 2000)
    assert {each[:3] for each in hot} == set(itertools.product([2, 4, 6, 7], repeat=3)) and {each[3] for each in hot} == {3}
    alone = objective(1e300, 4, SimpleNamespace(pad=0, unk=0, bos=0, eos=3))
    alone.special = [0, 2, 3]
    assert drawn(alone, [1, 3], 20) == [(1, 3)] * 20, "there is no other word"


def loss_and_gradient(made: MaximumLikelihood, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    loss = made(batch, Progress(2, Key.of(1, 2))).terms["tokens"]
    return loss.detach(), list(torch.autograd.grad(loss, list(made.parameters())))


def test_the_loss_is_mle_of_the_drawn_targets_after_the_drawn_words() -> None:
    made = objective(0.7, 13, None)
    batch = random_batch(target_vocab_size=13)
    key = Key.of(1, 2).fold("targets")
    words, sources = [], []
    for row in range(len(batch)):
        length = int(batch.target_lengths_B[row])
        position = torch.arange(length)
        own = made.draw(batch.targets_BT[row, :length], torch.full((length,), int(batch.index_B[row])), position, key)
        words.append(own[:-1].numpy())
        sources.append(batch.source_BS[row, : int(batch.source_lengths_B[row]) - 1].numpy())
    drawn_batch = make_batch(batch.index_B.numpy(), sources, words, source_pad=0, target_pad=0, bos=2, eos=3, source_eos=3)
    assert not torch.equal(drawn_batch.targets_BT, batch.targets_BT)
    loss, gradient = loss_and_gradient(made, batch)
    expected, expected_gradient = loss_and_gradient(MaximumLikelihood(made.model, made.output), drawn_batch)
    assert_close(loss, expected, rtol=1e-12, atol=0)
    for own, other in zip(gradient, expected_gradient, strict=True):
        assert_close(own, other, rtol=1e-10, atol=1e-12)
    changed = made(batch, Progress(2, Key.of(1, 2))).metrics["changed"]
    assert int(changed) == int((drawn_batch.targets_BT != batch.targets_BT).sum())
    assert made.evaluate(batch)["nll"] == MaximumLikelihood(made.model, made.output).evaluate(batch)["nll"]


def test_the_context_of_a_block_stays() -> None:
    made = objective(1e300, 13, None)
    random = np.random.default_rng(3)
    contexts = [0, 3, 7]
    batch = make_block_batch(range(3), [random.integers(4, 13, size=9) for _ in contexts], contexts, 0)
    seen: list[Batch] = []
    made.model.hidden_states = lambda given: seen.append(given) or torch.zeros(len(given.valid_N), 6, dtype=torch.float64)
    made(batch, Progress(0, Key.of(1, 0)))
    read = seen[0]
    for row, context in enumerate(contexts):
        assert torch.equal(read.inputs_BT[row, : context + 1], batch.inputs_BT[row, : context + 1])
        assert torch.equal(read.targets_BT[row, :context], batch.targets_BT[row, :context])
    assert torch.equal(read.inputs_BT[:, 1:], read.targets_BT[:, :-1])
    assert (read.targets_BT != batch.targets_BT).sum() > 8


def test_what_is_drawn_depends_on_seed_update_example_and_position_alone() -> None:
    made, batch = objective(0.7, 13, None), random_batch(target_vocab_size=13)
    key = Key.of(1, 2)
    whole_N = made.draw(batch.targets_N, batch.examples_N, batch.positions_N, key)
    order_N = torch.randperm(len(whole_N), generator=torch.Generator().manual_seed(1))[: len(whole_N) // 2]
    part_N = made.draw(batch.targets_N[order_N], batch.examples_N[order_N], batch.positions_N[order_N], key)
    assert torch.equal(part_N, whole_N[order_N])
    others = replace(batch, index_B=batch.index_B + 1)
    assert not torch.equal(made.draw(others.targets_N, others.examples_N, others.positions_N, key), whole_N)
    assert not torch.equal(made.draw(batch.targets_N, batch.examples_N, batch.positions_N, Key.of(1, 3)), whole_N)
