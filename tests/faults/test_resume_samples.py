"""Runs that learn from their own outputs: stopped and gone on with, bit for bit, whatever they remember."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError
from seqgen_cli.training.signals import StoppedError
from tests.faults.test_resume import assert_same_run, model_settings, records, run, settings, stop_after

OBJECTIVES = {
    "moving_average": [
        *("objective=reinforce", "objective/baseline=moving_average", "objective/handover=linear", "objective.kl=0.1"),
        *("objective.samples=2", "objective.handover.updates=4"),
    ],
    "learned": [
        *("objective=reinforce", "objective/baseline=learned", "objective/handover=mixer", "objective.samples=2"),
        *("objective.handover.every=2", "objective.entropy=0.01"),
    ],
    "minimum_risk": ["objective=minimum_risk", "objective.samples=3", "objective.mle_weight=0.1"],
}
SHORT = ["objective.max_length_factor=1", "objective.max_length_offset=2", "objective/reward=chrf"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache: Path) -> Path:
    """A run of maximum likelihood, to start from."""
    return Path(run(*settings(cache, cache / "mle", *model_settings("rnn"), "trainer.steps=2"))["run"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopping_and_going_on_changes_nothing(
    objective: str, cache: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [f"init_from={trained}", "trainer.steps=6", "trainer.accumulate=2", "trainer.evaluate_every=6", "trainer.log_every=1"]
    asked = [*model_settings("rnn"), *asked, *OBJECTIVES[objective], *SHORT]
    whole = Path(run(*settings(cache, tmp_path / "whole", *asked))["run"])
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGINT)
        with pytest.raises(StoppedError):
            run(*settings(cache, tmp_path / "parted", *asked))
    assert_same_run(whole, Path(run(*settings(cache, tmp_path / "parted", *asked))["run"]))
    logged = [record for record in records(whole) if "reward" in record]
    assert logged[-1]["update"] == 6 and 0 < logged[-1]["reward"] < 1
    if objective == "moving_average":
        assert [round(record["samples_weight"], 6) for record in records(whole) if "loss" in record] == [0, 0.25, 0.5, 0.75, 1, 1]
        for before, after in itertools.pairwise(logged[1:]):
            assert after["baseline"] == pytest.approx(0.95 * before["baseline"] + 0.05 * before["return"], rel=1e-5)
        assert logged[0].get("baseline") is None and logged[1]["baseline"] == pytest.approx(logged[0]["return"], rel=1e-5)
        last = read_state(finding.find(whole, print, last=True))["objective"]
        start = load_file(finding.find(trained, print) / "model.safetensors")
        kept = {name.removeprefix("starting."): value for name, value in last.items() if name.startswith("starting.")}
        assert kept and all(torch.equal(kept[name], value) for name, value in start.items())
    if objective == "learned":
        assert [record["last_words"] for record in records(whole) if "loss" in record] == [0, 0, 2, 2, 4, 4]


def test_a_divergence_from_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match=r"objective.kl=0.1 keeps the model near .* Start from a trained one, init_from=RUN"):
        config_of("train", ["objective=reinforce", "objective.kl=0.1"])


def test_leave_one_out_needs_others() -> None:
    with pytest.raises(RequestError, match=r"objective.samples=1 is too few for objective/baseline=leave_one_out"):
        config_of("train", ["objective=reinforce", "objective.samples=1"])


def test_minimum_risk_needs_two_outputs() -> None:
    alone = ["objective=minimum_risk", "objective.samples=1"]
    with pytest.raises(RequestError, match=r"objective.samples=1 without the reference is a set of one output"):
        config_of("train", [*alone, "objective.include_reference=false"])
    config_of("train", alone)


@pytest.mark.parametrize("objective", ["reinforce", "minimum_risk"])
def test_a_model_without_a_source_is_refused(objective: str) -> None:
    with pytest.raises(RequestError, match=f"objective={objective} compares .* model=rnn_lm reads no source. Use objective=mle"):
        config_of("train", ["model=rnn_lm", f"objective={objective}"])
