"""Runs with each output layer: stopped and gone on with, bit for bit; their checkpoints translate."""

from __future__ import annotations

import logging
import math
import signal
from pathlib import Path

import pytest

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.restored import from_checkpoint
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.loading import load
from seqgen_cli.training.signals import StoppedError
from tests.faults.test_resume import assert_same_run, model_settings, records, run, settings, stop_after
from tests.helpers import choices

SMALLER = {
    "binary_tree": ["output.dense_nodes=40"],
    "huffman_tree": ["output.dense_nodes=40"],
    "importance": ["output.samples=50"],
    "nce": ["output.samples=50", "output.normaliser=linear"],
    "class_softmax": ["output.grouping=equal_mass"],
    "adaptive_softmax": [],
}
MONITORS = {
    "binary_tree": {"path_length", "unigram_bits"},
    "huffman_tree": {"path_length", "unigram_bits"},
    "importance": {"effective_samples"},
    "nce": {"log_z", "log_z_std"},
    "class_softmax": {"mass_of_classes_0_to_3"},
    "adaptive_softmax": {"mass_of_head", "mass_of_cluster_1"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def asked_of(output: str, cache: Path, runs: Path, *more: str) -> list[str]:
    words = ["trainer.steps=6", "trainer.accumulate=2", "trainer.evaluate_every=3", f"output={output}", *SMALLER[output], *more]
    return settings(cache, runs, *model_settings("rnn"), *words)


def test_every_layer_is_tried() -> None:
    assert set(choices("output")) == {*SMALLER, "softmax", "sigmoid"}, "the last is the classifier's"


@pytest.fixture(scope="module", params=sorted(SMALLER))
def output(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(output: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the layer from its start to its end."""
    return Path(run(*asked_of(output, cache, tmp_path_factory.mktemp("whole")))["run"])


def test_stopping_and_going_on_changes_nothing(
    output: str, whole: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGINT)
        with pytest.raises(StoppedError):
            run(*asked_of(output, cache, tmp_path / "parted"))
    assert_same_run(whole, Path(run(*asked_of(output, cache, tmp_path / "parted"))["run"]))
    last = [record for record in records(whole) if "valid_nll" in record][-1]
    assert {f"valid_{name}" for name in MONITORS[output]} <= set(last)
    assert all(math.isfinite(value) for value in last.values())


def test_a_checkpoint_alone_rebuilds_the_layer(whole: Path) -> None:
    """The perplexity of the restored networks is that of the run's last validation."""
    last = [record for record in records(whole) if "valid_nll" in record][-1]
    translator = load(str(finding.find(whole, print, last=True)), ["decoding=beam"])
    translated = translator.translate(["これは 犬 です", "あ"])
    assert [translation.text is not None for translation in translated] == [True, True]
    restored = from_checkpoint(finding.find(whole, print, last=True))
    config = restored.config
    data = build.prepared(config)
    batch = data.splits["valid"].batch(list(range(len(data.splits["valid"]))))
    sums = build.objective(config, restored.model, restored.output).eval().evaluate(batch)
    assert float(sums["nll"] / sums["tokens"]) == pytest.approx(last["valid_nll"], rel=1e-4)


@pytest.mark.parametrize(
    ("output", "more", "reason"),
    [
        ("huffman_tree", ["trainer.ema_decay=0.9"], "trainer.ema_decay averages every row"),
        ("huffman_tree", ["optimizer=sgd"], "optimizer=sgd has no form by rows"),
        ("huffman_tree", ["optimizer=adamw"], "optimizer.weight_decay moves every row"),
        ("nce", ["output.tied=true"], "output.tied shares its weight with the embedding"),
    ],
)
def test_where_rows_do_not_serve_updates_are_dense_and_it_is_said(
    output: str, more: list[str], reason: str, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(*asked_of(output, cache, tmp_path / "runs", *more))
    assert reason in caplog.text or any(reason in log.read_text() for log in tmp_path.rglob("train.log"))


@pytest.mark.parametrize("output", sorted(SMALLER))
def test_a_layer_without_label_smoothing_says_why_before_any_data_is_read(output: str) -> None:
    with pytest.raises(RequestError, match=rf"output\.label_smoothing is not a setting of output={output}: it needs every"):
        config_of("train", [f"output={output}", "output.label_smoothing=0.1"])
