"""seqgen prepare, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqgen_cli.cli.main import main
from tests.corpus_files import sentences, write


@pytest.fixture
def base(tmp_path: Path) -> list[str]:
    for name, count, seed in (("train", 200, 0), ("dev", 20, 1), ("test", 30, 2)):
        write(tmp_path / name, sentences(count, seed))
    return [
        "prepare", "data=text", "data.source_language=ja", "data.target_language=en", f"runtime.cache_folder={tmp_path}/cache",
        f"data.train=[{tmp_path}/train]", f"data.valid={tmp_path}/dev", f"data.test={tmp_path}/test", "tokenizer.vocab_size=60",
    ]  # fmt: skip


def test_prints_sizes_and_counts(base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*base, "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr()
    assert "train" in printed.out and "vocabularies: source 60, target 60" in printed.out
    assert "exact duplicate 0" in printed.err and "200 pairs read" in printed.err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [figures[f"{name}_pairs"] for name in ("train", "valid", "test")] == [200, 20, 30]


def test_labelled_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes counted by hand: every word is one piece, [CLS] and [SEP] stand around each text."""
    pytest.importorskip("tokenizers")
    rows = {"train": [("a fine day", "good"), ("a day", "bad"), ("fine", "good")], "test": [("bad a", "bad"), ("a " * 20, "bad")]}
    for name, examples in rows.items():
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in examples))
    files = [f"data.{split}={tmp_path}/{name}.tsv" for split, name in (("train", "train"), ("valid", "test"))]
    words = ["prepare", "data=reviews", *files, f"runtime.cache_folder={tmp_path}/cache", "--json", str(tmp_path / "f.json")]
    tokens = ["tokenizer=wordpiece", "tokenizer.encoder=tiny", "tokenizer.max_length=12"]
    assert main([*words, *tokens]) == 0
    said = capsys.readouterr()
    table = [line.split() for line in said.out.splitlines()]
    assert ["train", "3", "12", "4.0", "5", "1", "bad,", "2", "good"] in table
    assert ["valid", "2", "16", "8.0", "12", "2", "bad,", "0", "good"] in table
    assert "2 classes" in said.out and "1 text (50.0%) cut to 12" in said.err
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["train_texts"] == 3 and figures["train_classes"] == {"bad": 1, "good": 2}
    assert not list((tmp_path / "cache").glob("features-*"))
    assert main(words) == 2
    unfit = "data=reviews is for models that classify; tokenizer=sentencepiece is for models that generate. Use tokenizer=wordp"
    assert unfit in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.train=gone"], "gone.ja does not exist"),
        (["data.weights=[1,2]"], "2 numbers where data.train has 1"),
        (["data.weigths=[1]"], "Did you mean data.weights"),
        (["tokenizer.vocab_size=0"], "8 or more"),
        (["tokenizer.kind=wordpiece"], "unigram"),
        (["tokenizer.vocab_size=9"], "characters and special tokens"),
        (["cleaning.max_ratio=0.5"], "1 or more"),
        (["cleaning.drop_overlap=both"], "either"),
        (["data=iwslt_ja_en", "data.archive=gone.tgz"], "unknown"),
    ],
)
def test_a_wrong_request_is_a_sentence_and_exit_code_2(
    base: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "data=iwslt_ja_en" in words:
        base, message = [base[0], base[4]], "data.archive=gone.tgz does not exist"
    assert main([*base, *words]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
