"""seqgen prepare, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqgen_cli.cli import main
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.train=gone"], "gone.ja does not exist"),
        (["data.weights=[1,2]"], "2 numbers for 1 corpora"),
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
