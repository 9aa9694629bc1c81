"""Row-wise Adam against torch's Adam on each row alone, and the gradient step with row-sparse gradients against dense ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.layers.rows import RowTable, by_gradient, is_row_sparse, make_dense
from seqgen_cli.training import row_adam
from seqgen_cli.training.optimizers import SGD, Adam, AdamW
from seqgen_cli.training.row_adam import RowAdam
from seqgen_cli.training.step import GradientStep

SETTINGS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}
TOUCHED = [[0, 2], [2], [], [1, 2, 4], [0]]


def sparse(rows: list[int], values: Tensor, size: torch.Size) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows], dtype=torch.int64), values, size, check_invariants=True)


def test_a_row_takes_adams_step_on_its_own_gradients() -> None:
    torch.manual_seed(0)
    start = torch.randn(5, 3, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    ours = RowAdam([weight], **SETTINGS)
    rows = [nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.Adam([row], **SETTINGS) for row in rows]
    for touched in TOUCHED:
        values = torch.randn(len(touched), 3, dtype=torch.float64)
        weight.grad = sparse(touched, values, weight.shape)
        ours.step()
        for row, gradient in zip(touched, values, strict=True):
            rows[row].grad = gradient.clone()
            theirs[row].step()
    assert_close(weight.detach(), torch.stack(list(rows)).detach(), rtol=0, atol=1e-12)
    assert weight[3].equal(start[3])


@pytest.mark.parametrize("long_run", [1, 10**6], ids=["slices", "gathered"])
def test_slices_and_gathered_rows_agree(long_run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of rows, some with clocks of their own, against one Adam a row."""
    monkeypatch.setattr(row_adam, "_LONG_RUN", long_run)
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(9, 3, dtype=torch.float64))
    rows = [nn.Parameter(row.clone()) for row in weight.detach()]
    ours, theirs = RowAdam([weight], **SETTINGS), [torch.optim.Adam([row], **SETTINGS) for row in rows]
    for touched in ([0, 1, 2], [2, 3, 4, 8], [0, 1, 2, 3, 4, 5], list(range(9))):
        values = torch.randn(len(touched), 3, dtype=torch.float64)
        weight.grad = sparse(touched, values, weight.shape)
        ours.step()
        for row, gradient in zip(touched, values, strict=True):
            rows[row].grad = gradient.clone()
            theirs[row].step()
    assert_close(weight.detach(), torch.stack(list(rows)).detach(), rtol=0, atol=1e-12)


def test_a_row_named_twice_takes_the_sum() -> None:
    once, twice = (nn.Parameter(torch.ones(4, 2, dtype=torch.float64)) for _ in range(2))
    values = torch.tensor([[1.0, -2.0], [0.5, 1.0]], dtype=torch.float64)
    once.grad = sparse([3], values.sum(0, keepdim=True), once.shape)
    twice.grad = sparse([3, 3], values, twice.shape)
    for weight in (once, twice):
        RowAdam([weight], **SETTINGS).step()
    assert once.equal(twice) and not once[3].equal(once[0])


def test_dense_gradients_are_torchs_adam() -> None:
    ours, theirs = (nn.Parameter(torch.ones(4, 2, dtype=torch.float64)) for _ in range(2))
    optimizers = RowAdam([ours], **SETTINGS), torch.optim.Adam([theirs], **SETTINGS)
    for _ in range(4):
        gradient = torch.randn(4, 2, dtype=torch.float64)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert_close(ours, theirs, rtol=0, atol=1e-12)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = RowTable(6, 3)
        self.linear = nn.Linear(3, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.linear(self.table(ids)).square().sum()


def nets() -> tuple[Net, Net]:
    """The same weights, with row-sparse and with dense gradients."""
    torch.manual_seed(0)
    net, dense = Net(), Net()
    dense.load_state_dict(net.state_dict())
    assert make_dense(dense) and not make_dense(dense)
    assert is_row_sparse(net.table.weight) and not is_row_sparse(dense.table.weight)
    return net, dense


def step_of(net: Net, settings: Adam | AdamW | SGD, clip_norm: float | None = 0.01) -> GradientStep:
    return GradientStep([settings.make(part) for part in by_gradient(net.named_parameters())], clip_norm, torch.device("cpu"))


def test_each_kind_of_gradient_has_its_optimizer() -> None:
    net, dense = nets()
    assert [type(optimizer) for optimizer in step_of(net, Adam()).optimizers] == [torch.optim.Adam, RowAdam]
    assert [type(optimizer) for optimizer in step_of(dense, Adam()).optimizers] == [torch.optim.Adam]
    assert Adam().row_sparse is None and AdamW(weight_decay=0).row_sparse is None
    assert "weight_decay" in str(AdamW().row_sparse) and "sgd" in str(SGD().row_sparse)


def test_clipping_counts_and_scales_row_sparse_gradients() -> None:
    """Over two micro-batches, which leave rows in the gradient twice. All rows touched: the weights agree with dense ones."""
    norms, weights = [], []
    for net in nets():
        step = step_of(net, Adam(lr=0.1, eps=1.0))
        for update in range(3):
            for ids in ([0, 1, 2, 3, 3], [4, 5, update, 3]):
                step.backward(net(torch.tensor(ids)))
            norm, skipped = step.step(1.0)
            norms.append(norm)
            assert not skipped
        weights.append([parameter.detach() for parameter in net.parameters()])
    assert_close(norms[:3], norms[3:])
    assert_close(weights[0], weights[1])
    assert min(norms) > 0.01


@pytest.mark.parametrize("long_run", [1, 10**6], ids=["slices", "gathered"])
def test_a_gradient_that_is_not_finite_changes_nothing(long_run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_adam, "_LONG_RUN", long_run)
    net, _ = nets()
    step = step_of(net, Adam())
    for ids, factor, moves in (([1, 2], 1.0, True), ([1, 3], math.inf, False), ([1, 3], 1.0, True)):
        before = [parameter.detach().clone() for parameter in net.parameters()]
        clock = [value.clone() for value in step.optimizers[1].state[net.table.weight].values()]
        step.backward(net(torch.tensor(ids)) * factor)
        _, skipped = step.step(1.0)
        assert bool(skipped) != moves
        assert all(old.equal(new) for old, new in zip(before, net.parameters(), strict=True)) != moves
        if not moves:
            assert all(
                old.equal(new) for old, new in zip(clock, step.optimizers[1].state[net.table.weight].values(), strict=True)
            )


def test_a_resumed_step_goes_on_exactly(tmp_path) -> None:
    batches = [[0, 1], [1, 2], [5], [0, 5], [1]]
    whole, _ = nets()
    step = step_of(whole, Adam())
    for ids in batches:
        step.backward(whole(torch.tensor(ids)))
        step.step(1.0)
    first, _ = nets()
    step = step_of(first, Adam())
    for ids in batches[:2]:
        step.backward(first(torch.tensor(ids)))
        step.step(1.0)
    torch.save({"weights": first.state_dict(), "step": step.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    second = Net()
    second.load_state_dict(saved["weights"])
    step = step_of(second, Adam())
    step.load_state_dict(saved["step"])
    for ids in batches[2:]:
        step.backward(second(torch.tensor(ids)))
        step.step(1.0)
    assert all(a.equal(b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("choice", ["class_softmax", "binary_tree", "huffman_tree", "importance", "nce"])
def test_layers_with_large_tables_mark_them(choice: str) -> None:
    layer = build.output_layer(choice, hidden_size=4, vocab_size=600)
    marked = [name for name, parameter in layer.named_parameters() if is_row_sparse(parameter)]
    assert len(marked) == 1
    assert make_dense(layer) and not any(is_row_sparse(parameter) for parameter in layer.parameters())
