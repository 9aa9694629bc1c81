"""Data parallelism is a way to compute the same thing: two ranks = one process that accumulates two batches."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.cli.main import main
from seqgen_cli.commands import train
from seqgen_cli.config.door import config_of
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.schedules import Constant, InverseSqrt
from tests.contracts.test_training import Duel
from tests.distributed.ranks import assert_same_training, keep_training, on_two_ranks, under_torchrun
from tests.toys import OneProcess, Regression, stream


def train_toy(machine: Any, accumulate: int) -> dict[str, Any]:
    """Weights and figures after some updates of Adam, clipped, warmed up, on the toy regression."""
    model = Regression()
    batches = stream([5, 1, 7, 3], machine.rank, machine.world_size)
    updates = model.updates(Adam(lr=0.05).make)
    loop = Loop(updates, batches, machine, InverseSqrt(3), seed=1, accumulate=accumulate, clip_norm=0.5)
    for _ in range(6):
        loop.step()
    totals = {name: float(count) for name, count in loop.totals.items()}
    return {"weights": list(model.parameters()), "figures": {**loop.take_figures(), "batches": loop.batches, **totals}}


def test_two_ranks_make_the_steps_of_one(tmp_path: Path) -> None:
    """In float64, with unequal batches, accumulation on each rank, clipping, and global metrics."""
    on_two_ranks(keep_training, train_toy, tmp_path / "two.pt", 2)
    assert_same_training(train_toy(OneProcess(), accumulate=4), torch.load(tmp_path / "two.pt", weights_only=True))


def train_duel(machine: Any, accumulate: int) -> dict[str, Any]:
    """The same of two updates in turn: the first due at every third step, the second by a schedule and a clip of its own, and
    kept in bounds after each step."""
    duel = Duel()
    left, right = duel.updates(period=3)
    right = replace(right, schedule=InverseSqrt(2), clip_norm=0.3, after=partial(bounded, duel.right))
    batches = stream([5, 1, 7, 3], machine.rank, machine.world_size)
    loop = Loop([left, right], batches, machine, Constant(), seed=1, accumulate=accumulate, clip_norm=0.5)
    for _ in range(5):
        loop.step()
    return {"weights": list(duel.parameters()), "figures": {**loop.take_figures(), **loop.learning_rates, **loop.read}}


@torch.no_grad()
def bounded(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.clamp_(-0.6, 0.6)


def test_two_ranks_make_the_steps_of_one_with_several_updates(tmp_path: Path) -> None:
    on_two_ranks(keep_training, train_duel, tmp_path / "two.pt", 2)
    assert_same_training(train_duel(OneProcess(), accumulate=4), torch.load(tmp_path / "two.pt", weights_only=True))


ENCODER = "{model_type:bert,hidden_size:16,num_hidden_layers:2,num_attention_heads:2,intermediate_size:16,vocab_size:400,"
ENCODER += "max_position_embeddings:64,hidden_dropout_prob:0.0,attention_probs_dropout_prob:0.0}"
SHARED = [
    "model.dropout=0",
    "trainer.epochs=null",
    "trainer.steps=6",
    "trainer.log_every=3",
    "trainer.samples=3",
    "trainer.plots=false",
]
CLASSIFIER = [
    *("model=bert_gru", "model.encoder=tiny", "model.gru_hidden=6", "model.max_length=64", "tokenizer.vocab_size=200"),
    *("data=mini_reviews", "data.train_size=70", "data.valid_size=30", "data.test_size=2", "batching.sentences=8"),
]
RUNS = {
    "translation": [
        "data.train_size=400",
        "data.valid_size=31",
        "data.test_size=10",
        "tokenizer.vocab_size=700",
        "batching.max_tokens=400",
        "model.hidden_size=16",
        "model.ffn_size=16",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
        "trainer.decode_limit=5",
        "decoding=greedy",
    ],
    "frozen encoder": CLASSIFIER,
    # Not Adam, which makes steps of noise: the gradient of the keys' bias is exactly zero but for rounding.
    "trained encoder": [*CLASSIFIER, "optimizer=sgd", "model.unfreeze=all", "model.encoder_lr=0.1", f"model.shape={ENCODER}"],
}


def train_command(words: list[str]) -> None:
    assert main(["train", *words]) == 0


@pytest.mark.parametrize("kind", RUNS)
def test_two_ranks_train_the_run_that_one_process_trains(kind: str, tmp_path: Path) -> None:
    """The whole command: sharded batches, sharded validation and decoding, one that encodes while the other waits, one writer."""
    if kind != "translation":
        pytest.importorskip("transformers")

    def asked(name: str) -> list[str]:
        places = [f"runtime.runs_folder={tmp_path / name}", f"runtime.cache_folder={tmp_path / f'{name}-cache'}"]
        return [*RUNS[kind], *SHARED, *places, "runtime.device=cpu"]

    one = Path(train.run(config_of("train", [*asked("one"), "trainer.accumulate=2"]))["run"])
    if kind == "translation":
        under_torchrun("seqgen_cli", "train", *asked("two"))
    else:
        on_two_ranks(train_command, asked("two"))
    (two,) = (tmp_path / "two").iterdir()
    weights = [load_file(finding.find(run, print, last=True) / "model.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        assert_close(tensor, weights[1][name], rtol=0, atol=2e-6)
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert len(lines[0]) == len(lines[1]) >= 3
    for mine, theirs in zip(*lines, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"seconds", "tokens_per_second", "texts_per_second"}:
            assert_close(float(mine[name]), float(theirs[name]), rtol=1e-4, atol=1e-4)
    names = [sorted(path.name for path in (run / "samples").iterdir()) for run in (one, two)]
    assert names[0] == names[1] and names[0][-1] == "step-6.txt"
    assert (one / "samples/step-6.txt").read_text() == (two / "samples/step-6.txt").read_text()


def going_on_is_refused(words: list[str]) -> None:
    assert main(["train", *words]) == 2


def test_another_number_of_processes_goes_on_with_the_same_batches_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun by two ranks and ended by one, it is the run of one process that reads two batches an update."""
    words = [*RUNS["translation"], *SHARED, f"runtime.cache_folder={tmp_path}/cache", "runtime.device=cpu"]
    one = Path(train.run(config_of("train", [*words, f"runtime.runs_folder={tmp_path}/one", "trainer.accumulate=2"]))["run"])
    on_two_ranks(train_command, [*words, f"runtime.runs_folder={tmp_path}/two", "trainer.steps=3"])
    (two,) = (tmp_path / "two").iterdir()
    capsys.readouterr()
    assert main(["train", f"continue={two}", "trainer.steps=6"]) == 0
    said = "The run was begun by 2 processes, and 1 goes on: each reads 2 batches an update, so that updates see the same 2."
    assert said in capsys.readouterr().err
    weights = [load_file(finding.find(run, print, last=True) / "model.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        assert_close(tensor, weights[1][name], rtol=0, atol=2e-6)
    last = finding.find(two, print, last=True)
    assert last.name == "step-6" and read_state(last)["processes"] == 2, "as it was begun"
    assert read_state(last)["loop"]["batches"] == 12
    alone = [*words, f"runtime.runs_folder={tmp_path}/alone"]
    begun = Path(train.run(config_of("train", [*alone, "trainer.steps=3"]))["run"])
    on_two_ranks(going_on_is_refused, [f"continue={begun}", "trainer.steps=6"])
    assert finding.find(begun, print, last=True).name == "step-3", "one batch cannot be shared by two"
