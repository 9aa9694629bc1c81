"""Row-sparse gradients over two real processes: the sum is what one process gives, whichever rows each rank touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import NoiseKey, OutputLayer
from seqgen_cli.runtime.process import Runtime, shut_down
from tests.distributed.ranks import on_two_ranks

CHOICES = ["class_softmax", "binary_tree", "huffman_tree", "adaptive_softmax", "importance", "nce"]


def layer_of(choice: str) -> OutputLayer:
    torch.manual_seed(0)
    changes = {"dense_nodes": 3} if "tree" in choice else {}
    return build.output_layer(choice, hidden_size=4, vocab_size=40, counts=list(range(40)), settings=changes)


def batch(rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rank 1 has the most frequent word alone: no node below the dense ones for it in a Huffman tree."""
    hidden_ND = torch.randn(3, 4, generator=torch.Generator().manual_seed(rank))
    return hidden_ND, torch.tensor([[0, 5, 17], [39, 39, 39]][rank]), torch.arange(3) + 3 * rank


def loss_of(layer: OutputLayer, hidden_ND: Tensor, target_N: Tensor, number_N: Tensor) -> Tensor:
    noise = NoiseKey(Key.of(1), number_N, number_N)
    return layer.loss(hidden_ND, target_N, weights_N=torch.ones(3), noise=noise)


class Whole(nn.Module):
    """What a rank trains."""

    def __init__(self, output: OutputLayer) -> None:
        super().__init__()
        self.output = output

    def forward(self, hidden_ND: Tensor, target_N: Tensor, number_N: Tensor) -> Tensor:
        return loss_of(self.output, hidden_ND, target_N, number_N)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("table", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x).sum()


def gradients(folder: Path) -> None:
    """What a rank has after two micro-batches of each layer, as JSON; and its table after a forward."""
    runtime = Runtime(device="cpu").start(seed=3)
    found: dict[str, Any] = {}
    for choice in CHOICES:
        output = layer_of(choice)
        wrapped = runtime.wrap(Whole(output))
        with wrapped.no_sync():
            wrapped(*batch(runtime.rank)).backward()
        wrapped(*batch(runtime.rank)).backward()
        found[choice] = {name: parameter.grad.to_dense().tolist() for name, parameter in output.named_parameters()}
    scaled = Scaled()
    wrapped = runtime.wrap(scaled)
    scaled.table.fill_(runtime.rank)
    wrapped(torch.ones(1)).backward()
    found["table"] = scaled.table.item()
    (folder / f"{runtime.rank}.json").write_text(json.dumps(found))
    shut_down()


def test_two_processes_add_up_their_rows(tmp_path: Path) -> None:
    on_two_ranks(gradients, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first.pop("table"), second.pop("table")) == (0, 1), "tables are constants: no forward broadcasts them"
    assert first == second
    for choice in CHOICES:
        layer = layer_of(choice)
        for rank in (0, 1):
            loss_of(layer, *batch(rank)).backward()
        for name, parameter in layer.named_parameters():
            # Two micro-batches each, averaged over two ranks.
            together = torch.tensor(first[choice][name]).reshape(parameter.shape)
            assert_close(together, parameter.grad.to_dense(), rtol=0, atol=1e-5)
