"""What is computed on devices other than the CPU, computed on the CPU: whoever asks whether values lie on the host is told no.

The laws are those of the files they come from. What only a GPU has is stood for by functions that note their calls.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.outputs.softmax import Softmax
from seqgen_cli.runtime import devices, meters
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.setup import keep_dense
from tests.numerics import test_beam, test_bert_gru, test_row_adam, test_sampled, test_tree

CUDA = torch.device("cuda", 0)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that ask, all of which are told that values do not lie on the host."""
    asking = [name for name, module in sys.modules.items() if name.startswith("seqgen_cli") and hasattr(module, "is_host")]
    for name in asking:
        monkeypatch.setattr(sys.modules[name], "is_host", lambda device: False)
    return asking


def test_all_who_ask_are_told(elsewhere: list[str]) -> None:
    rooms = {"runtime.devices", "decoding.beam", "layers.bidirectional", "layers.dropout", "training.row_adam"}
    assert set(elsewhere) == {f"seqgen_cli.{room}" for room in rooms}


@pytest.mark.usefixtures("elsewhere")
class TestTheLawsHold:
    @pytest.mark.parametrize("layers", [1, 3])
    def test_of_the_gru(self, layers: int) -> None:
        test_bert_gru.test_gru_is_torchs_on_packed_sequences(layers)
        test_bert_gru.test_gru_on_a_padded_batch_is_the_loop_over_true_lengths()

    @pytest.mark.parametrize("long_run", [1, 10**6])
    def test_of_row_wise_adam(self, long_run: int, monkeypatch: pytest.MonkeyPatch) -> None:
        test_row_adam.test_a_row_takes_adams_step_on_its_own_gradients()
        test_row_adam.test_a_gradient_that_is_not_finite_changes_nothing(long_run, monkeypatch)

    @pytest.mark.parametrize("elements", [1, 16, 1 << 26])
    def test_of_products_of_rows(self, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many are formed at once."""
        monkeypatch.setattr(devices, "_DEVICE_ELEMENTS", elements)
        test_tree.test_gradients_by_finite_differences("huffman_tree", 4)
        test_sampled.test_effective_samples_are_those_of_the_ratios_drawn("unigram", shared=False)

    def test_of_search(self) -> None:
        test_beam.test_forced_prefix_searches_what_remains()
        test_beam.test_narrow_beam_follows_the_definition(3, 2, "power", 0.8, "bound")

    @pytest.mark.parametrize("p", [0.1, 0.7])
    def test_of_dropout(self, p: float) -> None:
        torch.manual_seed(0)
        value, dropout = torch.ones(100_000), Dropout(p)
        result = dropout.train()(value)
        kept = result[result != 0]
        assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
        assert len(kept) / len(value) == pytest.approx(1 - p, abs=0.01)
        assert dropout.eval()(value) is value


def noting(calls: list[Any], name: str, answer: Any = None) -> Any:
    return lambda *arguments: calls.append((name, *arguments)) or answer


def test_peak_memory_of_a_gpu_is_what_its_allocator_gave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    for name, answer in {"memory_allocated": 100, "reset_peak_memory_stats": None, "max_memory_allocated": 350}.items():
        monkeypatch.setattr(torch.cuda, name, noting(calls, name, answer))
    with meters.PeakMemory(CUDA) as memory:
        calls.append("work")
    assert memory.peak_bytes == 250
    assert calls == [("memory_allocated", CUDA), ("reset_peak_memory_stats", CUDA), "work", ("max_memory_allocated", CUDA)]


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_each_device_is_seeded_and_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    for name, module in {"cuda": torch.cuda, "mps": torch.mps}.items():
        monkeypatch.setattr(module, "manual_seed", noting(calls, f"{name} seed"))
        monkeypatch.setattr(module, "synchronize", noting(calls, f"{name} wait"))
    device = torch.device(kind)
    devices.seed(device, 7)
    drawn = torch.rand(3)
    devices.synchronize(device)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))  # the CPU's own, on every device
    waits = {"cuda": [("cuda wait", device)], "mps": [("mps wait",)], "cpu": []}[kind]
    assert calls == ([] if kind == "cpu" else [(f"{kind} seed", 7)]) + waits


@pytest.mark.parametrize(("device", "ids"), [(torch.device("cuda", 1), [torch.device("cuda", 1)]), (torch.device("cpu"), None)])
def test_ranks_of_gpus_name_theirs(device: torch.device, ids: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda module, **settings: SimpleNamespace(**settings))
    monkeypatch.setattr(Runtime, "world_size", 2)
    runtime = Runtime(device="cpu")
    runtime.device = device
    assert vars(runtime.wrap(nn.Linear(2, 2)))["device_ids"] == ids
    assert devices.backend(device) == ("cpu:gloo,cuda:nccl" if ids else "gloo")
    frozen = nn.Linear(2, 2).requires_grad_(False)
    assert runtime.wrap(frozen) is frozen


@pytest.mark.parametrize(("ranks", "kind", "dense"), [(1, "cuda", False), (2, "cuda", True), (2, "cpu", False)])
def test_several_gpus_add_up_dense_gradients(ranks: int, kind: str, dense: bool) -> None:
    from tests.contracts.test_outputs import output_layer

    layer = output_layer("huffman_tree", 4, 300, torch.arange(300))
    runtime: Any = SimpleNamespace(world_size=ranks, device=torch.device(kind))
    told = keep_dense(layer, Adam(), False, runtime)
    assert bool(told) == dense == (not layer.lower.sparse)
    assert all("NCCL adds up no sparse gradients" in line for line in told)
    assert keep_dense(Softmax(4, 9), Adam(), False, runtime) == []
