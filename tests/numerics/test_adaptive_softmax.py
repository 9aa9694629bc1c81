"""The adaptive softmax against torch.nn.AdaptiveLogSoftmaxWithLoss, which wants words in the order of their frequency.

Shapes: N predictions, D hidden, V words.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.errors import RequestError

V, D = 60, 64


def pair(cutoffs: list[int], div_value: float, head_bias: bool):
    """Our layer over words in random order, torch's over their ranks, with the same weights; and the rank of each word."""
    torch.manual_seed(0)
    counts_V = np.random.default_rng(0).permutation(V) * 10
    settings = {"cutoffs": cutoffs, "div_value": div_value, "head_bias": head_bias}
    ours = build.output_layer("adaptive_softmax", hidden_size=D, vocab_size=V, counts=counts_V, settings=settings).double()
    theirs = nn.AdaptiveLogSoftmaxWithLoss(D, V, cutoffs, div_value, head_bias).double()
    with torch.no_grad():
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            its.copy_(mine.normal_())
    rank_V = torch.as_tensor(np.argsort(np.argsort(-counts_V)))
    return ours, theirs, rank_V


@pytest.mark.parametrize("cutoffs", [[10], [5, 20], [1, 2, 59]])
@pytest.mark.parametrize(("div_value", "head_bias"), [(4.0, False), (1.5, True)])
def test_equals_torchs(cutoffs: list[int], div_value: float, head_bias: bool) -> None:
    ours, theirs, rank_V = pair(cutoffs, div_value, head_bias)
    hidden_ND = torch.randn(30, D, dtype=torch.float64)
    target_N = torch.randint(V, (30,))
    assert_close(ours.log_probs(hidden_ND), theirs.log_prob(hidden_ND)[:, rank_V], rtol=0, atol=1e-10)
    weights_N = torch.rand(30, dtype=torch.float64)
    ours.loss(hidden_ND, target_N, weights_N=weights_N).backward()
    (-theirs(hidden_ND, rank_V[target_N]).output * weights_N).sum().backward()
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        # torch leaves a cluster without targets without gradients.
        assert_close(mine.grad, torch.zeros_like(its) if its.grad is None else its.grad, rtol=0, atol=1e-10)


def test_monitors_are_the_mass_of_the_head_s_words_and_of_each_cluster() -> None:
    """Against the whole distribution, words by their rank."""
    ours, _, rank_V = pair([5, 20, 45], 2.0, True)
    hidden_ND = torch.randn(7, D, dtype=torch.float64)
    mass_V = ours.log_probs(hidden_ND).exp().sum(0)
    ranges = {"mass_of_head": (0, 5), "mass_of_cluster_1": (5, 20), "mass_of_cluster_2": (20, 45), "mass_of_cluster_3": (45, V)}
    found = ours.monitors(hidden_ND, torch.zeros(7, dtype=torch.int64))
    assert found.keys() == ranges.keys()
    for name, (low, high) in ranges.items():
        assert_close(found[name], mass_V[(rank_V >= low) & (rank_V < high)].sum(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("cutoffs", [[0], [60], [20, 20], [30, 10]])
def test_cutoffs_must_rise_inside_the_vocabulary(cutoffs: list[int]) -> None:
    with pytest.raises(RequestError, match=r"output\.cutoffs"):
        build.output_layer("adaptive_softmax", hidden_size=D, vocab_size=V, settings={"cutoffs": cutoffs})


@pytest.mark.parametrize("vocab_size", [1, 2, 3, 7, 1000])
def test_default_cutoffs_suit_any_vocabulary(vocab_size: int) -> None:
    layer = build.output_layer("adaptive_softmax", hidden_size=D, vocab_size=vocab_size)
    p_NV = layer.log_probs(torch.randn(3, D)).exp()
    assert p_NV.shape == (3, vocab_size)
    assert_close(p_NV.sum(1), torch.ones(3))


@pytest.mark.parametrize("scale", [0.0, 4.0], ids=["flat", "peaked"])
def test_the_best_words_are_exact_and_clusters_stay_closed_where_they_can(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _, _ = pair([5, 20], 2.0, True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(scale)
    hidden_ND = torch.randn(40, D, dtype=torch.float64)
    log_p_NV = ours.log_probs(hidden_ND)
    opened: list[int] = []
    tail = ours._tail
    monkeypatch.setattr(ours, "_tail", lambda rows, number: opened.append(len(rows)) or tail(rows, number))
    for k in (1, 6, 30):
        best_Nk, id_Nk = ours.topk(hidden_ND, k)
        assert_close(best_Nk, log_p_NV.topk(k).values, rtol=0, atol=1e-10)
        assert_close(log_p_NV.gather(1, id_Nk), best_Nk, rtol=0, atol=1e-10)
    opened.clear()
    ours.topk(hidden_ND, 1)
    assert sum(opened) <= (80 if scale == 0 else 70)
