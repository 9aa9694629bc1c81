"""seqgen train from its settings to what it leaves: budgets, early stopping, averaging, starting from other weights, dry runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from seqgen_cli.checkpoints import finding, manifest
from seqgen_cli.checkpoints.restored import from_checkpoint
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.cli.main import main
from seqgen_cli.commands import train
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batching import BySentences
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.validation import Validation
from seqgen_cli.training import averaging, dry_run
from seqgen_cli.training.averaging import mean_weights
from seqgen_cli.training.session import Session
from seqgen_cli.training.setup import make_networks
from seqgen_cli.training.trainer import Trainer, Watch
from tests.faults.test_resume import TINY, model_settings, records


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def asked(cache: Path, tmp_path: Path) -> list[str]:
    places = [f"runtime.cache_folder={cache}", f"runtime.runs_folder={tmp_path / 'runs'}"]
    return [*TINY, *model_settings("transformer"), *places, "trainer.decode_limit=0", "trainer.samples=0"]


def run(*overrides: str) -> dict[str, Any]:
    return train.run(config_of("train", overrides))


@pytest.mark.parametrize(
    ("budget", "per_epoch", "total"),
    [
        ({"steps": 7}, 10.0, 7),
        ({"epochs": 2}, 10.0, 20),
        ({"epochs": 2}, 3.5, 7),
        ({"epochs": 0.5}, 3.0, 2),
        ({"epochs": 0.07}, 100.0, 7),  # and not the 7.000000000000001 of floating point, rounded up
        ({"steps": 7, "epochs": 0.1}, 10.0, 1),
        ({"minutes": 1}, 10.0, None),
    ],
)
def test_what_a_budget_buys(budget: dict[str, float], per_epoch: float, total: int | None) -> None:
    assert Trainer(**budget).total_updates(per_epoch) == total  # type: ignore[arg-type]


def test_updates_of_an_epoch_count_accumulation_and_ranks() -> None:
    assert Trainer(steps=1, accumulate=3).updates_per_epoch(60, world_size=4) == 5


@pytest.mark.parametrize("settings", [{}, {"steps": 1, "average": 3}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=r"set trainer\.(steps|keep_best)"):
        Trainer(**settings)  # type: ignore[arg-type]


def test_watch_counts_validations_since_the_best() -> None:
    falling, rising = Watch("nll", higher=False), Watch("bleu", higher=True)
    for step, value in enumerate([3.0, 2.0, 2.0, math.nan, 1.5], start=1):
        falling.see({"nll": value}, step)
        rising.see({"bleu": value}, step)
    assert (falling.best, falling.best_step, falling.bad) == (1.5, 5, 0)
    assert (rising.best, rising.best_step, rising.bad) == (3.0, 1, 4)
    with pytest.raises(RequestError, match=r"trainer\.best_metric=ter is not measured in this run. What is: bleu, nll"):
        Watch("ter", higher=False).see({"nll": 1.0, "bleu": 2.0}, 1)


def test_patience_ends_a_run_that_no_longer_improves(asked: list[str]) -> None:
    """A learning rate of nearly nothing: the figures of all validations are equal, so none is a new best."""
    result = run(*asked, "trainer.steps=50", "trainer.evaluate_every=2", "trainer.patience=3", "optimizer.lr=1e-30")
    assert (result["update"], result["best_update"]) == (8, 2)


def test_minutes_end_a_run_and_count_what_was_spent_before(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "seconds", property(lambda self: 10.0 * self.loop.update))
    result = run(*asked, "trainer.minutes=1")
    assert result["update"] == 6


def test_a_budget_in_epochs_reads_every_batch_once(asked: list[str]) -> None:
    folder = Path(run(*asked, "trainer.epochs=1")["run"])
    config = config_of("train", [*asked, "trainer.steps=1"])
    prepared = build.prepared(config)
    lengths_n = prepared.splits["train"].target_lengths_n
    assert lengths_n is not None and records(folder)[-1]["tokens"] == lengths_n.sum()


def test_samples_are_spread_over_the_validation_set(asked: list[str]) -> None:
    """Two of the four sentences decoded, which are every seventh or eighth of thirty: numbers 0 and 15."""
    folder = Path(run(*asked, "trainer.steps=1", "trainer.samples=2", "trainer.decode_limit=4")["run"])
    config = config_of("train", [*asked, "trainer.steps=1"])
    lines = build.prepared(config).splits["valid"].source_lines()
    samples = (folder / "samples" / "step-1.txt").read_text(encoding="utf-8").splitlines()
    assert samples[::4] == [f"source:    {lines[number]}" for number in (0, 15)]


@pytest.mark.parametrize("limit", [0, 4, "null"])
def test_more_samples_change_no_figure_and_no_name(asked: list[str], tmp_path: Path, limit: int | str) -> None:
    """Of thirty sentences: fewer and more than those that are measured."""
    words = [*asked, "trainer.steps=2", "trainer.evaluate_every=1", f"trainer.decode_limit={limit}"]
    folders = [Path(run(*words, f"trainer.samples={n}", f"runtime.runs_folder={tmp_path / str(n)}")["run"]) for n in (2, 9, 30)]
    assert len({folder.name for folder in folders}) == 1
    assert records(folders[0]) == records(folders[1]) == records(folders[2])
    assert ("valid_bleu" in records(folders[0])[-1]) == (limit != 0)
    blocks = [(folder / "samples" / "step-2.txt").read_text(encoding="utf-8").split("\n\n") for folder in folders]
    assert [len(each) for each in blocks] == [2, 9, 30]
    few, more, all_of_them = ({block.strip() for block in each} for each in blocks)
    assert few <= all_of_them and more <= all_of_them and len(all_of_them) == 30


def test_the_average_of_the_best_is_kept_where_better(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A large learning rate makes the weights bounce, so that their mean is better than each."""
    averaged: list[list[Path]] = []
    monkeypatch.setattr(averaging, "mean_weights", lambda folders: (averaged.append(folders), mean_weights(folders))[1])
    budget = ["trainer.steps=60", "trainer.evaluate_every=5", "trainer.keep_best=5", "trainer.average=4"]
    result = run(*asked, *budget, "optimizer.lr=0.05", "schedule=constant", "model.dropout=0")
    nll_of = {line["update"]: line["valid_nll"] for line in records(Path(result["run"])) if "valid_nll" in line}
    folders = [Path(result["run"]) / "checkpoints" / f"step-{step}" for step in sorted(nll_of, key=nll_of.__getitem__)[:4]]
    assert averaged == [folders]
    mean = mean_weights(folders)
    loaded = [load_file(folder / "model.safetensors") for folder in folders]
    for name, tensor in mean.items():
        assert_close(tensor, torch.stack([weights[name] for weights in loaded]).mean(0), rtol=1e-5, atol=1e-6)
    assert result["average_kept"] == (result["average_nll"] < result["nll"])
    found = finding.find(result["run"], print)
    assert (found.name == "average") == result["average_kept"]
    if result["average_kept"]:
        stored = load_file(found / "model.safetensors")
        assert all(torch.equal(tensor, mean[name]) for name, tensor in stored.items())
        assert manifest.verify(found).metrics["nll"] == result["average_nll"]


def test_what_is_evaluated_with_a_moving_average_is_what_is_stored(asked: list[str]) -> None:
    result = run(*asked, "trainer.steps=10", "trainer.ema_decay=0.5", "optimizer.lr=0.05")
    folder = finding.find(result["run"], print)
    restored = from_checkpoint(folder)
    objective = build.objective(restored.config, restored.model, restored.output).eval()
    prepared = build.prepared(restored.config)
    valid = prepared.splits["valid"]
    sums = objective.evaluate(valid.batch(list(range(len(valid)))))
    assert float(sums["nll"] / sums["tokens"]) == pytest.approx(result["nll"], rel=1e-5)
    raw = read_state(folder)["raw"]
    assert not torch.equal(raw["output.bias"], load_file(folder / "model.safetensors")["output.bias"])


def test_init_from_starts_with_the_others_weights_and_tokenizers(asked: list[str], tmp_path: Path) -> None:
    first = run(*asked, "trainer.steps=6", "optimizer.lr=0.01")
    other = ["data.corpus_seed=2", "trainer.steps=1", "optimizer.lr=1e-30", f"init_from={first['run']}"]
    second = run(*asked, *other)
    folders = [finding.find(result["run"], print) for result in (first, second)]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    for place in (folders[0] / "tokenizers").iterdir():
        assert place.read_bytes() == (folders[1] / "tokenizers" / place.name).read_bytes()


def test_init_from_another_shape_is_refused(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first = run(*asked, "trainer.steps=1")
    assert main(["train", *asked, "trainer.steps=1", "model.ffn_size=24", f"init_from={first['run']}"]) == 2
    message = capsys.readouterr().err
    assert "does not fit this run's model and output" in message and "model.decoder" in message


def test_dry_run_says_what_the_budget_buys_and_trains_nothing(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *asked, "trainer.steps=20", "trainer.accumulate=2", "--dry-run"]) == 0
    shown = {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}
    assert not (tmp_path / "runs").exists()
    config = config_of("train", [*asked, "trainer.steps=20", "trainer.accumulate=2"])
    prepared = build.prepared(config)
    sizes = (prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size)
    model, output = build.network(config, *sizes)
    count = sum(p.numel() for network in (model, output) for p in network.parameters())
    assert shown["parameters"] == shown["trainable parameters"] == f"{count:,}"
    assert float(shown["weights mib"]) == pytest.approx(4 * count / 2**20, abs=0.01)
    assert float(shown["optimizer mib"]) == pytest.approx(8 * count / 2**20, abs=0.01)
    assert float(shown["activations mib"]) > 0
    assert float(shown["updates per epoch"]) == int(shown["batches per epoch"]) / 2
    assert float(shown["epochs"]) == pytest.approx(20 / float(shown["updates per epoch"]), abs=0.01)


def test_a_dry_run_times_a_row_sparse_layer_under_any_optimizer(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["output=huffman_tree", "optimizer=adamw", "trainer.minutes=1", "--dry-run"]
    assert main(["train", *asked, *words]) == 0
    assert "updates " in capsys.readouterr().out


def test_a_dry_run_counts_what_training_holds_once_schedules_are_over(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a hand-over that begins with mle it holds the samples that it will draw, as without one."""

    def activations(*handover: str) -> str:
        objective = ["objective=reinforce", "objective.samples=4", *handover]
        assert main(["train", *asked, *objective, "trainer.steps=20", "--dry-run"]) == 0
        shown = {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}
        return shown["activations mib"]

    assert float(activations("objective/handover=linear")) == float(activations()) > 0


def test_a_dry_run_counts_the_batch_that_holds_the_most(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of batches of equally many sentences the one of the longest, as measuring each of them tells."""
    words = [*(word for word in asked if "max_tokens" not in word), "batching=sentences", "batching.sentences=50"]
    config = config_of("train", [*words, "trainer.steps=1"])
    prepared = build.prepared(config)
    with torch.device("meta"):
        objective = make_networks(config, prepared)[2]
    plan = BySentences(50).plan(prepared.splits["train"].lengths_nk, config.seed)
    counted, each = dry_run._activations(config, objective, prepared), []
    for rows in plan:
        monkeypatch.setattr(BySentences, "plan", lambda *_, rows=rows: [rows])
        each.append(dry_run._activations(config, objective, prepared))
    assert counted == max(each) > min(each)


def test_compiled_networks_train_as_others_and_leave_no_trace_in_checkpoints(asked, tmp_path, monkeypatch):
    compiled: list[Any] = []

    def compile_eagerly(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return plain(function, backend="eager", **options)

    plain = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    stored = []
    for compiling in ("false", "true"):
        made = run(
            *asked,
            "trainer.steps=3",
            "model.dropout=0",
            f"runtime.compile={compiling}",
            f"runtime.runs_folder={tmp_path / compiling}",
        )
        stored.append(load_file(finding.find(made["run"], print) / "model.safetensors"))
    assert len(compiled) == 1
    assert stored[0].keys() == stored[1].keys()
    assert_close(stored[1], stored[0], rtol=1e-4, atol=1e-6)


def test_the_bar_is_quiet_off_a_terminal_and_results_alone_go_to_stdout(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *asked, "trainer.steps=2"]) == 0
    answer = capsys.readouterr()
    assert [line.split()[0] for line in answer.out.splitlines()] == ["run", "best"]
    assert "update 2 of 2: validation: nll" in answer.err and "\r" not in answer.err


def test_a_metric_that_is_not_one_is_refused_before_training(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *asked, "trainer.steps=1", "trainer.best_metric=blue"]) == 2
    assert "trainer.best_metric=blue is not measured in this run" in capsys.readouterr().err


def test_metrics_are_strict_json_whatever_was_measured(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"nll": 1.0, "perplexity": float("inf"), "odd": float("nan")}
    monkeypatch.setattr(Validation, "likelihood", lambda *_: measured)
    folder = Path(run(*asked, "trainer.steps=2")["run"])
    lines = [*(folder / "metrics.jsonl").read_text().splitlines(), (folder / "result.json").read_text()]
    parsed = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines]
    for name, value in {"nll": 1.0, "perplexity": None, "odd": None}.items():
        assert parsed[-1][f"last_{name}"] == parsed[-2][f"valid_{name}"] == value
