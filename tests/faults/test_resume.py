"""Stopping anywhere and going on gives, bit for bit, what never stopping gives: weights, metrics and samples."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.cli.main import main
from seqgen_cli.commands import train
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError
from seqgen_cli.training import session
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.signals import Interruption, StoppedError
from tests.helpers import generators

TINY = [
    "data.train_size=400",
    "data.valid_size=30",
    "data.test_size=10",
    "tokenizer.vocab_size=700",
    "batching.max_tokens=400",
    "trainer.epochs=null",
    "trainer.tensorboard=false",
    "trainer.plots=false",
    "trainer.log_every=3",
    "trainer.decode_limit=4",
    "trainer.samples=2",
    "decoding=greedy",
    "schedule.warmup=2",
]
SMALL = {
    "rnn": ["model.hidden_size=16", "model.embedding_size=16"],
    "attention": ["model.hidden_size=16", "model.embedding_size=16"],
    "transformer": ["model.hidden_size=16", "model.ffn_size=16", "model.encoder_layers=1", "model.decoder_layers=1"],
    "rnn_lm": ["model.hidden_size=16", "model.embedding_size=16", "decoding=sample"],
    "transformer_lm": ["model.hidden_size=16", "model.ffn_size=16", "model.layers=1", "decoding=sample"],
}
CLOCK = {"seconds", "tokens_per_second", "texts_per_second"}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def settings(cache: Path, runs: Path, *more: str) -> list[str]:
    return [*TINY, f"runtime.cache_folder={cache}", f"runtime.runs_folder={runs}", *more]


def run(*overrides: str) -> dict[str, Any]:
    return train.run(config_of("train", overrides))


def stop_after(monkeypatch: pytest.MonkeyPatch, updates: int, what: int = signal.SIGTERM) -> None:
    """Send this process a signal while it makes the update numbered so."""
    original = Loop.step

    def step(loop: Loop) -> None:
        original(loop)
        if loop.update == updates:
            signal.raise_signal(what)

    monkeypatch.setattr(Loop, "step", step)


def records(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock says."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in CLOCK} for line in lines]


def assert_same_run(first: Path, second: Path) -> None:
    """Equal metrics, samples, and last checkpoint: weights and all that training goes on from."""
    assert records(first) == records(second) != []
    names = [sorted(path.name for path in (folder / "samples").iterdir()) for folder in (first, second)]
    assert names[0] == names[1] != []
    for name in names[0]:
        assert (first / "samples" / name).read_bytes() == (second / "samples" / name).read_bytes()
    places = [finding.find(folder, print, last=True) for folder in (first, second)]
    assert places[0].name == places[1].name
    weights = [load_file(place / "model.safetensors") for place in places]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert_equal(*(read_state(place) for place in places))


def assert_equal(one: Any, other: Any, key: str = "") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), key
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - CLOCK:
            assert_equal(one[name], other[name], f"{key}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other)
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, theirs, f"{key}[{number}]")
    else:
        assert one == other, key


def model_settings(model: str) -> list[str]:
    return [f"model={model}", *SMALL[model], "model.dropout=0.3"]


def test_every_model_is_tried() -> None:
    assert {name.removesuffix("_base") for name in generators()} <= {*SMALL, "synthetic"}


@pytest.mark.parametrize("model", sorted(SMALL))
def test_stopping_and_going_on_changes_nothing(
    model: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dropout, accumulation, the moving average, Adam's moments, the schedule and half a log window all go on."""
    extras = ["trainer.accumulate=2", "trainer.ema_decay=0.9", "trainer.steps=14", "trainer.evaluate_every=5"]
    asked = settings(cache, tmp_path / "whole", *model_settings(model), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(StoppedError, match=r"stopped at update 7 and saved .*step-7; the same command goes on") as stopped:
            run(*parted)
    assert stopped.value.exit_code == 143
    assert_same_run(whole, Path(run(*parted)["run"]))


def test_going_on_with_subword_sampling_sgd_and_cosine(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = ["tokenizer.sampling_alpha=0.2", "optimizer=sgd", "optimizer.momentum=0.9", "schedule=cosine", "trainer.steps=9"]
    asked = settings(cache, tmp_path / "whole", *model_settings("transformer"), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGINT)
        with pytest.raises(StoppedError) as stopped:
            run(*parted)
    assert stopped.value.exit_code == 130
    assert_same_run(whole, Path(run(*parted)["run"]))


def test_time_is_counted_over_all_resumptions_and_speed_since_the_line_before(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that every update moves by ten seconds, and nothing else does."""
    now, step = [0.0], Loop.step

    def slow(loop: Loop) -> None:
        step(loop)
        now[0] += 10

    monkeypatch.setattr(Loop, "step", slow)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now[0]))
    extras = ["trainer.minutes=1", "trainer.log_every=1", "trainer.evaluate_every=100"]
    asked = settings(cache, tmp_path, *model_settings("transformer"), *extras)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(StoppedError):
            run(*asked)
    result = run(*asked)
    assert (result["update"], result["seconds"]) == (6, 60)
    lines = [json.loads(line) for line in (Path(result["run"]) / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "loss" in line]
    assert [line["seconds"] for line in lines] == [10, 20, 30, 40, 50, 60]
    tokens = np.diff([0, *(line["tokens"] for line in lines)])
    assert [line["tokens_per_second"] for line in lines] == pytest.approx(tokens / 10)


def test_signals_mean_after_a_run_what_they_meant_before() -> None:
    """Inside, the first is noted alone, and Ctrl-C after it interrupts at once."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_stop_during_validation_validates_again(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqgen_cli.tasks.validation import Validation

    extras = ["trainer.steps=6", "trainer.evaluate_every=3", "trainer.ema_decay=0.5"]
    asked = settings(cache, tmp_path / "whole", *model_settings("transformer"), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    original = Validation.likelihood

    def interrupted(self: Validation, check: Callable[[], None]) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return original(self, check)

    for _ in range(2):  # at update 3, and again when it goes on there
        with monkeypatch.context() as patch:
            patch.setattr(Validation, "likelihood", interrupted)
            with pytest.raises(StoppedError, match="stopped at update 3"):
                run(*parted)
    assert_same_run(whole, Path(run(*parted)["run"]))


def test_kill_9_at_a_random_moment(cache: Path, tmp_path: Path) -> None:
    """200 updates in one go = killed somewhere, twice, and started again by the same command."""
    extras = [
        "trainer.steps=200",
        "trainer.save_every=20",
        "trainer.evaluate_every=100",
        "trainer.log_every=7",
        "runtime.threads=1",
    ]
    asked = settings(cache, tmp_path / "whole", *model_settings("transformer"), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    folder = tmp_path / "parted" / whole.name
    for share in (0.1, 0.5):
        # Forked: nothing is imported again.
        process = multiprocessing.get_context("fork").Process(target=main, args=(["train", *parted],))
        process.start()
        while process.is_alive() and reached(folder) < 200 * share:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.join()
    run(*parted)
    assert_same_run(whole, folder)


def reached(folder: Path) -> int:
    """The update of the latest checkpoint, 0 before the first."""
    return max((int(path.name.partition("-")[2]) for path in folder.glob("checkpoints/step-*")), default=0)


def test_a_damaged_last_checkpoint_costs_only_time(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extras = ["trainer.steps=8", "trainer.save_every=2", "trainer.keep_last=2"]
    asked = settings(cache, tmp_path / "whole", *model_settings("transformer"), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        with pytest.raises(StoppedError):
            run(*parted)
    folder = tmp_path / "parted" / whole.name
    (folder / "checkpoints/step-6/training.pt").write_bytes(b"half")
    run(*parted)
    assert_same_run(whole, folder)
    assert "step-6 is damaged (training.pt: SHA-256 differs from its manifest); using step-4." in caplog.text


@pytest.fixture
def finished(cache: Path, tmp_path: Path) -> tuple[list[str], Path]:
    asked = settings(cache, tmp_path / "runs", *model_settings("transformer"), "trainer.steps=4")
    return asked, Path(run(*asked)["run"])


def test_a_finished_run_is_found_again(finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    asked, folder = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")}
    capsys.readouterr()
    assert main(["train", *asked]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")} == before
    assert capsys.readouterr().out.splitlines()[0] == f"run      {folder}"


def test_continue_extends_and_equals_the_longer_run(finished: tuple[list[str], Path], cache: Path, tmp_path: Path) -> None:
    """Both validated at update 4, which the shorter run does at its end."""
    asked, folder = finished
    assert main(["train", f"continue={folder}", "trainer.steps=9", "trainer.evaluate_every=4"]) == 0
    longer = [word for word in asked if not word.startswith("trainer.steps")] + ["trainer.steps=9", "trainer.evaluate_every=4"]
    whole = Path(run(*longer)["run"])
    assert_same_run(whole, folder)
    assert [record["update"] for record in records(folder)] == [3, 4, 4, 6, 8, 8, 9, 9]


@pytest.mark.parametrize("change", ["model=rnn", "data.train_size=500", "model.dropout=0.1", "seed=2"])
def test_continue_keeps_what_makes_the_run(
    finished: tuple[list[str], Path], change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"continue={finished[1]}", change]) == 2
    assert f"{change} cannot change in a run under way" in capsys.readouterr().err


def test_fresh_starts_anew(finished: tuple[list[str], Path]) -> None:
    asked, folder = finished
    before = records(folder)
    (folder / "samples" / "old.txt").write_text("old")
    assert main(["train", *asked, "--fresh"]) == 0
    assert records(folder) == before and not (folder / "samples" / "old.txt").exists()


def test_other_data_are_refused(finished: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command over a corpus that has changed since must not silently go on."""
    asked, _ = finished
    original = build.prepared
    monkeypatch.setattr(build, "prepared", lambda *args, **kwargs: replace(original(*args, **kwargs), fingerprint="other"))
    with pytest.raises(RequestError, match=r"no longer what it was trained on.*fresh=true"):
        run(*asked)


def test_a_full_disk_ends_the_run_and_freeing_it_goes_on(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = ["trainer.steps=6", "trainer.save_every=2"]
    asked = settings(cache, tmp_path / "whole", *model_settings("transformer"), *extras)
    whole = Path(run(*asked)["run"])
    parted = [word.replace(str(tmp_path / "whole"), str(tmp_path / "parted")) for word in asked]
    with monkeypatch.context() as patch:

        def full(state: Any, file: Any) -> None:
            if state["loop"]["update"] == 4:
                raise OSError(28, os.strerror(28))
            torch.serialization.save(state, file)

        patch.setattr(torch, "save", full)
        with pytest.raises(
            Exception, match=r"step-4 could not be written \(No space left on device\). Earlier checkpoints are intact"
        ):
            run(*parted)
    run(*parted)
    assert_same_run(whole, tmp_path / "parted" / whole.name)


def test_an_unwritable_run_folder(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["train", *settings(cache, tmp_path / "file", "trainer.steps=1")]) == 2
    assert "cannot be written (Not a directory). Choose another place with runtime.runs_folder=PATH." in capsys.readouterr().err
