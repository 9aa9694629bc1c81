"""Runs that train on inputs or targets of their own: stopped and gone on with, bit for bit; schedules go on where they were.

Runs that learn from rewards are tried in test_resume_samples.py.
"""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest

from seqgen_cli.objectives.decays import InverseSigmoid
from seqgen_cli.training.signals import StoppedError
from tests.faults.test_resume import assert_same_run, model_settings, records, run, settings, stop_after
from tests.helpers import choices

TRIED = {
    "scheduled_sampling": ["objective.decay.k=2.0", "objective.mixing=sampled"],
    "raml": ["objective.tau=0.2"],
}
LOGGED = {"scheduled_sampling": {"eps", "replaced"}, "raml": {"changed"}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_every_objective_is_tried() -> None:
    assert set(choices("objective")) == {*TRIED, "mle", "reinforce", "minimum_risk"} and TRIED.keys() == LOGGED.keys()


@pytest.mark.parametrize("objective", sorted(TRIED))
def test_stopping_and_going_on_changes_nothing(
    objective: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(runs: str) -> list[str]:
        words = ["trainer.steps=6", "trainer.accumulate=2", "trainer.evaluate_every=3", f"objective={objective}"]
        return settings(cache, tmp_path / runs, *model_settings("rnn"), *words, *TRIED[objective])

    whole = Path(run(*asked("whole"))["run"])
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGINT)
        with pytest.raises(StoppedError):
            run(*asked("parted"))
    assert_same_run(whole, Path(run(*asked("parted"))["run"]))
    logged = [record for record in records(whole) if "loss" in record]
    assert [record["update"] for record in logged] == [3, 6]
    assert all(LOGGED[objective] <= set(record) for record in logged)
    assert all(math.isfinite(value) for record in logged for value in record.values())
    if objective == "scheduled_sampling":
        shares = [InverseSigmoid(2.0)(update) for update in range(6)]
        for record, of in zip(logged, (shares[:3], shares[3:]), strict=True):
            assert min(of) < record["eps"] < max(of)  # a mean weighted by tokens
            assert record["replaced"] == pytest.approx(1 - record["eps"], abs=0.2)
