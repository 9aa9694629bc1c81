"""The laws every output layer keeps (SPEC.md section 2), over every YAML of configs/output, by enumeration in float64.

Shapes: N predictions, D hidden, V words.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import chi2
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.config.listing import read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs import base
from seqgen_cli.outputs.base import Draw, NoiseKey, OutputLayer
from tests.helpers import choices
from tests.pairs import pairs

D = 5
SIZES = [2, 3, 7, 50, 257]
ESTIMATED = frozenset({"importance", "nce"})
"""Choices whose training loss is an estimate, not -score; their own tests check its expectation."""


OPTIONS = [
    "binary_tree order=random",
    "binary_tree dense_nodes=1 unigram_bias=false",
    "huffman_tree dense_nodes=1",
    "huffman_tree dense_nodes=20 unigram_bias=false",
    "class_softmax grouping=equal_mass",
    "class_softmax grouping=random num_classes=2",
    "class_softmax num_classes=1",
    "class_softmax num_classes=50",
    "class_softmax num_classes=257 grouping=equal_mass",
    "adaptive_softmax cutoffs=[1] head_bias=true",
    "adaptive_softmax cutoffs=[1,2,30] div_value=1.5",
    "importance shared=false proposal=log_uniform samples=3",
    "importance include_target=false proposal=uniform samples=20",
    "nce normaliser=linear shared=false samples=5",
    "nce normaliser=constant accidental_hits=remove proposal=log_uniform",
]
"""Choices under other settings than those of their YAML."""

SIZES_OF = {
    "sigmoid": [2],
    "class_softmax num_classes=50": [50, 257],
    "class_softmax num_classes=257 grouping=equal_mass": [257],
    "adaptive_softmax cutoffs=[1,2,30] div_value=1.5": [50, 257],
}
"""The sizes that layers are for which are not for all."""

NOT_FOR_SO_MANY_WORDS = "tells two classes apart|is more than the|output.cutoffs"
"""What a refusal says that is about the number of words."""


def output_layer(choice: str, hidden_size: int, vocab_size: int, counts_V: Tensor) -> OutputLayer:
    """configs/output/<choice>.yaml as a run makes it, "choice key=value ..."."""
    name, *changes = choice.split()
    settings = {**read_settings(f"output/{name}"), **{key: yaml.safe_load(text) for key, text in (c.split("=") for c in changes)}}
    made: OutputLayer = part(settings, "output", {})(hidden_size=hidden_size, vocab_size=vocab_size, counts_V=counts_V)
    return made


def counts(vocab_size: int) -> Tensor:
    """Zipfian counts in random order; the rarest words never occur."""
    random = np.random.default_rng(vocab_size)
    return torch.from_numpy(random.permutation((1000 / np.arange(1, vocab_size + 1) ** 1.2 - 5).clip(0).astype(np.int64)))


def random_layer(choice: str, vocab_size: int) -> OutputLayer:
    """In float64 and evaluation mode, weights far from their initial symmetry."""
    torch.manual_seed(vocab_size)
    layer = output_layer(choice, D, vocab_size, counts(vocab_size)).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    return layer


def hidden(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def targets(rows: int, vocab_size: int) -> Tensor:
    return torch.randint(vocab_size, (rows,), generator=torch.Generator().manual_seed(9))


def noise(rows: int) -> NoiseKey:
    return NoiseKey(Key.of(1, "output"), torch.arange(rows), torch.zeros(rows, dtype=torch.int64))


def dense_gradients(layer: nn.Module) -> list[Tensor]:
    """Of every parameter: 0 where it has none, and the row-sparse ones with all their rows."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in layer.parameters()]
    return [gradient.to_dense() for gradient in gradients]


LAYERS = [*choices("output"), *OPTIONS]


def fits(choice: str, vocab_size: int, *_: object) -> bool:
    return vocab_size in SIZES_OF.get(choice, SIZES)


every_layer = pytest.mark.parametrize("choice", LAYERS)
every_size = pytest.mark.parametrize(("choice", "vocab_size"), pairs(LAYERS, SIZES, fits=fits))
few_and_many = pytest.mark.parametrize(("choice", "vocab_size"), pairs(LAYERS, [2, 257], fits=fits))


@pytest.mark.parametrize("choice", SIZES_OF)
def test_a_layer_refuses_as_many_words_as_it_is_not_for(choice: str) -> None:
    for vocab_size in set(SIZES) - set(SIZES_OF[choice]):
        with pytest.raises(RequestError, match=NOT_FOR_SO_MANY_WORDS):
            random_layer(choice, vocab_size)


@every_size
def test_probabilities_sum_to_one(choice: str, vocab_size: int) -> None:
    log_p_NV = random_layer(choice, vocab_size).log_probs(hidden(20))
    assert log_p_NV.shape == (20, vocab_size)
    assert_close(log_p_NV.exp().sum(-1), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-10)


@every_size
def test_score_is_the_entry_of_the_full_distribution(choice: str, vocab_size: int) -> None:
    layer = random_layer(choice, vocab_size)
    every_word = torch.arange(vocab_size).repeat(4)
    hidden_ND = hidden(4).repeat_interleave(vocab_size, dim=0)
    assert_close(layer.score(hidden_ND, every_word).view(4, vocab_size), layer.log_probs(hidden(4)), rtol=0, atol=1e-10)


@every_size
def test_score_and_distribution_have_the_same_gradient(choice: str, vocab_size: int) -> None:
    """The gradient of score equals autograd of the entry of log_probs, in the hidden vectors and in every parameter."""
    layer, target_N = random_layer(choice, vocab_size), targets(20, vocab_size)
    weights_N = hidden(20, seed=2)[:, 0]
    gradients = []
    for score in (layer.score, lambda h, y: layer.log_probs(h).gather(1, y[:, None]).squeeze(1)):
        hidden_ND = hidden(20).requires_grad_()
        layer.zero_grad()
        (score(hidden_ND, target_N) * weights_N).sum().backward()
        gradients.append([hidden_ND.grad, *dense_gradients(layer)])
    assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("choice", "vocab_size", "weighted"),
    pairs([choice for choice in LAYERS if choice.split()[0] not in ESTIMATED], SIZES, [False, True], fits=fits),
)
def test_exact_loss_is_minus_score(choice: str, vocab_size: int, weighted: bool) -> None:
    layer, target_N = random_layer(choice, vocab_size).train(), targets(20, vocab_size)
    weights_N = hidden(20, seed=2)[:, 0]
    gradients, values = [], []
    for ours in (True, False):
        hidden_ND = hidden(20).requires_grad_()
        layer.zero_grad()
        if not ours:
            value = -(layer.score(hidden_ND, target_N) * weights_N).sum()
        elif weighted:
            value = layer.loss(hidden_ND, target_N, weights_N=weights_N, noise=noise(20))
        else:
            value = (layer.loss(hidden_ND, target_N, noise=noise(20)) * weights_N).sum()
        value.backward()
        values.append(value.detach())
        gradients.append([hidden_ND.grad, *dense_gradients(layer)])
    assert_close(values[0], values[1], rtol=0, atol=1e-10)
    assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


@every_size
def test_topk_sorts_the_distribution(choice: str, vocab_size: int) -> None:
    layer, hidden_ND = random_layer(choice, vocab_size), hidden(20)
    reference, ids = layer.log_probs(hidden_ND).sort(dim=-1, descending=True)
    for k in {1, min(5, vocab_size), vocab_size}:
        best_Nk, id_Nk = layer.topk(hidden_ND, k)
        assert_close(best_Nk, reference[:, :k], rtol=0, atol=1e-10)
        assert id_Nk.equal(ids[:, :k])


@every_size
def test_topk_leaves_out_excluded_words(choice: str, vocab_size: int) -> None:
    """Some rows exclude nothing, some a word twice, some all words but one; the rest keeps its probabilities."""
    layer, hidden_ND = random_layer(choice, vocab_size), hidden(4)
    exclude_NX = torch.full((4, vocab_size), -1)
    exclude_NX[1, :2] = 1
    exclude_NX[2, 1:] = torch.arange(1, vocab_size)
    exclude_NX[3, 0] = 0
    log_p_NV = layer.log_probs(hidden_ND)
    for row in range(4):
        for word in exclude_NX[row].tolist():
            if word >= 0:
                log_p_NV[row, word] = float("-inf")
    k = min(3, vocab_size)
    best_Nk, id_Nk = layer.topk(hidden_ND, k, exclude_NX)
    reference = log_p_NV.topk(k)
    assert_close(best_Nk, reference.values, rtol=0, atol=1e-10)
    exists_Nk = reference.values > float("-inf")
    assert id_Nk[exists_Nk].equal(reference.indices[exists_Nk])


def sampled(layer: OutputLayer, draws: int, uniform: Tensor | None = None, **cut: object) -> Tensor:
    """Share of each word among draws from one hidden vector, at evenly spaced uniforms unless given: (V,)."""
    uniform_N = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws if uniform is None else uniform
    words_N = torch.cat(
        [layer.sample(hidden(1).expand(len(part), -1), Draw(part, **cut)) for part in uniform_N.split(4000)]  # type: ignore[arg-type]
    )
    return torch.bincount(words_N, minlength=layer.vocab_size) / draws


@every_size
def test_samples_follow_the_distribution(choice: str, vocab_size: int) -> None:
    layer, draws = random_layer(choice, vocab_size), 20_000
    share_V = sampled(layer, draws, Key.of(vocab_size, "draws").uniform(torch.arange(draws)))
    p_V = layer.log_probs(hidden(1))[0].exp().detach()
    often_V = p_V * draws >= 5  # rarer words are counted together
    expected = torch.cat([p_V[often_V], p_V[~often_V].sum()[None]]) * draws
    observed = torch.cat([share_V[often_V], share_V[~often_V].sum()[None]]) * draws
    statistic = ((observed - expected).square() / expected.clamp_min(1e-3)).sum()
    assert chi2.sf(float(statistic), len(expected) - 1) > 1e-4


def naive(p_V: np.ndarray, temperature: float, top_k: int, top_p: float, excluded: list[int]) -> np.ndarray:
    """The distribution that `OutputLayer.sample` describes, word by word."""
    p = p_V.copy() ** (1 / temperature)
    p[excluded] = 0
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda word: -p[word])
    if top_k:
        p[order[top_k:]] = 0
        p /= p.sum()
    mass = 0.0
    for word in order:
        p[word], mass = (0.0 if mass >= top_p else p[word]), mass + p[word]
    return p / p.sum()


CUTS = [
    (1.0, 0, 1.0, True),
    (0.5, 0, 1.0, False),
    (2.0, 3, 1.0, False),
    (1.0, 0, 0.7, False),
    (1.5, 4, 0.6, True),
    (1.0, 1, 1.0, True),
]
"""Temperature, top_k, top_p, and whether the likeliest word is excluded."""


@pytest.mark.parametrize(("choice", "vocab_size", "cut"), pairs(LAYERS, SIZES, CUTS, fits=fits), ids=str)
def test_sampling_is_cut_as_described(choice: str, vocab_size: int, cut: tuple[float, int, float, bool]) -> None:
    """At n evenly spaced uniforms, inverting the cumulative distribution draws each word n p times, to within one."""
    (temperature, top_k, top_p, exclude), draws = cut, 4000
    layer = random_layer(choice, vocab_size)
    p_V = layer.log_probs(hidden(1))[0].exp().detach().numpy()
    excluded = [int(p_V.argmax())] if exclude else []
    rows = torch.tensor([[*excluded, -1]]).expand(draws, -1)
    share_V = sampled(layer, draws, temperature=temperature, top_k=top_k, top_p=top_p, exclude_NX=rows)
    expected_V = naive(p_V, temperature, top_k, top_p, excluded)
    assert np.abs(share_V.numpy() - expected_V).max() <= 2 / draws
    assert not share_V[torch.from_numpy(expected_V == 0)].any()


@pytest.mark.parametrize("choice", [choice for choice in LAYERS if fits(choice, 2)])
def test_sampling_says_where_every_word_is_excluded(choice: str) -> None:
    layer = random_layer(choice, 2)
    exclude_NX = torch.tensor([[0, 1], [0, -1]])
    for top_k in (0, 1):
        drawn = layer.sample(hidden(2), Draw(torch.tensor([0.3, 0.7], dtype=torch.float64), top_k=top_k, exclude_NX=exclude_NX))
        assert drawn.tolist() == [-1, 1]


@every_size
def test_the_only_word_left_is_drawn_however_improbable(choice: str, vocab_size: int) -> None:
    """All others are excluded, some twice; its own probability may be as small as exp(-400)."""
    layer = random_layer(choice, vocab_size)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(10)
    left = int(layer.log_probs(hidden(1))[0].argmin())
    others = torch.tensor([word for word in range(vocab_size) if word != left])
    exclude_NX = torch.cat([others, others[:2], torch.tensor([-1])]).expand(3, -1)
    uniform_N = torch.tensor([1e-9, 0.5, 1 - 1e-9], dtype=torch.float64)
    assert layer.sample(hidden(1).expand(3, -1), Draw(uniform_N, exclude_NX=exclude_NX)).tolist() == [left] * 3


@every_layer
def test_search_and_sampling_take_some_rows_at_a_time(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row finds its own words, under its own exclusions and by its own number, and few distributions are held at once."""
    layer, rows = random_layer(choice, SIZES_OF.get(choice, SIZES)[-1]), 5
    hidden_ND, uniform_N = hidden(rows), Key.of(3).uniform(torch.arange(rows))
    exclude_NX = layer.log_probs(hidden_ND).topk(1).indices  # another word in most rows
    exclude_NX[0] = -1
    sizes: list[int] = []
    whole = layer.log_probs

    def log_probs(hidden_ND: Tensor) -> Tensor:
        sizes.append(len(hidden_ND))
        return whole(hidden_ND)

    def found() -> list[Tensor]:
        cuts = [(1.0, 0, 1.0), (2.0, 0, 1.0), (1.0, 3, 0.9)]
        return [
            *layer.topk(hidden_ND, 1, exclude_NX),
            *(layer.sample(hidden_ND, Draw(uniform_N, *cut, exclude_NX)) for cut in cuts),
        ]

    expected = found()
    monkeypatch.setattr(base, "_LEAST_ROWS", 2)
    monkeypatch.setattr(base, "_CHUNK_ELEMENTS", 1)
    layer.log_probs = log_probs  # type: ignore[method-assign]
    for own, wanted in zip(found(), expected, strict=True):
        assert_close(own, wanted, rtol=0, atol=1e-10)
    assert max(sizes, default=0) <= 2


@few_and_many
def test_no_predictions(choice: str, vocab_size: int) -> None:
    layer = random_layer(choice, vocab_size).train()
    hidden_ND, none_N = hidden(0).requires_grad_(), torch.zeros(0, dtype=torch.int64)
    loss = layer.loss(hidden_ND, none_N, weights_N=torch.zeros(0, dtype=torch.float64), noise=noise(0))
    loss.backward()
    assert float(loss.detach()) == 0 and hidden_ND.grad is not None and hidden_ND.grad.shape == (0, D)
    assert layer.loss(hidden_ND, none_N, noise=noise(0)).shape == (0,) and layer.score(hidden_ND, none_N).shape == (0,)
    for k in (1, 2):
        assert [part.shape for part in layer.topk(hidden_ND, k, none_N[:, None])] == [(0, k)] * 2
    for temperature in (1.0, 2.0):
        assert layer.sample(hidden_ND, Draw(none_N.double(), temperature, exclude_NX=none_N[:, None])).shape == (0,)


@few_and_many
def test_rows_do_not_depend_on_each_other(choice: str, vocab_size: int) -> None:
    layer, target_N = random_layer(choice, vocab_size), targets(6, vocab_size)
    together = layer.score(hidden(6), target_N)
    alone = torch.cat([layer.score(hidden(6)[row : row + 1], target_N[row : row + 1]) for row in range(6)])
    assert_close(together, alone, rtol=0, atol=1e-12)


def on_a_grid(choice: str, vocab_size: int, steps: int) -> tuple[OutputLayer, Tensor]:
    """Hidden vectors of whole numbers and weights of multiples of 1/steps, up to 1: float32 adds their products up exactly, in
    any order, and bfloat16 holds the sums where steps are few. Biases are what they like."""
    layer, random = output_layer(choice, D, vocab_size, counts(vocab_size)).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randint(-steps, steps + 1, parameter.shape, generator=random) / steps)
            else:
                parameter.copy_(3 * torch.randn(parameter.shape, generator=random) - 6)
    return layer, torch.randint(-steps, steps + 1, (20, D), generator=random).float()


@few_and_many
def test_score_is_the_entry_of_the_distribution_under_autocast(choice: str, vocab_size: int) -> None:
    """And what search finds is sorted by it: products are rounded alike, or in none of them."""
    layer, hidden_ND = on_a_grid(choice, vocab_size, steps=128)
    every_word = torch.arange(vocab_size).repeat(20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        score_NV = layer.score(hidden_ND.repeat_interleave(vocab_size, dim=0), every_word).view(20, vocab_size)
        log_p_NV = layer.log_probs(hidden_ND)
        best_Nk, _ = layer.topk(hidden_ND, 2)
    scale = float(log_p_NV.abs().max())
    assert_close(score_NV, log_p_NV, rtol=0, atol=1e-6 * scale)
    assert_close(best_Nk, log_p_NV.topk(2).values, rtol=0, atol=1e-6 * scale)


@few_and_many
def test_autocast_rounds_the_products_alone(choice: str, vocab_size: int) -> None:
    """Where bfloat16 holds every product exactly, it changes nothing: biases, such as a rare word's -11.37, are not rounded."""
    layer, hidden_ND = on_a_grid(choice, vocab_size, steps=2)
    target_N = targets(20, vocab_size)

    def figures() -> list[Tensor]:
        with torch.no_grad():
            exact = [layer.score(hidden_ND, target_N), layer.log_probs(hidden_ND), layer.topk(hidden_ND, 1)[0]]
        return [layer.loss(hidden_ND, target_N, noise=noise(20)).detach(), *exact]

    expected = figures()
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(figures(), expected, rtol=1e-5, atol=1e-5)


@few_and_many
def test_runs_without_data(choice: str, vocab_size: int) -> None:
    """On the meta device: a stray CPU tensor or a hidden .item() fails."""
    with torch.device("meta"):
        layer: nn.Module = output_layer(choice, D, vocab_size, torch.ones(vocab_size, dtype=torch.int64))
        hidden_ND = torch.empty(4, D, requires_grad=True)
        target_N = torch.empty(4, dtype=torch.int64)
        key = NoiseKey(Key.of(1), target_N, target_N)
    assert isinstance(layer, OutputLayer)
    layer.loss(hidden_ND, target_N, weights_N=torch.empty(4, device="meta"), noise=key).backward()
    layer.loss(hidden_ND, target_N, noise=key).sum().backward()
    layer.score(hidden_ND, target_N).sum().backward()
    assert hidden_ND.grad is not None and hidden_ND.grad.shape == (4, D)
    assert layer.log_probs(hidden_ND).shape == (4, vocab_size)
    assert [part.shape for part in layer.topk(hidden_ND, 2, target_N[:, None])] == [(4, 2), (4, 2)]
    for top_p in (1.0, 0.5):
        uniform_N = torch.empty(4, dtype=torch.float64, device="meta")
        assert layer.sample(hidden_ND, Draw(uniform_N, top_p=top_p, exclude_NX=target_N[:, None])).device.type == "meta"
