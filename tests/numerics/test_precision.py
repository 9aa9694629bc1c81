"""runtime.precision=auto: what it takes, that it keeps to it, and what is said of a bf16 that loses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqgen_cli.commands import bench, train
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks import precision
from tests.helpers import choices, random_batch, random_texts

TINY = ["data.train_size=400", "data.valid_size=30", "data.test_size=10", "tokenizer.vocab_size=700", "trainer.epochs=null"]
TINY += ["trainer.plots=false", "trainer.tensorboard=false", "trainer.decode_limit=0", "batching.max_tokens=400"]
SMALL = {
    "rnn": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "attention": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "rnn_lm": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "transformer": ["model.hidden_size=8", "model.ffn_size=12", "model.heads=2"],
    "transformer_lm": ["model.hidden_size=8", "model.ffn_size=12", "model.heads=2"],
    "bert_gru": ["model.encoder=tiny", "model.gru_hidden=4"],
}
CPU = torch.device("cpu")


def networks(model: str, output: str | None = None, training: bool = True) -> tuple[Any, Any]:
    config = config_of(
        "train", [f"model={model}", *SMALL.get(model, SMALL["transformer"]), *([f"output={output}"] if output else [])]
    )
    classes = 2 if model == "bert_gru" else 13
    made = build.network(config, 11, classes, torch.arange(classes))
    return made[0].train(training), made[1].train(training)


def fake_clock(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[str]:
    """Passes take as long as said (and run all the same); the precision of each."""
    seen = []

    def timed(work: Callable[[], object], device: torch.device) -> float:
        work()
        seen.append("bf16" if low.pop() else "fp32")
        return seconds[seen[-1]]

    low: list[bool] = []
    autocast = devices.autocast

    def noted(device: torch.device, asked: Any) -> Any:
        low.append(asked == "bf16")
        return autocast(device, asked)

    monkeypatch.setattr(precision, "timed", timed)
    monkeypatch.setattr(devices, "autocast", noted)
    return seen


@pytest.mark.parametrize(
    ("bf16", "taken"), [(0.5, "bf16"), (0.9, "bf16"), (0.97, "fp32"), (1.0, "fp32"), (2.5, "fp32"), (30.0, "fp32")]
)
def test_auto_takes_bf16_where_it_wins_by_more_than_chance(monkeypatch, caplog, bf16: float, taken: str) -> None:
    seen = fake_clock(monkeypatch, {"fp32": 1.0, "bf16": bf16})
    kernels: list[str] = []
    monkeypatch.setattr(devices, "choose_kernels", lambda device, asked: kernels.append(asked))
    runtime = Runtime(device="cpu", precision="auto")
    with caplog.at_level("INFO", "seqgen_cli.tasks.precision"):
        precision.settle_precision(runtime, [networks("transformer")], lambda rows: random_batch(batch_size=5))
    tokens = int(random_batch().source_lengths_B.sum() + random_batch().target_lengths_B.sum())
    assert runtime.precision == taken
    assert [record.getMessage() for record in caplog.records] == [
        f"runtime.precision=auto takes {taken}: the model reads {tokens:,} tokens a second in fp32, {tokens / bf16:,.0f} in bf16."
    ]
    assert seen.count("bf16") == (1 if bf16 == 30.0 else 4)  # hopeless: not tried again
    assert kernels == [*seen, taken]  # each pass with its own, and then those of what was taken


@pytest.mark.parametrize(
    ("fixed", "of_row", "most", "expected"),
    [
        (0.0, 0.03, 99, [1, 1, 2, 4, 8]),  # 8 rows are the first to take 0.2 s
        (0.0, 0.03, 3, [1, 1, 2, 3]),  # the whole batch
        (0.2, 0.02, 99, [1, 1, 2, 4, 8, 16, 32, 64]),  # with 64 rows, what they cost outweighs what every pass does
        (0.6, 0.3, 99, [1, 1, 2]),  # a second is enough
        (3.0, 0.1, 99, [1, 1]),
    ],
)
def test_a_pass_is_long_enough_to_be_timed(monkeypatch, fixed: float, of_row: float, most: int, expected: list[int]) -> None:
    rows: list[int] = []

    def seconds(device: Any, networks: Any, batch: Any, asked: str) -> float:
        rows.append(len(batch))
        return fixed + len(batch) * of_row

    monkeypatch.setattr(precision, "_seconds", seconds)
    precision.measure(CPU, [], lambda count: random_batch(batch_size=min(count, most)))
    assert rows[: len(expected)] == expected and set(rows[len(expected) :]) == {expected[-1]}


@pytest.mark.parametrize(("bf16", "warned"), [(8.0, True), (1.0, False), (0.5, False)])
def test_a_bf16_that_was_asked_for_and_loses_is_said_with_both_rates(monkeypatch, caplog, bf16: float, warned: bool) -> None:
    fake_clock(monkeypatch, {"fp32": 1.0, "bf16": bf16})
    runtime = Runtime(device="cpu", precision="bf16")
    with caplog.at_level("WARNING", "seqgen_cli.tasks.precision"):
        precision.settle_precision(runtime, [networks("transformer")], lambda rows: random_batch())
    assert runtime.precision == "bf16"
    tokens = int(random_batch().source_lengths_B.sum() + random_batch().target_lengths_B.sum())
    said = [
        f"runtime.precision=bf16 is slower here than fp32: the model reads {tokens / 8:,.0f} tokens a second against {tokens:,}. "
        "Use runtime.precision=auto, which takes the faster one."
    ]
    assert [record.getMessage() for record in caplog.records] == (said if warned else [])


@pytest.mark.parametrize(("model", "cells"), [("attention", True), ("bert_gru", True), ("transformer", False)])
def test_in_what_cells_run_is_said_once(monkeypatch, caplog, model: str, cells: bool) -> None:
    fake_clock(monkeypatch, {"fp32": 1.0, "bf16": 0.5})
    with caplog.at_level("INFO", "seqgen_cli.tasks.precision"):
        precision.settle_precision(Runtime(device="cpu", precision="auto"), [networks(model)])
        precision.settle_precision(Runtime(device="cpu", precision="fp32"), [networks(model)])
    said = [record.getMessage() for record in caplog.records[1:]]
    with caplog.at_level("INFO", "seqgen_cli.tasks.precision"):
        caplog.clear()
        precision.settle_precision(Runtime(device="cpu", precision="auto"), [networks(model)], kept="bf16")
    assert said == [record.getMessage() for record in caplog.records]  # a run that goes on says it, too
    assert said == (["Recurrent cells run in float32; bf16 is for the other products."] if cells else [])


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_no_trace(model: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in weights, gradients and buffers nor in the random numbers that follow; on made-up texts and on given ones."""
    monkeypatch.setattr(precision, "_LONG_ENOUGH", 0.01)
    monkeypatch.setattr(precision, "_TOO_LONG", 0.01)
    made = networks(model, "nce" if model == "transformer" else None, training)
    before = [tensor.clone() for part in made for tensor in part.state_dict().values()]
    random = torch.get_rng_state()
    batch = random_texts(classes=2) if model == "bert_gru" else random_batch()
    labelled = model == "bert_gru"
    for given in (lambda rows: precision.stand_in(*made, rows, labelled), lambda rows: batch):
        rates = precision.measure(CPU, [made], given)
        assert rates.fp32 > 0 and rates.bf16 > 0
    assert torch.equal(random, torch.get_rng_state())
    after = [tensor for part in made for tensor in part.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(parameter.grad is None for part in made for parameter in part.parameters())
    assert made[0].training == training


def weights(run: str) -> dict[str, torch.Tensor]:
    return load_file(sorted((Path(run) / "checkpoints").iterdir())[-1] / "model.safetensors")


def test_what_auto_took_is_kept_when_a_run_goes_on(monkeypatch, tmp_path) -> None:
    """Also where another precision would win by then, and in numbers it is the precision that it stands for."""

    def go(name: str, asked: str, *more: str) -> dict[str, Any]:
        overrides = [*TINY, "model=attention", *SMALL["attention"], f"runtime.precision={asked}", *more]
        places = [f"runtime.runs_folder={tmp_path / name}", f"runtime.cache_folder={tmp_path}"]
        return train.run(config_of("train", [*overrides, *places]))

    fake_clock(monkeypatch, {"fp32": 1.0, "bf16": 0.5})
    first = go("auto", "auto", "trainer.steps=2")
    monkeypatch.setattr(precision, "measure", lambda *_: precision.Rates(fp32=9.0, bf16=1.0))
    longer = go("auto", "auto", "trainer.steps=4", f"continue={first['run']}")
    assert longer["run"] == first["run"] and longer["update"] == 4
    kept = torch.load(Path(longer["run"]) / "checkpoints" / "step-4" / "training.pt", weights_only=True)
    assert kept["precision"] == longer["precision"] == "bf16"
    told, plain = go("told", "bf16", "trainer.steps=4"), go("plain", "fp32", "trainer.steps=4")
    assert told["run"].rsplit("-", 1)[1] != longer["run"].rsplit("-", 1)[1]  # what was asked names a run
    same, other = weights(told["run"]), weights(plain["run"])
    assert all(torch.equal(value, same[name]) for name, value in weights(longer["run"]).items())
    assert any(not torch.equal(value, other[name]) for name, value in weights(longer["run"]).items())
    assert json.loads((Path(longer["run"]) / "result.json").read_text())["precision"] == "bf16"


def test_a_layer_alone_is_not_measured() -> None:
    with pytest.raises(RequestError, match=r"runtime.precision=auto measures a whole model, layer.vocab_sizes a layer alone"):
        bench.run(config_of("bench", ["layer.vocab_sizes=[50]", "runtime.precision=auto", "runtime.device=cpu"]))


def test_nothing_is_measured_where_nothing_is_computed(monkeypatch) -> None:
    monkeypatch.setattr(precision, "measure", lambda *_: pytest.fail("measured"))
    runtime = Runtime(device="meta", precision="auto")
    precision.settle_precision(runtime, [networks("rnn")])
    assert runtime.precision == "fp32"
    precision.settle_precision(Runtime(device="cpu", precision="fp32"), [networks("rnn")])
