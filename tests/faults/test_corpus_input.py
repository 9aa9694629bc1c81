"""Text as people have it: other line ends, marks, packed files; and what is wrong with it, in a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from seqgen_cli.config.parts import part
from seqgen_cli.data.corpora.lines import read_lines
from seqgen_cli.data.corpora.text import ParallelFiles, TextCorpus
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece
from seqgen_cli.errors import RequestError
from tests.corpus_files import AS_IS, SMALL, prepared, sentences, write

LANGUAGES = {"source_language": "ja", "target_language": "en"}


def files(folder: Path, source: bytes, target: bytes) -> ParallelFiles:
    (folder / "a.ja").write_bytes(source)
    (folder / "a.en").write_bytes(target)
    return ParallelFiles(folder / "a.ja", folder / "a.en")


def test_line_ends_and_byte_order_marks(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    dos = files(tmp_path, mark + "一\r\n二\r\n".encode(), b"one\ntwo")
    assert list(dos) == [("一", "one"), ("二", "two")]
    inner = files(tmp_path, "一\u2028二\x85三\x0b四\n".encode(), b" one \rtwo \n")  # str.splitlines would see five lines
    assert list(inner) == [("一\u2028二\x85三\x0b四", " one \rtwo ")]
    assert list(files(tmp_path, b"\n\n", b"x\n\n")) == [("", "x"), ("", "")]


def test_packed_files_are_found_by_their_prefix(tmp_path: Path) -> None:
    for language, text in (("ja", "一\n"), ("en", "one\n")):
        with gzip.open(tmp_path / f"train.{language}.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    corpus = TextCorpus(**LANGUAGES, train=str(tmp_path / "train"))
    assert list(corpus.splits()["train"]) == [("一", "one")]
    whole = (tmp_path / "train.ja.gz").read_bytes()
    for damaged in (whole[:-4], whole[:-8] + bytes(8), b"no gzip"):
        (tmp_path / "train.ja.gz").write_bytes(damaged)
        with pytest.raises(RequestError, match=r"train\.ja\.gz is damaged"):
            list(corpus.splits()["train"])


def test_several_corpora_by_prefix_and_by_files(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", [("一", "one")]), write(tmp_path / "other", [("二", "two"), ("三", "three")])
    named: dict[str, Any] = {"source": f"{other}.ja", "target": f"{other}.en"}
    corpus = TextCorpus(**LANGUAGES, train=[one, named], valid=named, weights=[1, 3])
    splits = corpus.splits()
    assert list(splits) == ["train", "valid"]
    assert list(splits["train"]) == [("一", "one"), ("二", "two"), ("三", "three")]
    assert list(splits["train"]) == [("一", "one"), ("二", "two"), ("三", "three")]  # a split may be read again
    swapped = TextCorpus("en", "ja", train=one)
    assert list(swapped.splits()["train"]) == [("one", "一")]


def test_fingerprint_follows_the_text(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", [("一", "one")]), write(tmp_path / "copy" / "other", [("一", "one")])
    first = TextCorpus(**LANGUAGES, train=one).fingerprint()
    assert TextCorpus(**LANGUAGES, train=other).fingerprint() == first
    assert TextCorpus(**LANGUAGES, valid=one).fingerprint() != first
    assert TextCorpus(**LANGUAGES, train=[one, other]).fingerprint() != first
    write(tmp_path / "one", [("一", "ones")])
    assert TextCorpus(**LANGUAGES, train=one).fingerprint() != first


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("一\n二\n三\n", "one\n", r"a\.ja has 3 lines but .*a\.en has 1:"),
        ("一\n", "one\n\n\n\n", r"a\.ja has 1 line but .*a\.en has 4:"),
        ("", "one\n", r"a\.ja has 0 lines but .*a\.en has 1:"),
        ("", "", r"a\.ja and .*a\.en are empty"),
    ],
)
def test_ragged_and_empty(tmp_path: Path, source: str, target: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(files(tmp_path, source.encode(), target.encode()))


def test_invalid_utf8_names_file_and_line(tmp_path: Path) -> None:
    broken = files(tmp_path, "一\n二\n".encode() + "三".encode("shift_jis") + b"\n", b"a\nb\nc\n")
    with pytest.raises(RequestError, match=r"a\.ja, line 3: not valid UTF-8 \(byte 0x8e at position 0\)"):
        list(broken)


def test_a_directory_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "d.ja").mkdir()
    with pytest.raises(RequestError, match=r"d\.ja cannot be read"):
        list(read_lines(tmp_path / "d.ja"))
    with pytest.raises(RequestError, match=r"gone\.ja does not exist"):
        list(read_lines(tmp_path / "gone.ja"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "x"}, r"data\.source_language and data\.target_language"),
        (LANGUAGES, r"no files: set data\.train"),
        ({**LANGUAGES, "train": "gone/train"}, r"data\.train: gone/train\.ja does not exist"),
        ({**LANGUAGES, "train": [{"source": "x"}]}, r"neither a prefix .* nor \{source: FILE, target: FILE\}"),
        ({**LANGUAGES, "train": "HERE/a", "weights": [1, 2]}, r"data\.weights has 2 numbers where data.train has 1"),
        (
            {**LANGUAGES, "train": "HERE/a", "weights": [0]},
            r"data\.weights is \[0\], wrong at \[0\]; it must be .* 0\.001 or more",
        ),
        ({**LANGUAGES, "train": "HERE/a", "weights": [1e-6]}, r"0\.001 or more, at most 1000"),
        ({**LANGUAGES, "train": "HERE/a", "weights": [float("nan")]}, r"data\.weights is \[NaN\], .* it must be finite"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    files(tmp_path, b"x\n", b"y\n")
    settings = {key: value.replace("HERE", str(tmp_path)) if isinstance(value, str) else value for key, value in settings.items()}
    with pytest.raises(RequestError, match=message):
        part({"_target_": "seqgen_cli.data.corpora.text.TextCorpus", **settings}, "data", {})()


def test_cleaning_that_leaves_nothing(tmp_path: Path) -> None:
    prefix = write(tmp_path / "train", sentences(20))
    corpus = TextCorpus(**LANGUAGES, train=prefix, valid=prefix)
    with pytest.raises(RequestError, match=r"leaves no training pair .*occurs in valid or test 20"):
        prepare(corpus, SMALL, type(AS_IS)(), tmp_path / "cache")


def test_a_line_of_ten_thousand_words(tmp_path: Path) -> None:
    """Dropped from training and counted; kept in evaluation, where every line counts."""
    long = ("あ" * 10_000, "cat " * 10_000)
    data = prepared(tmp_path, [[*sentences(100), long]], cleaning=type(AS_IS)())
    assert any("too long 1;" in line for line in data.report)
    assert len(data.splits["train"]) == 100
    write(tmp_path / "dev", [long, ("", ""), ("", "cat")])
    corpus = TextCorpus(**LANGUAGES, train=str(tmp_path / "train0"), valid=str(tmp_path / "dev"))
    valid = prepare(corpus, SMALL, type(AS_IS)(), tmp_path / "cache").splits["valid"]
    assert valid.source_lines() == [long[0], "", ""]
    assert valid.target_lengths_n is not None and valid.target_lengths_n[0] > 5_000 and valid.target_lengths_n[1] == 1
    assert valid.batch([1, 2]).source_BS.tolist() == [[3], [3]]


def test_characters_never_seen_in_training(tmp_path: Path) -> None:
    data = prepared(tmp_path, [sentences(100)], tokenizer=SentencePiece(vocab_size=60))
    assert data.source_tokenizer.unk in data.source_tokenizer.encode(["漢字 \U0001f600"])[0]
