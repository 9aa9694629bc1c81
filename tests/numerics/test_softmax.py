"""The chunked softmax against torch's cross-entropy: every chunk size, precision and way of taking the gradient.

Shapes: N predictions, D hidden, V words.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from seqgen_cli.outputs.base import Draw
from seqgen_cli.outputs.softmax import Softmax

N, D, V = 10, 6, 11
Way = Literal["stored", "recomputed"]
BOTH: tuple[Way, Way] = ("stored", "recomputed")
# Rows at once: 1, 3 (does not divide 10), 5, all of them, more than there are; below one row's worth it is still 1.
CHUNKS = [1, V, 3 * V + 5, 5 * V, 10 * V, 1000]


def layer(**settings: Any) -> Softmax:
    torch.manual_seed(1)
    made = Softmax(D, V, **settings).double()
    if made.bias is not None:
        nn.init.normal_(made.bias)
    return made


def inputs(rows: int = N) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden vectors, targets (some twice), weights of both signs and one 0."""
    random = torch.Generator().manual_seed(2)
    hidden_ND = 2 * torch.randn(rows, D, generator=random, dtype=torch.float64)
    weights_N = torch.randn(rows, generator=random, dtype=torch.float64)
    weights_N[:1] = 0
    return hidden_ND.requires_grad_(), torch.randint(V, (rows,), generator=random), weights_N


def reference(made: Softmax, hidden_ND: Tensor, target_N: Tensor, smoothing: float) -> Tensor:
    scores_NV = nn.functional.linear(hidden_ND, made.weight, made.bias)
    return cross_entropy(scores_NV, target_N, reduction="none", label_smoothing=smoothing)


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("chunk_elements", CHUNKS)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_cross_entropy(way: Way, smoothing: float, chunk_elements: int, bias: bool) -> None:
    made = layer(backward=way, label_smoothing=smoothing, chunk_elements=chunk_elements, bias=bias)
    hidden_ND, target_N, weights_N = inputs()
    wanted = [hidden_ND, *made.parameters()]
    truth = (reference(made, hidden_ND, target_N, smoothing) * weights_N).sum()
    true_gradients = torch.autograd.grad(truth, wanted)
    for loss in (
        made.loss(hidden_ND, target_N, weights_N=weights_N),
        (made.loss(hidden_ND, target_N) * weights_N).sum(),
    ):
        assert_close(loss, truth, rtol=0, atol=1e-12)
        assert_close(torch.autograd.grad(loss, wanted), true_gradients, rtol=0, atol=1e-12)
    assert_close(made.score(hidden_ND, target_N), -reference(made, hidden_ND, target_N, 0.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradcheck(smoothing: float) -> None:
    made = layer(label_smoothing=smoothing, chunk_elements=3 * V)
    hidden_ND, target_N, weights_N = inputs()

    def weighted(hidden_ND: Tensor, *_: Tensor) -> Tensor:
        return made.loss(hidden_ND, target_N, weights_N=weights_N)

    def each(hidden_ND: Tensor, *_: Tensor) -> Tensor:
        return made.loss(hidden_ND, target_N)

    for function in (weighted, each):
        assert torch.autograd.gradcheck(function, (hidden_ND, *made.parameters()))


@pytest.mark.parametrize("chunk_elements", CHUNKS)
def test_chunks_do_not_change_what_is_found(chunk_elements: int) -> None:
    hidden_ND, _, _ = inputs()
    uniform_N = torch.linspace(0.03, 0.97, N, dtype=torch.float64)
    exclude_NX = torch.arange(N)[:, None] % V
    found = [
        (
            *made.topk(hidden_ND, 4, exclude_NX),
            made.sample(hidden_ND, Draw(uniform_N, exclude_NX=exclude_NX)),
            made.sample(hidden_ND, Draw(uniform_N, top_p=0.8, exclude_NX=exclude_NX)),
        )
        for made in (layer(chunk_elements=chunk_elements), layer())
    ]
    assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_weights_with_a_gradient_of_their_own() -> None:
    made = layer(label_smoothing=0.1)
    hidden_ND, target_N, weights_N = inputs()
    made.loss(hidden_ND, target_N, weights_N=weights_N.requires_grad_()).backward()
    assert_close(weights_N.grad, reference(made, hidden_ND, target_N, 0.1).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", BOTH)
def test_only_the_wanted_gradients(way: Way) -> None:
    """Frozen weights with a trained model below, and the other way round."""
    hidden_ND, target_N, weights_N = inputs()
    truth = torch.autograd.grad((reference(layer(), hidden_ND, target_N, 0.0) * weights_N).sum(), hidden_ND)
    frozen = layer(backward=way).requires_grad_(False)
    assert_close(torch.autograd.grad(frozen.loss(hidden_ND, target_N, weights_N=weights_N), hidden_ND), truth)
    made = layer(backward=way)
    made.loss(hidden_ND.detach(), target_N, weights_N=weights_N).backward()
    assert made.weight.grad is not None and made.bias is not None and made.bias.grad is not None


def test_nothing_is_stored_without_gradient() -> None:
    made = layer()
    hidden_ND, target_N, weights_N = inputs()
    with torch.no_grad():
        loss = made.loss(hidden_ND, target_N, weights_N=weights_N)
    assert not loss.requires_grad
    assert_close(loss, made.loss(hidden_ND, target_N, weights_N=weights_N).detach())


@pytest.mark.parametrize("way", BOTH)
def test_a_retained_graph_gives_the_same_gradient_again(way: Way) -> None:
    made = layer(backward=way)
    hidden_ND, target_N, weights_N = inputs()
    loss = 3 * made.loss(hidden_ND, target_N, weights_N=weights_N)
    first = torch.autograd.grad(loss, [hidden_ND, made.weight], retain_graph=True)
    first = tuple(part.clone() for part in first)
    assert_close(torch.autograd.grad(loss, [hidden_ND, made.weight]), first, rtol=0, atol=1e-12)


def test_second_derivatives_are_refused() -> None:
    made = layer()
    hidden_ND, target_N, _ = inputs()
    (gradient,) = torch.autograd.grad(made.score(hidden_ND, target_N).square().sum(), hidden_ND, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_autocast_is_as_exact_as_plain_cross_entropy(way: Way, dtype: torch.dtype, tolerance: float) -> None:
    """Sums over chunks are kept in float32: an error of one rounding, however many chunks there are."""
    made = layer(backward=way, label_smoothing=0.1, chunk_elements=2 * V).float()
    hidden_ND, target_N, weights_N = inputs(200)
    truth = torch.autograd.grad(
        (reference(made.double(), hidden_ND, target_N, 0.1) * weights_N).sum(), [hidden_ND, *made.parameters()]
    )
    made = made.float()
    small_ND = hidden_ND.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        loss = made.loss(small_ND, target_N, weights_N=weights_N.float())
        assert loss.dtype == torch.float32
        score_N = made.score(small_ND, target_N)
        assert score_N.dtype == torch.float32
    gradients = torch.autograd.grad(loss, [small_ND, *made.parameters()])
    for ours, exact in zip(gradients, truth, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - exact).norm() <= tolerance * exact.norm()


@pytest.mark.parametrize("way", BOTH)
def test_float16_gradients_survive_scaling(way: Way) -> None:
    """A loss scale of 2^16, or weights of 1e-7, would leave float16's range if the products saw them."""
    made = layer(backward=way, chunk_elements=4 * V).float()
    hidden_ND, target_N, _ = inputs()
    small_ND = hidden_ND.detach().float().requires_grad_()
    gradients = []
    for weight, scale in ((1.0, 1.0), (1e-7, 1.0), (1.0, 65536.0)):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = made.loss(small_ND, target_N, weights_N=torch.full((N,), weight)) * scale
        gradients.append([part / (weight * scale) for part in torch.autograd.grad(loss, [small_ND, *made.parameters()])])
    assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)
    assert_close(gradients[2], gradients[0], rtol=1e-3, atol=1e-4)


def test_extreme_scores() -> None:
    """The target 2,000 nats below the best word: exact, finite, and with the gradient of the definition."""
    made = layer()
    with torch.no_grad():
        made.weight.zero_()
        made.weight[:, 0] = torch.linspace(-1000, 1000, V, dtype=torch.float64)
    hidden_1D = torch.eye(1, D, dtype=torch.float64).requires_grad_()
    loss = made.loss(hidden_1D, torch.tensor([0]), weights_N=torch.ones(1, dtype=torch.float64))
    assert_close(loss, reference(made, hidden_1D, torch.tensor([0]), 0.0)[0], rtol=1e-12, atol=0)
    loss.backward()
    assert made.weight.grad is not None and made.weight.grad.isfinite().all()


def test_compiles() -> None:
    """torch.compile runs the layer."""
    made = layer()
    hidden_ND, target_N, weights_N = inputs()
    compiled = torch.compile(lambda h: made.loss(h * 2.0, target_N, weights_N=weights_N), backend="eager")
    assert_close(compiled(hidden_ND), made.loss(hidden_ND * 2.0, target_N, weights_N=weights_N))


def test_tied_weight_is_the_embedding() -> None:
    embedding = nn.Embedding(V, D)
    made = Softmax(D, V, embedding=embedding.weight, tied=True)
    assert made.weight is embedding.weight
    with pytest.raises(ValueError, match="11 x 6"):
        Softmax(D, V, embedding=nn.Embedding(V, D + 1).weight, tied=True)
    assert Softmax(D, V, embedding=embedding.weight, tied=False).weight is not embedding.weight


def test_initial_scores_have_the_documented_variance() -> None:
    torch.manual_seed(3)
    made = Softmax(64, 4000)
    scores_NV = torch.randn(50, 64) @ made.weight.t()
    assert float(scores_NV.detach().var()) == pytest.approx(1 / 3, rel=0.05)
    assert made.bias is not None and not made.bias.any()
