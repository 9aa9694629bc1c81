"""Sweeps: every job runs whatever the others do, one table at the end, and the exit code tells."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from seqgen_cli.cli.main import main
from seqgen_cli.config.checked import Config
from seqgen_cli.errors import SeqgenError
from seqgen_cli.training.signals import StoppedError


@pytest.fixture
def jobs(monkeypatch, tmp_path) -> list[Config]:
    """Replaces seqgen bench by a count of its seed; the configs that ran."""
    ran: list[Config] = []

    def run(config: Config) -> dict[str, Any]:
        ran.append(config)
        print("a job's own results")
        if config.seed == 3:
            raise SeqgenError("three is too many.")
        if config.seed == 5:
            raise StoppedError("stopped and saved.", 15)
        if config.seed == 4:
            raise ValueError("a bug")
        return {
            "square": config.seed**2,
            "bleu": config.seed + 0.5,
            "bleu_low": 0.25,
            "bleu_high": 9.0,
            "nested": {"x": config.seed},
        }

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqgen_cli.commands.bench.run", run)
    return ran


def test_a_sweep_runs_every_combination_and_ends_with_one_table(jobs, capsys) -> None:
    assert main(["bench", "-m", "seed=1,2", "model=rnn,attention", "--json", "a=b.json"]) == 0
    assert [(config.seed, config.choices["model"]) for config in jobs] == [
        (1, "rnn"),
        (1, "attention"),
        (2, "rnn"),
        (2, "attention"),
    ]
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("1", "2"))]
    assert rows == [
        ["1", "rnn", "1", "1.5", "[0.25,", "9]", "1"],
        ["1", "attention", "1", "1.5", "[0.25,", "9]", "1"],
        ["2", "rnn", "4", "2.5", "[0.25,", "9]", "2"],
        ["2", "attention", "4", "2.5", "[0.25,", "9]", "2"],
    ]
    assert "a job's own results" in err and "a job's own results" not in out
    (table,) = Path("runs/sweeps").glob("*/table.csv")
    lines = list(csv.DictReader(table.open()))
    assert [(line["seed"], line["model"], line["square"], line["bleu_high"], line["nested.x"]) for line in lines] == [
        ("1", "rnn", "1", "9.0", "1"),
        ("1", "attention", "1", "9.0", "1"),
        ("2", "rnn", "4", "9.0", "2"),
        ("2", "attention", "4", "9.0", "2"),
    ]
    assert [result["figures"]["square"] for result in json.loads(Path("a=b.json").read_text())] == [1, 1, 4, 4]
    assert {path.name for path in Path().iterdir()} == {"runs", "a=b.json"}, "no folders of Hydra's own"


def test_more_than_ten_jobs_stand_in_their_order(monkeypatch, tmp_path) -> None:
    """As Hydra would leave them, which takes a second a job."""

    def leave(*_: Any) -> None:
        (folder,) = Path("runs/sweeps").glob("*/jobs")
        for number in range(11):
            result = {"job": number, "overrides": [f"seed={number}"], "figures": {}, "error": None}
            (folder / f"{number}.json").write_text(json.dumps(result))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqgen_cli.cli.sweep.hydra_main", leave)
    assert main(["bench", "-m", "seed=range(11)", "--json", "figures.json"]) == 0
    assert [result["job"] for result in json.loads(Path("figures.json").read_text())] == list(range(11))


def test_a_failed_job_stops_no_other_and_is_told(jobs, capsys) -> None:
    assert main(["bench", "-m", "seed=1,3,4,2"]) == 1
    assert [config.seed for config in jobs] == [1, 3, 4, 2]
    out, err = capsys.readouterr()
    assert "job 1 failed: three is too many." in err
    assert "job 2 failed: unexpected ValueError: a bug (--debug shows where)" in err and "Traceback" not in err
    assert [
        line.split()[-1] for line in out.splitlines() if line.strip()[:1] in "1234" and "jobs" not in line and line.strip()
    ] == [
        "done",
        "failed",
        "failed",
        "done",
    ]


def test_a_job_stopped_by_a_signal_stops_the_sweep(jobs, capsys) -> None:
    assert main(["bench", "-m", "seed=1,5,2"]) == 143
    assert [config.seed for config in jobs] == [1, 5]
    assert "stopped and saved." in capsys.readouterr().err


def test_a_wrong_value_fails_its_job_alone(jobs, capsys) -> None:
    assert main(["bench", "-m", "model.hidden_size=0,64"]) == 1
    assert [config.model.settings["hidden_size"] for config in jobs] == [64]
    assert "job 0 failed: model.hidden_size is 0; it must be int, 2 or more." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.hiden_size=1,2"], "model.hiden_size is not a setting of model=transformer. Did you mean model.hidden_size"),
        (["model=rnn,atention"], "model=atention is not a choice. Did you mean attention?"),
    ],
)
def test_misspellings_stop_the_sweep_before_any_job(jobs, words, message, capsys) -> None:
    assert main(["bench", "-m", *words]) == 2
    out, err = capsys.readouterr()
    assert jobs == [] and out == "" and message in err


def test_the_same_sweep_finds_its_folder_again(jobs, capsys) -> None:
    for words in (["seed=1,2", "model=rnn"], ["model=rnn", "seed=1,2"], ["seed=1,2", "model=attention"]):
        assert main(["bench", "-m", *words]) == 0
    assert len(list(Path("runs/sweeps").iterdir())) == 2
    assert main(["bench", "-m", "seed=1", "runtime.runs_folder='else where'"]) == 0
    assert len(list(Path("else where/sweeps").iterdir())) == 1


def test_not_under_torchrun(jobs, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["bench", "-m", "seed=1,2"]) == 2
    assert "-m cannot run under torchrun." in capsys.readouterr().err and jobs == []
