"""Importance sampling and noise-contrastive estimation against the expectations they stand for.

Where q is uniform and every word is drawn equally often, a sum over the sample is an expectation, with no noise left.

Shapes: N predictions, D hidden, V words, K sampled words.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.config.parts import part
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import NoiseKey, OutputLayer

V, D, N = 7, 4, 5
COUNTS = np.array([0, 10, 3, 50, 1, 0, 8])
TARGETS = torch.tensor([3, 0, 6, 3, 1])


def layer_of(choice: str, **settings: object) -> OutputLayer:
    torch.manual_seed(0)
    layer = build.output_layer(choice, hidden_size=D, vocab_size=V, counts=COUNTS, settings=settings).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return layer


def hidden() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()


def noise(update: int = 0) -> NoiseKey:
    return NoiseKey(Key.of(1, update), torch.arange(N), torch.arange(N) % 2)


def log_q(layer) -> Tensor:
    return layer.log_kq(torch.arange(V)) - math.log(layer.samples)


def full_scores(layer, hidden_ND: Tensor) -> Tensor:
    return torch.nn.functional.linear(hidden_ND, layer.softmax.weight, layer.softmax.bias)


def gradients(layer: OutputLayer, value: Tensor, hidden_ND: Tensor) -> list[Tensor]:
    parameters = [p for p in layer.parameters() if p.requires_grad]
    found = torch.autograd.grad(value, [hidden_ND, *parameters], allow_unused=True)
    return [torch.zeros_like(p) if g is None else g.to_dense() for g, p in zip(found, [hidden_ND, *parameters], strict=True)]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("samples", [1, 3, 50])
@pytest.mark.parametrize("include_target", [True, False])
def test_the_gradient_is_the_self_normalised_form(shared: bool, samples: int, include_target: bool) -> None:
    """-ds(y) + sum_k r_k ds(v_k) / sum_k r_k at any K; with the target in the sum, r = exp s(y) for it and hits left out."""
    layer = layer_of("importance", shared=shared, samples=samples, include_target=include_target)
    hidden_ND, words_NK = hidden(), layer.draw(noise()).expand(N, -1)
    score_NV = full_scores(layer, hidden_ND)
    r_NK = (score_NV.gather(1, words_NK) - log_q(layer)[words_NK]).exp().detach() / samples
    if include_target:
        r_NK = torch.where(words_NK == TARGETS[:, None], 0.0, r_NK)
    weight_NV = torch.zeros(N, V, dtype=torch.float64).scatter_add(1, words_NK, r_NK)
    if include_target:
        weight_NV = weight_NV.scatter_add(1, TARGETS[:, None], score_NV.gather(1, TARGETS[:, None]).exp().detach())
    weight_NV = weight_NV / weight_NV.sum(1, keepdim=True)
    surrogate = (weight_NV * score_NV).sum() - score_NV.gather(1, TARGETS[:, None]).sum()
    expected = gradients(layer, surrogate, hidden_ND)
    found = gradients(layer, layer.loss(hidden_ND, TARGETS, noise=noise()).sum(), hidden_ND)
    assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("include_target", [True, False])
@pytest.mark.parametrize("proposal", ["unigram", "uniform", "log_uniform"])
def test_the_estimate_of_z_is_unbiased(include_target: bool, proposal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of exp(L + s(y)) over the one word drawn, enumerated, is Z."""
    layer = layer_of("importance", samples=1, proposal=proposal, include_target=include_target)
    hidden_ND = hidden()
    score_NV = full_scores(layer, hidden_ND)
    score_N = score_NV.gather(1, TARGETS[:, None]).squeeze(1)
    mean_N = torch.zeros(N, dtype=torch.float64)
    for word in range(V):
        monkeypatch.setattr(layer, "draw", lambda key, word=word: torch.tensor([[word]]))
        mean_N = mean_N + log_q(layer)[word].exp() * (layer.loss(hidden_ND, TARGETS, noise=noise()) + score_N).exp()
    assert_close(mean_N, score_NV.exp().sum(1), rtol=1e-10, atol=0)


def test_including_the_target_keeps_the_loss_above_0() -> None:
    layer = layer_of("importance", samples=2)
    losses = torch.stack([layer.loss(hidden(), TARGETS, noise=noise(update)) for update in range(50)])
    assert (losses >= 0).all()
    plain = layer_of("importance", samples=2, include_target=False)
    assert min(float(plain.loss(hidden(), TARGETS, noise=noise(update)).min().detach()) for update in range(50)) < 0


def test_the_mean_gradient_approaches_the_true_one_as_k_grows() -> None:
    hidden_ND = hidden()
    exact = layer_of("importance")
    true = gradients(exact, -exact.score(hidden_ND, TARGETS).sum(), hidden_ND)[0]
    errors = []
    for samples in (2, 20, 200):
        layer = layer_of("importance", samples=samples)
        loss = torch.stack([layer.loss(hidden_ND, TARGETS, noise=noise(update)).sum() for update in range(100)]).mean()
        errors.append(float((gradients(layer, loss, hidden_ND)[0] - true).norm() / true.norm()))
    # The bias falls as 1 / K; what is left at the end is the noise of the draws.
    assert errors[0] > 1.5 * errors[1] > 5 * errors[2] and errors[2] < 0.05, errors


@pytest.mark.parametrize("normaliser", ["zero", "constant", "linear"])
def test_nce_tends_to_the_limit_of_many_noise_words(normaliser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """-dDelta(y) + sum_v exp(s + z) dDelta(v), whatever log Z + z is."""
    layer = layer_of("nce", normaliser=normaliser, proposal="uniform", samples=V * 20_000)
    monkeypatch.setattr(layer, "draw", lambda key: torch.arange(V).repeat_interleave(20_000)[None])
    hidden_ND = hidden()[:2].detach().requires_grad_()
    delta_NV = full_scores(layer, hidden_ND) + layer._z(hidden_ND)[:, None]
    surrogate = (delta_NV.exp().detach() * delta_NV).sum() - delta_NV.gather(1, TARGETS[:2, None]).sum()
    expected = gradients(layer, surrogate, hidden_ND)
    found = gradients(layer, layer.loss(hidden_ND, TARGETS[:2], noise=noise()).sum(), hidden_ND)
    assert_close(found, expected, rtol=0, atol=5e-3)


def test_nce_has_the_likelihoods_gradient_where_it_is_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of("nce", normaliser="constant", proposal="uniform", samples=V * 20_000)
    monkeypatch.setattr(layer, "draw", lambda key: torch.arange(V).repeat_interleave(20_000)[None])
    hidden_ND = hidden()[:1].detach().requires_grad_()
    with torch.no_grad():
        layer.z_bias.copy_(-full_scores(layer, hidden_ND).logsumexp(1)[0])
    assert float(layer.monitors(hidden_ND, TARGETS[:1])["log_z"].detach()) == pytest.approx(0, abs=1e-12)
    found = gradients(layer, layer.loss(hidden_ND, TARGETS[:1], noise=noise()).sum(), hidden_ND)[0]
    true = gradients(layer, -layer.score(hidden_ND, TARGETS[:1]).sum(), hidden_ND)[0]
    assert_close(found, true, rtol=0, atol=5e-3)


@pytest.mark.parametrize("hits", ["keep", "remove"])
@pytest.mark.parametrize("shared", [True, False])
def test_nce_is_its_definition(hits: str, shared: bool) -> None:
    layer = layer_of("nce", normaliser="linear", accidental_hits=hits, shared=shared, samples=9)
    hidden_ND, words_NK = hidden(), layer.draw(noise()).expand(N, -1)
    score_NV, z_N = full_scores(layer, hidden_ND), hidden_ND @ layer.z_weight + layer.z_bias
    expected = []
    for n, target in enumerate(TARGETS.tolist()):
        delta = [float((score_NV[n, v] + z_N[n]).detach()) - math.log(9) - float(log_q(layer)[v]) for v in range(V)]
        loss = math.log1p(math.exp(-delta[target]))
        for word in words_NK[n].tolist():
            if not (hits == "remove" and word == target):
                loss += math.log1p(math.exp(delta[word]))
        expected.append(loss)
    assert (words_NK == TARGETS[:, None]).any()
    assert_close(layer.loss(hidden_ND, TARGETS, noise=noise()), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def test_nce_starts_at_the_unigram_distribution() -> None:
    layer = build.output_layer("nce", hidden_size=D, vocab_size=V, counts=COUNTS)
    floored = torch.as_tensor(COUNTS.clip(1))
    assert_close(layer.log_probs(torch.zeros(1, D))[0].exp(), (floored / floored.sum()).float())


@pytest.mark.parametrize(("proposal", "alpha"), [("unigram", 1.0), ("unigram", 0.5), ("uniform", 1.0), ("log_uniform", 1.0)])
@pytest.mark.parametrize("shared", [True, False])
def test_words_are_drawn_from_the_proposal(proposal: str, alpha: float, shared: bool) -> None:
    samples = 30_000 if shared else 6_000
    layer = layer_of("importance", proposal=proposal, alpha=alpha, shared=shared, samples=samples)
    ranks = {3: 1, 1: 2, 6: 3, 2: 4, 0: 5, 4: 6, 5: 7}  # zero counts as one, and the lower id first
    q = {
        "unigram": [max(1, int(c)) ** alpha for c in COUNTS],
        "uniform": [1.0] * V,
        "log_uniform": [math.log((ranks[word] + 1) / ranks[word]) for word in range(V)],
    }[proposal]
    expected_V = np.array(q) / sum(q)
    np.testing.assert_allclose(log_q(layer).exp().numpy(), expected_V, rtol=1e-12)
    words = layer.draw(noise())
    assert words.shape == ((1 if shared else N), samples)
    observed_V = np.bincount(words.flatten().numpy(), minlength=V)
    total = observed_V.sum()
    assert chi2.sf(((observed_V - total * expected_V) ** 2 / (total * expected_V)).sum(), V - 1) > 1e-4


def test_words_depend_on_the_update_and_the_prediction_alone() -> None:
    shared, own = layer_of("importance", samples=40), layer_of("importance", samples=40, shared=False)
    assert shared.draw(noise(1)).equal(shared.draw(NoiseKey(Key.of(1, 1), torch.arange(2), torch.arange(2))))
    assert not shared.draw(noise(1)).equal(shared.draw(noise(2)))
    rows = torch.tensor([4, 1])
    some = own.draw(NoiseKey(Key.of(1, 0), torch.arange(N)[rows], (torch.arange(N) % 2)[rows]))
    assert some.equal(own.draw(noise())[rows])
    assert len({tuple(row) for row in own.draw(noise()).tolist()}) == N


@pytest.mark.parametrize("choice", ["importance", "nce"])
@pytest.mark.parametrize("shared", [True, False])
def test_only_the_rows_of_words_that_occur_get_a_gradient(choice: str, shared: bool) -> None:
    layer = layer_of(choice, samples=1, shared=shared)
    layer.loss(hidden(), torch.tensor([3, 0, 3, 0, 3]), noise=noise()).sum().backward()
    gradient = layer.softmax.weight.grad
    touched = set(layer.draw(noise()).flatten().tolist()) | {0, 3}
    assert gradient.is_sparse and set(gradient.coalesce().indices()[0].tolist()) == touched


@pytest.mark.parametrize("choice", ["importance", "nce"])
def test_a_tied_table_has_dense_gradients(choice: str) -> None:
    embedding = torch.nn.Parameter(torch.randn(V, D))
    settings = {"tied": True, "_target_": type(layer_of(choice)).__module__ + "." + type(layer_of(choice)).__name__}
    layer = part(settings, "output", {})(hidden_size=D, vocab_size=V, counts_V=torch.as_tensor(COUNTS), embedding=embedding)
    assert layer.softmax.weight is embedding
    layer.loss(hidden().detach().float(), TARGETS, noise=noise()).sum().backward()
    assert embedding.grad is not None and not embedding.grad.is_sparse


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("proposal", ["unigram", "uniform", "log_uniform"])
def test_effective_samples_are_those_of_the_ratios_drawn(proposal: str, shared: bool) -> None:
    """(sum r)^2 / sum r^2 for each prediction, from r = exp(s) / q of every word drawn; ratios are as unequal as they come."""
    layer = layer_of("importance", proposal=proposal, shared=shared, samples=9)
    with torch.no_grad():
        layer.softmax.weight.mul_(4)
    nothing_N = torch.zeros(N, dtype=torch.int64)
    words_NK = layer.draw(NoiseKey(Key.of("monitor"), nothing_N, nothing_N)).expand(N, -1)
    ratio_NV = (full_scores(layer, hidden()) - log_q(layer)).exp()
    total = 0.0
    for ratio_V, words_K in zip(ratio_NV.tolist(), words_NK.tolist(), strict=True):
        drawn = [ratio_V[word] for word in words_K]
        total += sum(drawn) ** 2 / sum(ratio**2 for ratio in drawn)
    assert float(layer.monitors(hidden(), TARGETS)["effective_samples"].detach()) == pytest.approx(total, rel=1e-10)
    assert N < total < 9 * N - 1


def test_monitors() -> None:
    """Uniform ratios use all samples; the first word's share of the mass shows in log Z."""
    layer = layer_of("importance", proposal="uniform", samples=30)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert float(layer.monitors(hidden(), TARGETS)["effective_samples"].detach()) == pytest.approx(30 * N, rel=1e-5)
    model = layer_of("nce", normaliser="linear")
    hidden_ND = hidden().detach()
    log_z_N = full_scores(model, hidden_ND).logsumexp(1) + model._z(hidden_ND)
    figures = model.monitors(hidden_ND, TARGETS)
    assert_close(figures["log_z"], log_z_N.sum().detach(), rtol=0, atol=1e-10)
    assert_close(figures["log_z_squared"], log_z_N.square().sum().detach(), rtol=0, atol=1e-10)
