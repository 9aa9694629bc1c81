"""Texts and names as people give them: one for several, line ends within, half characters, empty names, files elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import seqgen_cli
from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.manifest import Manifest
from seqgen_cli.cli.main import main
from seqgen_cli.errors import RequestError
from seqgen_cli.training.trainer import Watch
from tests.corpus_files import sentences, write
from tests.faults.test_resume import SMALL, TINY

ROOT = Path(__file__).parents[2]
HALF = "\udcff"  # what Python makes of the byte FF on the command line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, and a run of each task in runs/, all trained from within it with relative paths."""
    folder = tmp_path_factory.mktemp("home")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for number, name in enumerate(("train", "valid", "test")):
            write(folder / "corpus" / name, sentences(60 if name == "train" else 10, number))
        (folder / "reviews.csv").write_text("label,text\n" + "".join(f"{['pos', 'neg'][n % 2]},film {n}\n" for n in range(12)))
        files = [f"data.{name}=corpus/{name}" for name in ("train", "valid", "test")]
        text = ["data=text", "data.target_language=en", *files, *(word for word in TINY if not word.startswith("data."))]
        text += ["tokenizer.vocab_size=60", "trainer.steps=2", "runtime.cache_folder=cache", "cleaning.drop_overlap=none"]
        classifier = ["model=bert_gru", "model.encoder=tiny", "model.gru_hidden=4", "tokenizer.vocab_size=100", "data=reviews"]
        classifier += [f"data.{name}=reviews.csv" for name in ("train", "valid", "test")] + ["data.features=none"]
        classifier += ["trainer.epochs=null", "trainer.steps=2", "trainer.plots=false", "runtime.cache_folder=cache"]
        wanted = {
            "translate": ["model=rnn", *SMALL["rnn"], "data.source_language=ja", "data.weights=[1]", *text],
            "generate": ["model=rnn_lm", *SMALL["rnn_lm"], *text],
            "classify": classifier,
        }
        for task, words in wanted.items():
            assert main(["train", *words, f"runtime.runs_folder=made/{task}"]) == 0
            (run,) = (path for path in Path("made", task).iterdir() if path.is_dir())
            shutil.copytree(run, Path("runs", task))
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def models(home: Path) -> dict[str, Any]:
    return {task: seqgen_cli.load(home / "runs" / task, device="cpu") for task in ("translate", "generate", "classify")}


def test_one_text_in_the_place_of_several_is_refused(models: dict[str, Any]) -> None:
    for task, model in models.items():
        with pytest.raises(RequestError, match=rf"{task} takes a list of texts, and was given one text: put it in brackets"):
            getattr(model, task)("one")
        assert len(getattr(model, task)(["one"])) == 1  # what the message advises
    with pytest.raises(RequestError, match="score takes a list"):
        models["generate"].score("one")
    with pytest.raises(RequestError, match="score takes a list"):
        models["translate"].score(["a"], "one")
    with pytest.raises(RequestError, match="translate takes a list"):
        next(models["translate"].stream("one"))


@pytest.mark.parametrize("ended", ["the cat\nand dog", "the cat\r\nand dog", "the cat\rand dog"])
def test_an_end_of_a_line_within_a_text_is_a_space(ended: str, models: dict[str, Any]) -> None:
    plain = "the cat and dog"
    (found,), (same,) = models["generate"].generate([ended]), models["generate"].generate([plain])
    assert found == same and found.texts[0].startswith(plain)
    assert models["translate"].translate([ended]) == models["translate"].translate([plain])
    assert models["classify"].classify([ended]) == models["classify"].classify([plain])
    assert models["translate"].score([ended], [ended]) == models["translate"].score([plain], [plain])


def test_a_prompt_with_line_ends_gives_one_line(home: Path, tmp_path: Path) -> None:
    asked = ["generate", "--ckpt", str(home / "runs" / "generate"), "--prompt", "the cat\nand", "--n", "2"]
    assert main([*asked, "--output", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == 2 and all(line.startswith("the cat and") for line in lines)


def test_half_a_character_is_replaced_and_counted(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task, flag in (("generate", "--prompt"), ("classify", "--text")):
        asked = [task, "--ckpt", str(home / "runs" / task), flag, f"the {HALF} cat", "--jsonl", "--output", str(tmp_path / "out")]
        assert main(asked) == 0
        assert "seqgen: the text is not UTF-8: 1 byte of it read as U+FFFD." in capsys.readouterr().err
        row = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
        assert "the \ufffd cat" in (row["text"] if task == "classify" else row["prompt"])
    translator: Any = seqgen_cli.load(home / "runs" / "translate", device="cpu")
    assert translator.translate(["a\ud800b"]) == translator.translate(["a\ufffdb"])


def test_half_a_character_in_a_shell(home: Path) -> None:
    """A byte that is no UTF-8, as a terminal gives it."""
    command = [sys.executable.encode(), b"-m", b"seqgen_cli", b"classify", b"--ckpt", b"runs/classify", b"--text", b"caf\xe9"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=home, capture_output=True, env=environment)
    assert done.returncode == 0 and b"the text is not UTF-8: 1 byte" in done.stderr and b"Traceback" not in done.stderr
    done = subprocess.run([*command[:-2], b"--input", b"caf\xe9"], cwd=home, capture_output=True, env=environment)
    assert done.returncode == 2 and "caf\ufffd is not UTF-8: rename the file".encode() in done.stderr


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["translate", "--ckpt", ""], "--ckpt"),
        (["eval", "ckpt="], "--ckpt"),
        (["eval", "--hyp", "a", "--ref", ""], "--ref"),
        (["train", "--init-from", ""], "--init-from"),
        (["translate", "--ckpt", "x", "--output", ""], "--output"),
        (["train", "--continue", ""], "--continue"),
        (["score", "--ckpt", "x", "--target="], "--target"),
    ],
)
def test_an_empty_name_is_said_to_be_empty(words: list[str], flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a variable of the shell that is not set."""
    assert main(words) == 2
    assert f"seqgen: {flag} is empty: give it a value, or leave it out." in capsys.readouterr().err


def test_a_name_that_no_checkpoint_keeps_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Braces alone are kept, and a run with them is loaded again."""
    monkeypatch.chdir(tmp_path)
    for name in ("a${b}", "c{d}"):
        for split in ("train", "valid"):
            write(tmp_path / name / split, sentences(20, split == "valid"))
    small = ["model=rnn_lm", *SMALL["rnn_lm"], *(word for word in TINY if not word.startswith("data."))]
    words = ["data=text", "data.target_language=en", *small, "tokenizer.vocab_size=60", "trainer.steps=1"]
    asked = ["train", *words, "cleaning.drop_overlap=none", "runtime.cache_folder=cache"]
    assert main([*asked, "--data.train", "a${b}/train", "--data.valid", "a${b}/valid"]) == 2
    assert "data holds 'a${b}/train': no checkpoint keeps text with `${`" in capsys.readouterr().err
    assert not Path("runs").exists()
    assert main([*asked, "--data.train", "c{d}/train", "--data.valid", "c{d}/valid", "--runtime.runs-folder", "r{x}"]) == 0
    (run,) = (path for path in Path("r{x}").iterdir() if path.is_dir())
    assert main(["generate", "--ckpt", str(run), "--prompt", "a", "--max-length", "2"]) == 0


@pytest.mark.parametrize("task", ["translate", "generate", "classify"])
def test_evaluating_from_elsewhere_needs_the_split_alone(
    task: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    asked = ["eval", "--ckpt", str(home / "runs" / task), "metrics.bootstrap=0"]
    assert main([*asked, "--json", str(tmp_path / "here.json"), "runtime.cache_folder=cache"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main([*asked, "runtime.cache_folder=cache"]) == 2
    name = "reviews.csv" if task == "classify" else "corpus/test"
    err = capsys.readouterr().err
    assert f"data.test{'=' if task == 'classify' else ': '}{name}" in err and f"looked for it in {tmp_path}" in err
    there = ["--data.test", str(home / name), "runtime.cache_folder=cache"]
    assert main([*asked, *there, "--json", str(tmp_path / "there.json")]) == 0
    here, elsewhere = (json.loads((tmp_path / f"{place}.json").read_text()) for place in ("here", "there"))
    changing = {"seconds", "tokens_per_second", "sentences_per_second", "translations"}
    assert {k: v for k, v in here.items() if k not in changing} == {k: v for k, v in elsewhere.items() if k not in changing}


def test_of_equal_validations_summary_and_disk_take_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, values = Watch("accuracy", True), [0.5, 0.7, 0.7, 0.6, 0.7]
    for step, value in enumerate(values, start=1):
        watch.see({"accuracy": value}, step)
    known = [
        (Path(f"step-{step}"), Manifest(step, {"accuracy": value}, "accuracy", True))
        for step, value in enumerate(values, start=1)
    ]
    monkeypatch.setattr(finding, "manifests", lambda folder: iter(known))
    assert finding.ranked(tmp_path)[0].name == f"step-{watch.best_step}" == "step-2"


def test_an_output_cut_at_its_longest_ends_in_no_space(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    translator = models["translate"]
    decode = translator.target_tokenizer.decode
    monkeypatch.setattr(translator.target_tokenizer, "decode", lambda rows: [f"{text} " for text in decode(rows)])
    assert not any(found.text.endswith(" ") for found in translator.translate(["a", "b"]))


def test_one_line_is_a_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_text("a\n")
    for task, noun in (("translate", "line"), ("classify", "text"), ("generate", "text")):
        asked = [task, "--ckpt", str(home / "runs" / task), "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
        assert main(asked) == 0
        assert f"1 {noun} in " in capsys.readouterr().err
