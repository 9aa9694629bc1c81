"""Worker processes: a run's numbers are the same with them, however Python starts processes; and a start imports little.

Python starts them by fork on Linux, from 3.14 on by forkserver there, and by spawn on a Mac.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_reward_training import FEW, MODEL, equal, weights
from tests.faults.test_resume import CLOCK, records, run, settings

WORDS = [*MODEL, *FEW, "objective=reinforce", "trainer.steps=3", "optimizer.lr=0.01"]
WORKERS = ["runtime.workers=1", "objective.reward_processes=1"]


def figures(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key not in CLOCK} for record in records(folder)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def alone(cache: Path) -> Path:
    """A run of one process."""
    return Path(run(*settings(cache, cache / "runs", *WORDS))["run"])


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python's default way to start a process, for a test."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_workers_change_no_number(alone: Path, start_method: None, cache: Path, tmp_path: Path) -> None:
    helped = Path(run(*settings(cache, tmp_path, *WORDS, *WORKERS))["run"])
    assert helped.name == alone.name
    assert equal(weights(helped), weights(alone)) and figures(helped) == figures(alone)


SCRIPT = '''
"""Begins as the installed `seqgen` script does, which every worker imports anew."""

import sys

from seqgen_cli.__main__ import main


class Modules:
    """Stands for the data set that it was given, and reads what the reading process has imported."""

    def __init__(self, dataset):
        self.dataset, self.epochs_alike, self.lengths_nk = dataset, True, dataset.lengths_nk
        self.examples_of_epoch = dataset.examples_of_epoch

    def batch(self, indices, epoch):
        self.dataset.batch(indices, epoch)
        return list(sys.modules)


if __name__ == "__main__":
    import json
    from pathlib import Path

    from seqgen_cli.data.batching import BySentences, TrainStream
    from seqgen_cli.metrics.rewards import SentenceBleu
    from seqgen_cli.metrics.scoring import Scorer
    from tests.corpus_files import prepared, sentences

    dataset = prepared(Path("corpus"), [sentences(60)]).splits["train"]
    scorer = Scorer(SentenceBleu(), 1)
    assert 0 < scorer.start(["it is 3"], ["it is 4"])()[0] < 1
    reward = scorer._pool.submit(eval, "list(__import__('sys').modules)").result()
    data = next(iter(TrainStream(Modules(dataset), BySentences(9), seed=1, workers=1)))
    print(json.dumps([data, reward]))
'''
HEAVY = {"hydra", "omegaconf", "pydantic", "yaml", "rich", "transformers", "tensorboard", "matplotlib"}


def test_a_worker_imports_what_it_works_with(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env={**os.environ, **path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data, reward = (set(modules) for modules in json.loads(done.stdout.splitlines()[-1]))
    assert {"__mp_main__", "seqgen_cli.data.dataset", "torch"} <= data
    assert {"__mp_main__", "seqgen_cli.metrics.rewards", "sacrebleu"} <= reward
    assert data & {*HEAVY, "sacrebleu"} == reward & {*HEAVY, "torch", "numpy"} == set()
