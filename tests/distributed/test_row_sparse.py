"""Row-sparse gradients over two real processes: the sum is what one process gives, whichever rows each rank touches."""

from __future__ import annotations

import json
import textwrap

import torch
from torch.testing import assert_close

from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import NoiseKey
from tests.distributed.ranks import on_two_ranks

COMMON = """
import torch
from torch import nn
from seqgen_cli import build
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import NoiseKey

def layer_of(choice):
    torch.manual_seed(0)
    changes = {"dense_nodes": 3} if "tree" in choice else {}
    return build.output_layer(choice, hidden_size=4, vocab_size=40, counts=list(range(40)), settings=changes)

def batch(rank):
    # Rank 1 has the most frequent word alone: no node below the dense ones for it in a Huffman tree.
    hidden_ND = torch.randn(3, 4, generator=torch.Generator().manual_seed(rank))
    return hidden_ND, torch.tensor([[0, 5, 17], [39, 39, 39]][rank]), torch.arange(3) + 3 * rank
"""
WORKER = """
import json, sys
from seqgen_cli.runtime import Runtime, shut_down
runtime = Runtime(device="cpu").start(seed=3)

class Whole(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output
    def forward(self, hidden_ND, target_N, number_N):
        noise = NoiseKey(Key.of(1), number_N, number_N)
        return self.output.loss(hidden_ND, target_N, weights_N=torch.ones(3), noise=noise)

found = {}
for choice in sys.argv[2].split(","):
    output = layer_of(choice)
    wrapped = runtime.wrap(Whole(output))
    hidden_ND, target_N, number_N = batch(runtime.rank)
    with wrapped.no_sync():
        wrapped(hidden_ND, target_N, number_N).backward()
    wrapped(hidden_ND, target_N, number_N).backward()
    found[choice] = {n: p.grad.to_dense().tolist() for n, p in output.named_parameters()}

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("table", torch.zeros(1))
    def forward(self, x):
        return (self.weight * x).sum()

scaled = Scaled()
wrapped = runtime.wrap(scaled)
scaled.table.fill_(runtime.rank)
wrapped(torch.ones(1)).backward()
found["table"] = scaled.table.item()
open(f"{sys.argv[1]}/{runtime.rank}.json", "w").write(json.dumps(found))
shut_down()
"""
CHOICES = ["class_softmax", "binary_tree", "huffman_tree", "adaptive_softmax", "importance", "nce"]


def test_two_processes_add_up_their_rows(tmp_path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(COMMON + WORKER))
    on_two_ranks(str(script), str(tmp_path), ",".join(CHOICES))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first.pop("table"), second.pop("table")) == (0, 1), "tables are constants: no forward broadcasts them"
    assert first == second
    common: dict = {}
    exec(COMMON, common)
    for choice in CHOICES:
        layer = common["layer_of"](choice)
        for rank in (0, 1):
            hidden_ND, target_N, number_N = common["batch"](rank)
            noise = NoiseKey(Key.of(1), number_N, number_N)
            layer.loss(hidden_ND, target_N, weights_N=torch.ones(3), noise=noise).backward()
        for name, parameter in layer.named_parameters():
            # Two micro-batches each, averaged over two ranks.
            together = torch.tensor(first[choice][name]).reshape(parameter.shape)
            assert_close(together, parameter.grad.to_dense(), rtol=0, atol=1e-5)
