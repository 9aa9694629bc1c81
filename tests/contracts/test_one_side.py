"""Data of one side, for language models: from a file, or the target side of pairs; nothing of a source anywhere."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqgen_cli.checkpoints.restored import from_checkpoint
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.cli.main import main
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batching import ByTokens, TrainStream
from seqgen_cli.data.corpora.base import TargetSide
from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from seqgen_cli.data.corpora.text import TextCorpus
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.data.tokenizers.pair import load_pair, save_pair
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.tasks import evaluation
from tests.corpus_files import AS_IS, SMALL, sentences, write


def pairs_at(folder: Path, **settings: Any) -> TextCorpus:
    """Pairs to train on, twice the first corpus in an epoch, and to validate on."""
    train = [write(folder / f"train{number}", sentences(60, number)) for number in (0, 1)]
    return TextCorpus("ja", "en", list(train), valid=write(folder / "dev", sentences(20, 5)), weights=[2, 0.5], **settings)


def test_the_target_side_of_pairs_is_the_same_data_as_its_files(tmp_path: Path) -> None:
    pairs = pairs_at(tmp_path)
    files = TextCorpus(train=[f"{tmp_path}/train{n}.en" for n in (0, 1)], valid=f"{tmp_path}/dev.en", weights=[2, 0.5])
    unread = pairs_at(tmp_path, reads_source=False)
    caches = [tmp_path / name for name in ("pairs", "files", "unread")]
    several = [
        prepare(corpus, SMALL, AS_IS, cache) for corpus, cache in zip((TargetSide(pairs), files, unread), caches, strict=True)
    ]
    streams = []
    for data, cache in zip(several, caches, strict=True):
        assert data.source_tokenizer is None and data.source_language is None
        assert not [path for path in cache.rglob("*") if "source" in path.name]
        train = data.splits["train"]
        assert train.source_lengths_n is None and train.lengths_nk.shape == (120, 1)
        assert train.target_lines() == [target for number in (0, 1) for _, target in sentences(60, number)]
        batches = list(islice(iter(TrainStream(train, ByTokens(200), seed=1)), 30))
        assert all(batch.source_BS is None and batch.source_lengths_B is None for batch in batches)
        streams.append([batch.targets_BT.tolist() for batch in batches])
        lengths = [len(ids) + 1 for ids in data.target_tokenizer.encode(train.target_lines())]
        assert train.lengths_nk[:, 0].tolist() == lengths and data.target_counts_V.sum() == sum(lengths)
        assert Counter(train.examples_of_epoch(0, 1).tolist()).total() == 150
    assert streams[0] == streams[1] == streams[2]
    assert pairs.fingerprint() != files.fingerprint() == unread.fingerprint()


def test_another_corpus_of_pairs() -> None:
    both, one = (corpus.splits() for corpus in (Phrasebook(train_size=20), TargetSide(Phrasebook(train_size=20))))
    assert {name: list(rows) for name, rows in one.items()} == {name: [row[1:] for row in rows] for name, rows in both.items()}


def test_files_of_one_side(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("plain\n")
    (tmp_path / "text").write_text("itself\n")
    with gzip.open(tmp_path / "b.en.gz", "wt", encoding="utf-8") as file:
        file.write("packed\n")
    entries: list[Any] = [f"{tmp_path}/a", f"{tmp_path}/b", f"{tmp_path}/text", {"target": f"{tmp_path}/a.en"}]
    corpus = TextCorpus(target_language="en", train=entries, valid=f"{tmp_path}/text")
    assert list(corpus.splits()["train"]) == [("plain",), ("packed",), ("itself",), ("plain",)]
    named = {"source": "gone", "target": f"{tmp_path}/a.en"}
    assert list(TextCorpus("ja", "en", train=named, reads_source=False).splits()["train"]) == [("plain",)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "a"}, r"data\.train: there is no file a .*data\.target_language"),
        ({"train": "a", "target_language": "en"}, r"data\.train: a\.en does not exist"),
        ({"train": {"source": "a"}}, r"is no file, no prefix \(corpus/train\) and not \{target: FILE\}"),
        ({"train": {"target": "a"}}, r"data\.train: a does not exist"),
        ({"target_language": "en"}, r"data\.train=corpus/train for corpus/train\.en\."),
        ({"source_language": "ja", "train": "a"}, r"data\.target_language beside data\.source_language"),
    ],
)
def test_files_that_are_not_there(
    settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=message):
        TextCorpus(**settings)
    (tmp_path / "a").write_text("")
    with pytest.raises(RequestError, match="a is empty: a corpus needs at least one line"):
        list(TextCorpus(train="a").splits()["train"])


def test_cleaning_one_side(tmp_path: Path) -> None:
    """Empty, known from valid, too long, seen before: each line by the first rule that drops it; no ratios."""
    lines = ["a  b", "", " ", "known", "a b", "one two three four", "x", "x", "known"] * 2
    (tmp_path / "train").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "valid").write_text("known\n\n")
    corpus = TextCorpus(train=f"{tmp_path}/train", valid=f"{tmp_path}/valid")
    rules = StandardCleaning(length_unit="words", max_length=3, max_ratio=1.0)
    data = prepare(corpus, replace(SMALL, vocab_size=20), rules, tmp_path / "cache")
    assert data.splits["train"].target_lines() == ["a b", "x"]
    assert data.splits["valid"].target_lines() == ["known", ""]
    assert data.report[2] == "dropped from train: empty 4; occurs in valid or test 4; exact duplicate 6; too long 2."
    same = TextCorpus(train=f"{tmp_path}/valid", valid=f"{tmp_path}/valid")
    with pytest.raises(RequestError, match="Cleaning leaves no training line"):
        prepare(same, SMALL, rules, tmp_path / "cache")


def test_given_and_checkpoint_tokenizers(tmp_path: Path) -> None:
    pairs = pairs_at(tmp_path)
    trained = prepare(pairs, SMALL, AS_IS, tmp_path / "cache")
    trained.target_tokenizer.save(tmp_path, "target")
    given = SentencePiece(target_model=str(tmp_path / "target.model"))
    both = (trained.source_tokenizer, trained.target_tokenizer)
    for data in (
        prepare(TargetSide(pairs), given, AS_IS, tmp_path / "cache"),
        prepare(TargetSide(pairs), SMALL, AS_IS, tmp_path / "cache", both),
    ):
        assert data.target_tokenizer.fingerprint == trained.target_tokenizer.fingerprint
        assert data.splits["valid"].batch([3]).targets_BT.tolist() == trained.splits["valid"].batch([3]).targets_BT.tolist()
    with pytest.raises(RequestError, match="Give both"):
        prepare(pairs, given, AS_IS, tmp_path / "cache")
    with pytest.raises(RequestError, match="no tokenizer for the source"):
        prepare(pairs, SMALL, AS_IS, tmp_path / "cache", (None, both[1]))


LANGUAGE_MODELS = "model=rnn_lm or transformer_lm"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=imdb_text"], "model=transformer reads a source; data=imdb_text has none. Use data="),
        (
            ["data=text", "data.train=x"],
            "model=transformer reads a source; data=text has none while data.source_language is null. Set data.source_language",
        ),
        (
            ["data=text", "data.train=x", "data.source_language=ja", "data.block=7"],
            "model=transformer reads a source; data=text is cut into blocks by data.block=7, which have none. Use data.block=",
        ),
    ],
)
def test_a_model_that_needs_a_source_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("a line\n")
    with pytest.raises(RequestError) as refused:
        config_of("train", words)
    assert str(refused.value).startswith(message) and str(refused.value).endswith(f", or {LANGUAGE_MODELS}.")
    assert "imdb" not in str(refused.value).partition("Use ")[2]
    config_of("train", ["model=rnn_lm", *words, *(["data.valid=x"] if "data=text" in words else [])])


def test_a_checkpoint_that_needs_a_source_is_not_measured_without_one() -> None:
    pairs, lines = (config_of("train", [f"model={model}"]) for model in ("transformer", "rnn_lm"))
    asked = config_of("eval", ["data=imdb_text"])
    with pytest.raises(RequestError, match="model=transformer reads a source; data=imdb_text has none"):
        evaluation.evaluation_config(pairs, asked)
    assert evaluation.evaluation_config(lines, asked).data.settings["block"] == 128


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A tiny language model on a text, in blocks."""
    (tmp_path / "a.txt").write_text("".join(f"{target}\n" for _, target in sentences(80)))
    return [
        "train", "model=rnn_lm", "data=text", f"data.train={tmp_path}/a.txt", f"data.valid={tmp_path}/a.txt", "data.block=16",
        "data.context=4", "cleaning.drop_overlap=none", "tokenizer=words", "model.hidden_size=8", "model.embedding_size=8",
        "batching=sentences", f"runtime.runs_folder={tmp_path}/runs", f"runtime.cache_folder={tmp_path}/cache",
        "runtime.device=cpu", "trainer.evaluate_every=4", "trainer.progress=false", "trainer.samples=0", "trainer.decode_limit=0",
        "trainer.tensorboard=false",
    ]  # fmt: skip


def test_a_run_keeps_and_goes_on_with_one_side(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, stopped, extended: the data are recognised; checkpoints hold one tokenizer; whoever needs two says so."""
    assert main([*asked, "trainer.steps=4"]) == 0
    [run] = (tmp_path / "runs").iterdir()
    [checkpoint] = (run / "checkpoints").glob("step-4")
    assert [path.name for path in (checkpoint / "tokenizers").iterdir()] == ["target.words.json"]
    assert load_pair(checkpoint / "tokenizers")[0] is None
    assert from_checkpoint(checkpoint).source_tokenizer is None
    before = read_state(checkpoint)["fingerprint"]
    assert main(["train", f"continue={run}", "trainer.steps=8"]) == 0
    assert read_state(run / "checkpoints" / "step-8")["fingerprint"] == before
    assert main(["train", f"init_from={run}", f"runtime.cache_folder={tmp_path}/cache", f"runtime.runs_folder={tmp_path}"]) == 2
    assert "it has no tokenizer for the source" in capsys.readouterr().err


def test_a_dry_run_and_prepare_speak_of_one_side(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asked, "trainer.steps=4", "--dry-run"]) == 0
    shown = {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}
    tokens = sum(len(target.split()) + 1 for _, target in sentences(80))
    assert shown["train tokens"] == f"{tokens:,}" and shown["train examples"] == f"{-(-tokens // 16)}"
    assert not any("source" in name or "target" in name for name in shown)
    data = [word for word in asked[1:] if word.startswith(("data", "tokenizer", "cleaning", "runtime.cache"))]
    for words, noun, count in (([], "blocks", -(-tokens // 16)), (["data.block=null"], "lines", 80)):
        assert main(["prepare", *data, *words]) == 0
        printed = capsys.readouterr().out.split("\n")
        assert printed[2].split() == ["split", noun, "tokens", "a", noun[:-1], "longest"]
        row = next(line for line in printed if line.strip().startswith("train")).split()
        assert row[1:3] == [str(count), f"{tokens:,}"]
        assert any(line.startswith("vocabulary: ") for line in printed)


def test_a_checkpoint_without_its_source_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizers").mkdir()
    tokenizer = Tokenizer(SentencePiece(vocab_size=40).train("joint", [target for _, target in sentences(60)])[0])
    save_pair(tmp_path / "tokenizers", None, tokenizer)
    (tmp_path / "config.yaml").write_text(
        "model: {_target_: seqgen_cli.models.rnn.Rnn}\noutput: {_target_: seqgen_cli.outputs.softmax.Softmax}\n"
    )
    np.zeros(1).tofile(tmp_path / "model.safetensors")
    with pytest.raises(SeqgenError, match="has no source tokenizer, which its model needs"):
        from_checkpoint(tmp_path)
