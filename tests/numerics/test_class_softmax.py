"""The two-level softmax: its groupings, its degenerate cases, its gradients and its search.

Shapes: N predictions, D hidden, V words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.errors import RequestError
from seqgen_cli.outputs import class_softmax, grouped, groupings
from seqgen_cli.outputs.frequencies import by_frequency

D = 6


def layer_of(vocab_size: int, counts: object = None, scale: float = 1.0, **settings: object) -> class_softmax.ClassSoftmax:
    torch.manual_seed(0)
    counts = np.arange(vocab_size) * 3 if counts is None else counts
    layer = build.output_layer("class_softmax", hidden_size=D, vocab_size=vocab_size, counts=counts, settings=settings).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_().mul_(scale)
    assert isinstance(layer, class_softmax.ClassSoftmax)
    return layer


def hidden(rows: int) -> torch.Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("vocab_size", [1, 2, 10, 100])
@pytest.mark.parametrize("num_classes", [1, 2, 7, 10, 100])
@pytest.mark.parametrize("counts", ["equal", "zipf", "one holds all", "one beyond float64"])
def test_groups_follow_frequency(vocab_size: int, num_classes: int, counts: str) -> None:
    if num_classes > vocab_size:
        pytest.skip("more classes than words")
    counts_V = {
        "equal": np.ones(vocab_size, dtype=np.int64),
        "zipf": np.random.default_rng(0).permutation((1000 / np.arange(1, vocab_size + 1)).astype(np.int64)),
        "one holds all": np.where(np.arange(vocab_size) == vocab_size // 2, 10**9, 1),
        # The sum of the rest is lost in the rounding of this one.
        "one beyond float64": np.where(np.arange(vocab_size) == vocab_size // 2, 10**18, 1),
    }[counts]
    order_V = by_frequency(counts_V)
    sizes = groupings.equal_sizes(order_V, num_classes)
    masses = groupings.equal_masses(order_V, counts_V, num_classes)
    for class_of_V in (sizes, masses):
        assert set(class_of_V.tolist()) == set(range(num_classes))  # none empty
        assert (np.diff(class_of_V[order_V]) >= 0).all()  # neighbours by frequency
    assert np.ptp(np.bincount(sizes)) <= 1
    mass_C = np.bincount(masses, weights=counts_V)
    spare = counts_V.max()
    assert mass_C.max() <= counts_V.sum() / num_classes + spare


def test_clusters_are_of_nearby_vectors_and_equal_sizes() -> None:
    """Four far clouds, in no order: they are the four groups. Uneven numbers differ by one word at most."""
    random = np.random.default_rng(0)
    cloud_V = random.permutation(np.arange(40) % 4)
    vectors = np.eye(4)[cloud_V] * [10, 20, 30, 40] + random.normal(size=(40, 4)) * 0.1
    class_of_V = groupings.clustered(vectors, 4)
    assert len({(cloud, group) for cloud, group in zip(cloud_V.tolist(), class_of_V.tolist(), strict=True)}) == 4
    assert np.ptp(np.bincount(groupings.clustered(vectors, 7))) <= 1
    assert set(groupings.clustered(np.zeros((5, 3)), 5).tolist()) == set(range(5))


def test_clustered_reads_a_file_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32))
    layer = layer_of(9, grouping="clustered", vectors=str(tmp_path / "v.npy"))
    assert torch.bincount(layer.class_of_V).tolist() == [3, 3, 3]
    with pytest.raises(RequestError, match=r"set output\.vectors"):
        layer_of(9, grouping="clustered")
    with pytest.raises(RequestError, match=r"serves output\.grouping=clustered alone; it is equal_mass"):
        layer_of(9, grouping="equal_mass", vectors=str(tmp_path / "v.npy"))
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    with pytest.raises(RequestError, match=r"several arrays"):
        layer_of(9, grouping="clustered", vectors=str(tmp_path / "two.npz"))
    (tmp_path / "empty.npy").touch()
    with pytest.raises(RequestError, match=r"cannot be read"):
        layer_of(9, grouping="clustered", vectors=str(tmp_path / "empty.npy"))
    with pytest.raises(RequestError, match=r"must hold 8 rows"):
        layer_of(8, grouping="clustered", vectors=str(tmp_path / "v.npy"))
    np.save(tmp_path / "ids.npy", np.ones((9, 2), dtype=np.int64))
    with pytest.raises(RequestError, match=r"must hold 9 rows of floating-point numbers.* type int64"):
        layer_of(9, grouping="clustered", vectors=str(tmp_path / "ids.npy"))
    np.save(tmp_path / "nan.npy", np.full((9, 2), np.nan))
    with pytest.raises(RequestError, match=r"not finite"):
        layer_of(9, grouping="clustered", vectors=str(tmp_path / "nan.npy"))
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(RequestError, match=r"cannot be read"):
        layer_of(9, grouping="clustered", vectors=str(tmp_path / "bad.npy"))


def test_counts_must_be_those_of_the_words_and_are_equal_where_none_are_given() -> None:
    with pytest.raises(ValueError, match="counts must be 10 numbers"):
        layer_of(10, counts=range(12))
    layer = build.output_layer("class_softmax", hidden_size=D, vocab_size=50, settings={"grouping": "random"})
    assert (layer.class_of_V.diff() < 0).any(), "groups of neighbouring ids are not random"


def test_one_class_is_the_softmax_of_the_words() -> None:
    layer = layer_of(12, num_classes=1)
    scores = torch.nn.functional.linear(hidden(4), layer.words.weight, layer.word_bias)
    assert_close(layer.log_probs(hidden(4)), scores.log_softmax(-1)[:, layer.place_V], rtol=0, atol=1e-12)


def test_a_class_for_every_word_is_the_softmax_of_the_classes() -> None:
    layer = layer_of(12, num_classes=12)
    scores = torch.nn.functional.linear(hidden(4), layer.class_weight, layer.class_bias)
    assert_close(layer.log_probs(hidden(4)), scores.log_softmax(-1)[:, layer.class_of_V], rtol=0, atol=1e-12)


def test_more_classes_than_words_are_refused() -> None:
    with pytest.raises(RequestError, match=r"output.num_classes=13 is more than the 12 words"):
        layer_of(12, num_classes=13)


@pytest.mark.parametrize("kept", [0, 30, 1 << 22], ids=["computed again", "some kept", "all kept"])
def test_gradients_by_finite_differences(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_KEEP_ELEMENTS", kept)  # 0: also one position at a time
    layer = layer_of(23)
    layer.words.set_sparse(False)
    target_N = torch.tensor([0, 22, 7, 7, 3, 22])
    weights = [layer.words.weight, layer.word_bias, layer.class_weight, layer.class_bias]

    def score(hidden_ND: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return layer.score(hidden_ND, target_N)

    assert torch.autograd.gradcheck(score, (hidden(6).requires_grad_(), *weights))


def test_only_words_of_the_targets_classes_get_a_gradient() -> None:
    layer, target_N = layer_of(100), torch.tensor([3, 90, 4])
    layer.loss(hidden(3), target_N).sum().backward()
    gradient = layer.words.weight.grad.coalesce()
    touched_V = (layer.class_of_V[:, None] == layer.class_of_V[target_N]).any(1)
    assert sorted(gradient.indices()[0].tolist()) == sorted(layer.place_V[touched_V].tolist())


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0], ids=["flat", "between", "peaked"])
def test_the_best_words_are_exact(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(900, scale=scale)
    log_p_NV = layer.log_probs(hidden(30))
    for k, exclude_NX in ((1, None), (5, log_p_NV.topk(3).indices), (70, None)):
        expected_NV = log_p_NV if exclude_NX is None else log_p_NV.scatter(1, exclude_NX, float("-inf"))
        best_Nk, id_Nk = layer.topk(hidden(30), k, exclude_NX)
        assert_close(best_Nk, expected_NV.topk(k).values, rtol=0, atol=1e-10)
        assert_close(expected_NV.gather(1, id_Nk), best_Nk, rtol=0, atol=1e-10)
        assert all(len(set(row)) == k for row in id_Nk.tolist())
    rows: list[int] = []
    whole = layer._sorted_log_probs
    monkeypatch.setattr(layer, "_sorted_log_probs", lambda hidden_ND: rows.append(len(hidden_ND)) or whole(hidden_ND))
    layer.topk(hidden(30), 1)
    assert sum(rows) == 30 if scale == 0 else sum(rows) < 30


def test_weights_bring_their_grouping() -> None:
    trained, other = layer_of(40, grouping="random"), layer_of(40, counts=np.arange(40)[::-1].copy())
    other.load_state_dict(trained.state_dict())
    assert other.log_probs(hidden(5)).equal(trained.log_probs(hidden(5)))


def test_monitors_share_out_the_mass() -> None:
    layer = layer_of(900)
    figures = layer.monitors(hidden(6), torch.zeros(6, dtype=torch.int64))
    assert len(figures) == 8
    assert float(sum(figures.values()).detach()) == pytest.approx(6)
