"""Trees: codes against a heap and closed forms, search against a full sort, gradients against finite differences.

Shapes: N predictions, D hidden, V words.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.errors import RequestError
from seqgen_cli.outputs import codes, tree_search
from seqgen_cli.outputs.base import Draw
from seqgen_cli.outputs.frequencies import by_frequency, entropy_bits

COUNTS = {
    "equal": np.full(50, 3),
    "zipf": (10_000 / np.arange(1, 301)).astype(np.int64),
    "one holds nearly all": np.array([10**9, *[1] * 40]),
    "fibonacci": np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]),
    "two": np.array([7, 1]),
    "one": np.array([4]),
}
every_count = pytest.mark.parametrize("counts_V", COUNTS.values(), ids=COUNTS.keys())


def heap_cost(counts_V: np.ndarray) -> int:
    """Huffman's total code length, by the textbook algorithm."""
    heap, cost = sorted(counts_V.tolist()), 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


Joined = int | tuple["Joined", "Joined"]
"""A word, or two that were joined: the first taken is on the left."""


def joined(counts_V: np.ndarray) -> Joined:
    """Huffman's tree by the rule: of equal masses words are taken before joined nodes, then lower ids, then earlier ones."""
    nodes: list[tuple[int, bool, int, Joined]] = [(int(count), False, word, word) for word, count in enumerate(counts_V)]
    for number in range(len(counts_V) - 1):
        one, other = sorted(nodes, key=lambda node: node[:3])[:2]
        nodes = [node for node in nodes if node not in (one, other)]
        nodes.append((one[0] + other[0], True, number, (one[3], other[3])))
    return nodes[0][3]


@pytest.mark.parametrize("largest", [1, 2, 4, 30])
@pytest.mark.parametrize("size", [2, 3, 7, 24, 40])
def test_huffmans_ties_are_broken_by_the_rule(size: int, largest: int) -> None:
    """Every word's path, where most masses are equal."""
    counts_V = np.random.default_rng(size + largest).integers(1, largest + 1, size=size)
    tree = codes.huffman(counts_V)

    def built(child: int) -> Joined:
        if child >= size - 1:
            return child - (size - 1)
        left, right = tree.children_I2[child]
        return built(left), built(right)

    assert built(0) == joined(counts_V)


@every_count
@pytest.mark.parametrize("choice", ["huffman_tree", "binary_tree"])
def test_monitors_add_up_the_targets_paths(choice: str, counts_V: np.ndarray) -> None:
    """Huffman's by the textbook's cost; a balanced tree's from its number of leaves on either level."""
    layer = build.output_layer(choice, hidden_size=3, vocab_size=len(counts_V), counts=counts_V)
    few_V = np.minimum(counts_V, 50)
    target_N = torch.arange(len(counts_V)).repeat_interleave(torch.as_tensor(few_V))
    figures = layer.monitors(torch.zeros(len(target_N), 3), target_N)
    bits = -(few_V * np.log2(counts_V / counts_V.sum())).sum()
    assert float(figures["unigram_bits"]) == pytest.approx(bits, rel=1e-5, abs=1e-9)
    if choice == "huffman_tree":
        if (few_V == counts_V).all():
            assert int(figures["path_length"]) == heap_cost(counts_V)
        return
    longest = math.ceil(math.log2(len(counts_V)))
    short = (1 << longest) - len(counts_V)  # leaves one level up: those of the most frequent words
    order_V = by_frequency(counts_V)
    assert int(figures["path_length"]) == longest * few_V.sum() - few_V[order_V[:short]].sum()


@every_count
def test_huffman_codes_are_the_shortest_and_within_a_bit_of_the_entropy(counts_V: np.ndarray) -> None:
    length_V = codes.huffman(counts_V).length_V
    assert (length_V * counts_V).sum() == heap_cost(counts_V)
    expected, entropy = (length_V * counts_V).sum() / counts_V.sum(), entropy_bits(counts_V)
    assert entropy - 1e-12 <= expected < entropy + 1


@every_count
def test_balanced_paths_differ_by_one_at_most(counts_V: np.ndarray) -> None:
    size = len(counts_V)
    length_V = codes.balanced(by_frequency, counts_V).length_V
    longest = math.ceil(math.log2(size))
    assert set(length_V.tolist()) <= {longest, max(0, longest - 1)} and (0.5**length_V).sum() == 1


@every_count
@pytest.mark.parametrize("shape", ["huffman", "balanced"])
def test_paths_lead_from_the_root_to_their_word(counts_V: np.ndarray, shape: str) -> None:
    tree = codes.huffman(counts_V) if shape == "huffman" else codes.balanced(by_frequency, counts_V)
    inner = len(counts_V) - 1
    mass = np.zeros(inner, dtype=np.int64)
    for word, path in enumerate(tree.path_VM):
        child = 0
        for code in path[: tree.length_V[word]]:
            assert abs(code) - 1 == child
            mass[child] += counts_V[word]
            child = tree.children_I2[child, int(code > 0)]
        assert child == inner + word or inner == 0
        assert not path[tree.length_V[word] :].any()
    assert (mass == tree.mass_I).all() and (np.diff(tree.mass_I) <= 0).all()


def test_the_balanced_tree_keeps_the_order_of_its_words() -> None:
    order = np.random.default_rng(0).permutation(11)
    tree = codes.balanced(lambda counts: order, np.ones(11, dtype=np.int64))

    def leaves(child: int) -> list[int]:
        return [child - 10] if child >= 10 else [leaf for part in tree.children_I2[child] for leaf in leaves(part)]

    assert leaves(0) == order.tolist()


def test_equal_counts_give_equal_trees() -> None:
    counts_V = np.random.default_rng(1).integers(1, 5, size=200)
    assert (codes.huffman(counts_V).path_VM == codes.huffman(counts_V.copy()).path_VM).all()


@pytest.mark.parametrize("choice", ["binary_tree", "huffman_tree"])
def test_unseen_words_count_once(choice: str) -> None:
    seen = build.output_layer(choice, hidden_size=3, vocab_size=4, counts=[8, 0, 1, 0])
    floored = build.output_layer(choice, hidden_size=3, vocab_size=4, counts=[8, 1, 1, 1])
    assert seen.path_VM.equal(floored.path_VM)
    assert_close(seen.log_probs(torch.zeros(1, 3))[0].exp(), torch.tensor([8.0, 1, 1, 1]) / 11)  # the bias starts there


@pytest.mark.parametrize("choice", ["binary_tree", "huffman_tree"])
def test_a_vocabulary_of_one_word(choice: str) -> None:
    layer = build.output_layer(choice, hidden_size=3, vocab_size=1, counts=[5])
    hidden_ND = torch.randn(4, 3, requires_grad=True)
    layer.score(hidden_ND, torch.zeros(4, dtype=torch.int64)).sum().backward()
    assert hidden_ND.grad is not None and not hidden_ND.grad.any()
    assert layer.log_probs(hidden_ND).exp().tolist() == [[1.0]] * 4
    assert (
        layer.topk(hidden_ND, 1)[1].tolist()
        == layer.sample(hidden_ND, Draw(torch.rand(4).double()))[:, None].tolist()
        == [[0]] * 4
    )


def random_tree(choice: str, vocab_size: int, scale: float, dense_nodes: int = 15) -> build.OutputLayer:
    torch.manual_seed(0)
    counts = (1e6 / np.arange(1, vocab_size + 1)).astype(np.int64)
    layer = build.output_layer(choice, hidden_size=8, vocab_size=vocab_size, counts=counts, settings={"dense_nodes": dense_nodes})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_().mul_(scale)
    return layer.double()


@pytest.mark.parametrize("choice", ["binary_tree", "huffman_tree"])
@pytest.mark.parametrize("scale", [0.0, 0.1, 3.0], ids=["flat", "nearly flat", "peaked"])
@pytest.mark.parametrize("words_a_node", [0, 1, 64], ids=["never whole", "seldom whole", "as shipped"])
def test_the_best_words_are_exact(choice: str, scale: float, words_a_node: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_search, "_WORDS_A_NODE", words_a_node)
    layer = random_tree(choice, 3000, scale)
    hidden_ND = torch.randn(12, 8, dtype=torch.float64)
    log_p_NV = layer.log_probs(hidden_ND)
    for k, exclude_NX in ((1, None), (5, log_p_NV.topk(3).indices), (40, None)):
        expected_NV = log_p_NV if exclude_NX is None else log_p_NV.scatter(1, exclude_NX, float("-inf"))
        best_Nk, id_Nk = layer.topk(hidden_ND, k, exclude_NX)
        assert_close(best_Nk, expected_NV.topk(k).values, rtol=0, atol=1e-10)
        assert_close(expected_NV.gather(1, id_Nk), best_Nk, rtol=0, atol=1e-10)
        assert all(len(set(row)) == k for row in id_Nk.tolist())


@pytest.mark.parametrize("scale", [0.0, 3.0], ids=["flat", "peaked"])
def test_a_peaked_distribution_is_searched_without_computing_it_whole(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random_tree("binary_tree", 3000, scale)
    rows: list[int] = []
    whole = layer.log_probs
    monkeypatch.setattr(layer, "log_probs", lambda hidden_ND: rows.append(len(hidden_ND)) or whole(hidden_ND))
    nodes: list[int] = []
    one_by_one = layer.lower_scores
    monkeypatch.setattr(layer, "lower_scores", lambda h, node, *rest: nodes.append(len(node)) or one_by_one(h, node, *rest))
    layer.topk(torch.randn(50, 8, dtype=torch.float64) * 3, 2)
    assert (sum(rows) == 50) if scale == 0 else (sum(rows) < 10)
    assert sum(nodes) < 50 * 3000 / 12  # a flat one is soon seen to be flat


@pytest.mark.parametrize("choice", ["binary_tree", "huffman_tree"])
@pytest.mark.parametrize("dense_nodes", [1, 4, 50])
def test_gradients_by_finite_differences(choice: str, dense_nodes: int) -> None:
    layer = random_tree(choice, 23, 1.0, dense_nodes)
    layer.lower.set_sparse(False)
    target_N = torch.tensor([0, 22, 7, 7, 3])
    weights = [layer.upper_weight, layer.lower.weight, layer.bias]

    def score(hidden_ND: Tensor, *parameters: Tensor) -> Tensor:
        return layer.score(hidden_ND, target_N)

    assert torch.autograd.gradcheck(score, (torch.randn(5, 8, dtype=torch.float64, requires_grad=True), *weights))


def test_only_the_nodes_of_the_targets_paths_get_a_gradient() -> None:
    layer = random_tree("huffman_tree", 300, 1.0)
    target_N = torch.tensor([250, 12, 250])
    layer.loss(torch.randn(3, 8, dtype=torch.float64), target_N).sum().backward()
    gradient = layer.lower.weight.grad.coalesce()
    on_paths = set((layer.path_VM[target_N].abs() - 1 - layer.dense_nodes).flatten().tolist())
    assert set(gradient.indices()[0].tolist()) == {node for node in on_paths if node >= 0}


def test_weights_bring_their_tree() -> None:
    """A layer made for other counts becomes, with its weights, the layer they were saved from."""
    counts = np.arange(40) ** 2
    trained = build.output_layer("huffman_tree", hidden_size=4, vocab_size=40, counts=counts)
    other = build.output_layer("huffman_tree", hidden_size=4, vocab_size=40, counts=counts[::-1].copy())
    hidden_ND = torch.randn(6, 4)
    assert not torch.allclose(other.log_probs(hidden_ND), trained.log_probs(hidden_ND))
    other.load_state_dict(trained.state_dict())
    assert other.log_probs(hidden_ND).equal(trained.log_probs(hidden_ND))


def test_what_a_tree_cannot_do_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestError, match=r"smoothing is not a setting of output=binary_tree: it needs every word's score"):
        build.output_layer("binary_tree", hidden_size=4, vocab_size=9, settings={"label_smoothing": 0.1})
    with pytest.raises(RequestError, match=r"There is no output=huffmann_tree. Did you mean huffman_tree"):
        build.output_layer("huffmann_tree", hidden_size=4, vocab_size=9)
