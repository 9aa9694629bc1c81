"""The classifier through the command line: train, eval, classify, load; features kept or not; several classes; no network."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import seqgen_cli
from seqgen_cli.cli.main import main
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.prepare.features import FeatureStore
from seqgen_cli.errors import RequestError
from seqgen_cli.training import journal
from tests.numerics.test_labelled_corpora import write_archive

pytest.importorskip("transformers")

TINY = [
    *("model=bert_gru", "model.encoder=tiny", "model.gru_hidden=8", "tokenizer.vocab_size=400"),
    *("data=mini_reviews", "data.train_size=96", "data.valid_size=30", "data.test_size=30", "batching.sentences=32"),
    *("trainer.tensorboard=false", "trainer.plots=false", "trainer.progress=false", "runtime.device=cpu", "runtime.threads=1"),
]


def train(folder: Path, *more: str) -> Path:
    """The run that `seqgen train` makes in a folder of its own."""
    places = [f"runtime.runs_folder={folder}/runs", f"runtime.cache_folder={folder}/cache"]
    assert main(["train", *TINY, *places, *more]) == 0
    return sorted((folder / "runs").iterdir(), key=lambda run: run.stat().st_mtime)[-1]


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = max((run / "checkpoints").glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))
    return load_file(checkpoint / "model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifier")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_PLAIN_EVERY", 0.0)  # every line that is logged now and then
        return train(folder)


def test_a_run_holds_samples_figures_and_a_frozen_encoder(run: Path) -> None:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [record for record in records if "valid_nll" in record]
    assert len(measured) == 2 and {"valid_accuracy", "valid_f1", "valid_roc_auc"} <= set(measured[0])
    assert records[-1]["texts"] == 2 * 96 and all(record["texts_per_second"] > 0 for record in records if "loss" in record)
    assert not any("token" in name for record in records for name in record)
    assert re.search(r"epoch 2\.00, [\d.,]+ texts/s", (run / "train.log").read_text())
    assert "reference: " in next((run / "samples").iterdir()).read_text()
    kept = weights(run)
    words = kept["model.encoder.embeddings.word_embeddings.weight"].shape[0]
    config = config_of("train", TINY)
    config.runtime.seed(config.seed)  # as the run did before it made the networks
    model, _ = build.network(config, words, 2)
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(kept[f"model.encoder.{name}"], weight), name


def test_every_text_is_encoded_once(run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store,) = (folder / "cache").glob("features-*")
    before = (store / "features.data").stat()

    def encode(*_: Any) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(FeatureStore, "_encode", encode)
    again = train(folder, "model.gru_layers=1", "trainer.steps=2")
    assert again != run
    assert (store / "features.data").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("change", ["runtime.precision=bf16", "data.features_dtype=int8"])
def test_features_of_another_precision_are_others(run: Path, folder: Path, change: str, tmp_path: Path) -> None:
    before = set((folder / "cache").glob("features-*"))
    copy = shutil.copytree(run, tmp_path / "run")
    places = ["runtime.device=cpu", f"runtime.cache_folder={folder}/cache"]
    assert main(["eval", "--ckpt", str(copy), *places, "split=valid", change]) == 0
    (new,) = set((folder / "cache").glob("features-*")) - before
    shutil.rmtree(new)


def test_the_cache_changes_nothing(tmp_path: Path) -> None:
    """Dropout 0, fp32: the same weights to rounding whether features are kept on disk, in memory or not at all."""
    runs = {}
    for place in ("none", "memory", "disk"):
        more = (f"data.features={place}", "data.features_dtype=fp32", "model.dropout=0", "trainer.steps=4")
        runs[place] = weights(train(tmp_path / place, *more))
    for place in ("memory", "disk"):
        for name, weight in runs["none"].items():
            torch.testing.assert_close(runs[place][name], weight, rtol=0, atol=2e-4, msg=lambda text, n=name: f"{n}: {text}")
    assert all(torch.equal(runs["memory"][name], weight) for name, weight in runs["disk"].items())


def test_eval_writes_figures_and_plots(run: Path, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "figures.json"
    assert main(["eval", "--ckpt", str(run), "--json", str(place), f"runtime.cache_folder={folder}/cache"]) == 0
    figures = json.loads(place.read_text())
    assert figures["texts"] == 30 and sum(map(sum, figures["confusion"])) == 30
    assert figures["accuracy"] == pytest.approx((figures["confusion"][0][0] + figures["confusion"][1][1]) / 30)
    assert figures["accuracy_low"] <= figures["accuracy"] <= figures["accuracy_high"]
    (written,) = (run / "eval").iterdir()
    assert {path.name for path in written.iterdir()} == {"roc.png", "confusion.png", "reliability.png", "predictions.jsonl"}


def test_classify_keeps_the_lines(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = "brilliant " * 3000
    stdin = io.TextIOWrapper(io.BytesIO(f"The plot is dull.\n\n{long}\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["classify", "--ckpt", str(run), "--top", "2"]) == 0
    said = capsys.readouterr()
    first, empty, third = said.out.splitlines()
    label, probability, other, rest = first.split("\t")
    assert {label, other} == {"negative", "positive"} and float(probability) + float(rest) == pytest.approx(1, abs=2e-6)
    assert empty == "" and third.count("\t") == 3
    assert "1 empty, left without a label" in said.err and "1 cut to 512 word pieces" in said.err


def test_classify_texts_as_json_and_from_python(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["It is not dull, a=b.", "awful"]
    assert main(["classify", "--ckpt", str(run), "--jsonl", "--text", *texts]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == texts
    classifier: Any = seqgen_cli.load(run, device="cpu")
    for row, found, alone in zip(
        rows, classifier.classify(texts), (classifier.classify([text])[0] for text in texts), strict=True
    ):
        assert row["label"] == found.label and row["probability"] == pytest.approx(found.probability)
        assert [*row["top"]] == [found.label]  # one, unless --top asks for more
        assert alone.probability == pytest.approx(found.probability, abs=1e-4)


def test_a_text_is_cut_from_the_first_piece_too_many(run: Path) -> None:
    """512 pieces with [CLS] and [SEP]."""
    classifier: Any = seqgen_cli.load(run, device="cpu")
    assert [found.cut for found in classifier.classify(["." * 510, "." * 511])] == [False, True]


def test_a_checkpoint_alone_is_enough(run: Path, tmp_path: Path) -> None:
    """No encoder is asked for: the shape stands in the config, the weights in the checkpoint."""
    checkpoint = next((run / "checkpoints").glob("step-*"))
    moved = shutil.copytree(checkpoint, tmp_path / "moved")
    config = (moved / "config.yaml").read_text()
    assert "num_hidden_layers: 2" in config
    (moved / "config.yaml").write_text(config.replace("encoder: tiny", "encoder: someone/on-the-hub"))
    manifest = json.loads((moved / "manifest.json").read_text())
    found = re.sub(hashlib.sha256(config.encode()).hexdigest(), file_hash(moved / "config.yaml"), json.dumps(manifest))
    (moved / "manifest.json").write_text(found)
    texts = ["The plot is not dull."]
    (one,), (two,) = (seqgen_cli.load(place, device="cpu").classify(texts) for place in (checkpoint, moved))
    assert one == two


def test_several_classes_from_a_file(tmp_path: Path) -> None:
    rows = [("fine day", "good"), ("bad day", "bad"), ("day", "neither")] * 12
    file = tmp_path / "a.csv"
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    words = [word for word in TINY if not word.startswith("data")] + ["data=reviews", f"data.train={file}", f"data.test={file}"]
    words += [f"runtime.runs_folder={tmp_path}/runs", f"runtime.cache_folder={tmp_path}/cache", "trainer.steps=2"]
    assert main(["train", *words, "output=softmax", "objective.class_weights=[1.0,2.0,0.5]"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["texts"] == 2 * 32 and "weight" not in last  # what the weights add up to is no figure
    classifier: Any = seqgen_cli.load(run, device="cpu")
    ranking = classifier.classify(["a fine day"])[0].ranking
    assert {label for label, _ in ranking} == {"good", "bad", "neither"}
    assert sum(probability for _, probability in ranking) == pytest.approx(1)
    assert main(["train", *words]) == 2  # the sigmoid is for two classes
    same = ["train", *words, "output=softmax", "trainer.log_every=1", f"data.valid={file}"]
    losses = []
    for weights in ("balanced", "[1.0,1.0,1.0]"):  # every class has twelve texts
        assert main([*same, f"objective.class_weights={weights}", f"runtime.runs_folder={tmp_path}/{len(weights)}"]) == 0
        (run,) = (tmp_path / str(len(weights))).iterdir()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if "loss" in row])
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_dry_run_counts_texts_and_word_pieces(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"runtime.runs_folder={folder}/none", f"runtime.cache_folder={folder}/cache", "trainer.minutes=0.2"]
    assert main(["train", *TINY, *places, "--dry-run", "trainer.epochs=null"]) == 0
    figures = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (
        figures["train examples"] == "96" and figures["batches per epoch"] == "3" and int(figures["updates"].replace(",", "")) > 0
    )
    assert int(figures["train word pieces"].replace(",", "")) > 10 * 96 and "train source tokens" not in figures
    assert int(figures["trainable parameters"].replace(",", "")) < int(figures["parameters"].replace(",", ""))
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=bert_gru", "data=phrasebook"], "model=bert_gru classifies texts; data=phrasebook is for models that generate"),
        (
            ["model=rnn", "output=sigmoid"],
            "model=rnn generates text; output=sigmoid is for models that classify. Use output=",
        ),
        (["model=rnn", "data=imdb"], "model=rnn generates text; data=imdb is for models that classify. Use data="),
        (["model=bert_gru", "tokenizer=sentencepiece"], "Use tokenizer=wordpiece"),
    ],
)
def test_unfit_choices_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(RequestError) as refused:
        config_of("train", words)
    assert message in str(refused.value)


def test_a_model_brings_its_choices_and_the_command_line_wins() -> None:
    words = ["model=bert_gru", "model.encoder=tiny"]
    brought = config_of("train", words).choices
    wanted = {"data": "imdb", "output": "sigmoid", "tokenizer": "wordpiece"}
    wanted |= {"metrics": "classification", "trainer": "classifier", "schedule": "constant"}
    assert {group: brought[group] for group in wanted} == wanted
    own = config_of("train", ["output=softmax", "data=mini_reviews", *words, "schedule=linear"]).choices
    assert (own["data"], own["output"], own["schedule"]) == ("mini_reviews", "softmax", "linear")


def test_parameters_of_the_reference_without_data_or_hub(tmp_path: Path) -> None:
    place = tmp_path / "figures.json"
    assert main(["bench", "model=bert_gru", "--parameters-only", "--json", str(place)]) == 0
    figures = json.loads(place.read_text())
    assert figures["parameters"] == 112_241_409 and figures["trainable_parameters"] == 2_759_169


def test_the_recipe_compares_the_accuracy_of_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "imdb_bert_gru"
    monkeypatch.syspath_prepend(str(recipe))
    accuracy = importlib.import_module("accuracy")
    archive = write_archive(tmp_path / "reviews.tar", 20)
    places = [f"runtime.runs_folder={tmp_path}/runs", f"runtime.cache_folder={tmp_path}/cache"]
    own = [*(word for word in TINY if not word.startswith(("data", "model=", "batching")))]
    accuracy.compare(str(archive), "12", "1", *places, *own, "data.expected_reviews=null")
    runs = sorted((tmp_path / "runs").iterdir())
    configs = [(run / "config.yaml").read_text() for run in runs]
    assert sorted("random_batches.RandomBatches" in config for config in configs) == [False, True]
    assert sorted("features: none" in config for config in configs) == [False, True]
    printed = capsys.readouterr().out.splitlines()
    found = [float(line.split("accuracy ")[1].split(",")[0]) for line in printed if "validation accuracy" in line]
    assert printed[-1] == f"difference in accuracy: {100 * (found[1] - found[0]):+.2f} points"
