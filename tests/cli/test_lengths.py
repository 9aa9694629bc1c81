"""What lengths the data have and the model allows is known before training: said then, with ways out that work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import seqgen_cli
from seqgen_cli.cli.main import main
from seqgen_cli.data.tokenizers.words import split
from seqgen_cli.errors import RequestError

BOUND = 12  # tokens, `</s>` included
LONG = "a b c. d e f. g h i. j k l. m n o."
WORDS = ["tokenizer=words", "tokenizer.min_count=1", "trainer.epochs=null", "trainer.steps=2", "trainer.tensorboard=false"]
WORDS += ["trainer.plots=false", "schedule.warmup=1", "batching.max_tokens=200", "cleaning.drop_overlap=none"]
NARROW = ["model.hidden_size=8", "model.ffn_size=8", "model.positions=learned", f"model.max_positions={BOUND}"]
TRANSFORMER = ["model=transformer", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=1", *NARROW, *WORDS]
LM = ["model=transformer_lm", "model.heads=2", "model.layers=1", "decoding=sample", *NARROW, *WORDS]


def pairs(folder: Path, split_name: str, *extra: str) -> None:
    lines = [*(f"a b c d e f g h i j k l m n o . {number}"[2 * number % 9 :][:14] for number in range(20)), *extra]
    for language in ("en", "fr"):
        (folder / f"{split_name}.{language}").write_text("".join(f"{line}\n" for line in lines))


def words(folder: Path, *more: str) -> list[str]:
    data = ["data=text", "data.target_language=fr", *(f"data.{name}={folder}/{name}" for name in ("train", "valid", "test"))]
    return ["train", *data, f"runtime.runs_folder={folder}/runs", f"runtime.cache_folder={folder}/cache", *more]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train", "valid", "test"):
        pairs(tmp_path, name)
    return tmp_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("seqgen: ")][-1]


TOKENS = len(split(LONG)) + 1
WAYS = [[f"model.max_positions={TOKENS}"], ["model.positions=sinusoidal"], ["model.positions=rotary"]]


@pytest.mark.parametrize("model", [TRANSFORMER, LM], ids=["translation", "language model"])
def test_a_line_that_validation_could_not_read_is_named_before_training(
    model: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(folder, "valid", LONG)
    source = ["data.source_language=en"] if model is TRANSFORMER else []
    asked = words(folder, *model, *source)
    told = refused(asked, capsys)
    assert f"valid: 1 line of more than the {BOUND} tokens that the model reads, the longest of {TOKENS}. " in told
    assert f"Use model.max_positions={TOKENS} or more, model.positions=sinusoidal or rotary, or shorten them" in told
    assert "(the first is line 21)" in told
    assert not list((folder / "runs").rglob("metrics.jsonl"))
    for way in WAYS:  # which the message names
        assert main([*asked, *way, "--dry-run"]) == 0
    pairs(folder, "valid", LONG[:14])
    assert main([*asked, "--dry-run"]) == 0


def test_training_lines_that_the_model_cannot_read_are_left_out_as_the_message_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(folder, "train", LONG, LONG + " p")
    asked = words(folder, *TRANSFORMER, "data.source_language=en")
    told = refused(asked, capsys)
    assert told.startswith("seqgen: train: 2 lines of more than the 12 tokens") and f"the longest of {TOKENS + 1}" in told
    way = told.split(", or set ")[1].split(",")[0]
    assert way == f"cleaning.max_length={BOUND - 1}" and main([*asked, way]) == 0
    assert "too long 2" in capsys.readouterr().err


def test_blocks_longer_than_the_model_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = words(folder, *LM, "data.block=10", "data.context=3")
    told = refused(asked, capsys)
    assert "train: " in told and "blocks of more than the 12 tokens" in told and "a sum of at most 12." in told
    assert main([*asked, "data.context=2", "--dry-run"]) == 0


@pytest.fixture
def run(folder: Path) -> Path:
    assert main(words(folder, *TRANSFORMER, "data.source_language=en")) == 0
    (found,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    return found


def test_translation_is_in_parts_that_the_model_reads(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").write_text(f"a b\n{LONG}\nc d\n")
    assert main(["translate", "--ckpt", str(run), "--input", str(folder / "in"), "--output", str(folder / "out")]) == 0
    assert len((folder / "out").read_text().splitlines()) == 3
    assert "1 over-long, translated in parts" in capsys.readouterr().err
    translator: Any = seqgen_cli.load(run, device="cpu")
    assert translator.max_source_tokens == BOUND
    assert [translation.parts for translation in translator.translate(["a b", LONG, "c d"])] == [1, 3, 1]


def test_scoring_names_the_line_that_it_cannot_read(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(folder, "test", LONG)
    files = ["--source", str(folder / "test.en"), "--target", str(folder / "test.fr")]
    told = refused(["score", "--ckpt", str(run), *files], capsys)
    assert f"Line 21 has {TOKENS} tokens, and the model reads {BOUND}" in told
    translator: Any = seqgen_cli.load(run, device="cpu")
    fits = " ".join("abcdefghijkl"[: BOUND - 1])  # and `</s>`
    assert translator.score([fits], [fits])[0].tokens == BOUND
    for sides in ([fits + " m"], [fits]), ([fits], [fits + " m"]):
        with pytest.raises(RequestError, match=f"Line 1 has {BOUND + 1} tokens"):
            translator.score(*sides)
    (folder / "prefix").write_text(LONG + "\n")
    (folder / "in").write_text("a b\n")
    asked = ["translate", "--ckpt", str(run), "--input", str(folder / "in"), "--prefix", str(folder / "prefix")]
    assert "The prefix of line 1 is longer than the 12 tokens" in refused(asked, capsys)


def test_scoring_in_windows_numbers_the_lines_of_the_file(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqgen_cli.tasks.translate.task.WINDOW", 8)
    pairs(folder, "test", LONG)
    files = ["--source", str(folder / "test.en"), "--target", str(folder / "test.fr")]
    assert f"Line 21 has {TOKENS} tokens" in refused(["score", "--ckpt", str(run), *files], capsys)


def test_evaluation_measures_what_the_model_reads_and_counts_the_rest(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(name: str) -> dict[str, Any]:
        place = folder / f"{name}.json"
        assert main(["eval", "--ckpt", str(run), "--json", str(place), f"runtime.cache_folder={folder}/cache"]) == 0
        found: dict[str, Any] = json.loads(place.read_text())
        return found

    usual = measured("usual")
    assert "leave out" not in capsys.readouterr().out
    pairs(folder, "test", LONG, LONG)
    more = measured("more")
    assert "perplexity and NLL leave out 2 lines of more than the 12 tokens" in capsys.readouterr().out
    assert (more["sentences"], more["target_tokens"]) == (22, usual["target_tokens"])
    assert more["perplexity"] == pytest.approx(usual["perplexity"], rel=1e-6)


def test_a_language_model_s_test_lines_are_looked_at_before_any_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, *LM)) == 0
    (run,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    pairs(folder, "test", LONG)
    asked = ["eval", "--ckpt", str(run), f"runtime.cache_folder={folder}/cache"]
    told = refused(asked, capsys)
    assert "test: 1 line of more than the 12 tokens" in told and "the first is number 21" in told
    way = told.split("as one stream: ")[1].removesuffix(".")
    assert main([*asked, *shlex.split(way)]) == 0
