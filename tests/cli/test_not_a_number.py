"""Figures that are no numbers: null in every file, words on the screen, and an end that says so where training cannot go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seqgen_cli.cli.main import main
from seqgen_cli.objectives.base import Loss, Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.report.tables import to_json, write_figures
from tests.faults.test_resume import SMALL, settings


def strictly(text: str) -> Any:
    """JSON as a parser reads it that knows no NaN."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_what_every_parser_reads(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    figures = {"a": nan, "b": [1.5, -inf, {"c": inf, "d": "NaN"}], "e": (2, None, True)}
    expected = {"a": None, "b": [1.5, None, {"c": None, "d": "NaN"}], "e": [2, None, True]}
    assert strictly(to_json(figures)) == expected
    write_figures(tmp_path / "f.json", figures)
    assert strictly((tmp_path / "f.json").read_text()) == expected


CLASSIFIER = [
    "model=bert_gru",
    "model.encoder=tiny",
    "model.gru_hidden=4",
    "tokenizer.vocab_size=100",
    "data=reviews",
    "data.features=none",
]
BRIEF = ["trainer.epochs=null", "trainer.steps=2", "trainer.tensorboard=false", "trainer.plots=false"]


def labelled(path: Path, *labels: str) -> Path:
    path.write_text("label,text\n" + "".join(f"{label},film {number}\n" for number, label in enumerate(labels)))
    return path


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    both, one = labelled(tmp_path / "both.csv", *["neg", "pos"] * 6), labelled(tmp_path / "one.csv", *["pos"] * 4)
    data = [f"data.train={both}", f"data.valid={both}", f"data.test={one}"]
    return [*CLASSIFIER, *data, *BRIEF, f"runtime.runs_folder={tmp_path}/runs", f"runtime.cache_folder={tmp_path}/cache"]


def test_figures_of_one_class(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    capsys.readouterr()
    places = [f"runtime.cache_folder={tmp_path}/cache"]
    assert main(["eval", "--ckpt", str(run), "--json", str(tmp_path / "figures.json"), *places]) == 0
    figures = strictly((tmp_path / "figures.json").read_text())
    assert (figures["roc_auc"], figures["roc_auc_low"], figures["texts"]) == (None, None, 4) and 0 <= figures["accuracy"] <= 1
    out, err = capsys.readouterr()
    assert "not a number" in out
    assert "roc_auc is not defined here: all texts are of class pos." in out and "nan" not in out and "Warning" not in err
    for place in (run / "eval").rglob("*.jsonl"):
        assert [strictly(line) for line in place.read_text().splitlines()]


def test_a_best_metric_without_a_meaning_is_refused_before_training(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, f"data.valid={tmp_path}/one.csv", "trainer.best_metric=roc_auc"]
    assert main(["train", *words]) == 2
    told = "trainer.best_metric=roc_auc is not defined on the validation split: all texts are of class pos."
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))
    assert main(["train", *words, "trainer.best_metric=accuracy"]) == 0


class Exploding(MaximumLikelihood):
    """A loss that is infinite, always."""

    def forward(self, batch: Any, progress: Progress) -> Loss:
        loss = super().forward(batch, progress)
        return Loss({name: term * float("inf") for name, term in loss.terms.items()}, loss.metrics)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def trained(tmp_path: Path, cache: Path, *more: str) -> tuple[int, Path]:
    code = main(["train", *settings(cache, tmp_path, "model=rnn", *SMALL["rnn"], *more)])
    return code, next(path for path in tmp_path.iterdir() if path.is_dir())


@pytest.mark.parametrize("updates", [1, 5])
def test_a_run_without_a_single_update_fails(
    updates: int, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = f"objective._target_={Exploding.__module__}.Exploding"
    code, run = trained(tmp_path, cache, objective, f"trainer.steps={updates}", "trainer.log_every=2")
    assert code == 1 and not list(run.glob("checkpoints/step-*"))
    count = "update was" if updates == 1 else f"{updates} updates were all"
    assert f"The last {count} skipped, up to update {updates}, for a gradient that is not finite." in capsys.readouterr().err
    rows = [strictly(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(row["loss"] is None and row["skipped"] > 0 for row in rows) and len(rows) == (updates + 1) // 2


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = ["trainer.steps=6", "trainer.evaluate_every=2", "schedule=constant", "optimizer=sgd", "trainer.clip_norm=null"]
    code, run = trained(tmp_path, cache, *steps, "optimizer.lr=1e39")
    err = capsys.readouterr().err
    assert code == 1 and "The weights are not finite at update 2" in err and "no checkpoint was kept" in err
    assert not list(run.glob("checkpoints/step-*"))
    for line in (run / "metrics.jsonl").read_text().splitlines():
        strictly(line)


def test_patience_says_that_it_ended_the_run(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = ["trainer.steps=20", "trainer.evaluate_every=1", "trainer.patience=2", "optimizer.lr=1e-30"]
    code, _ = trained(tmp_path, cache, *steps)
    assert code == 0
    assert "Stopped: nll has not been better in 2 validations (trainer.patience)." in capsys.readouterr().err
