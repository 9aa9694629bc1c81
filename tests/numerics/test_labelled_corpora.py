"""Corpora of labelled texts: what they read, how they split, what they refuse; and the generated reviews' difficulty."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqgen_cli.data.corpora.imdb import Imdb
from seqgen_cli.data.corpora.imdb_text import ImdbText
from seqgen_cli.data.corpora.mini_reviews import MiniReviews
from seqgen_cli.data.prepare.labelled import prepare_labelled
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.errors import RequestError


def write_archive(
    path: Path, count: int, order: int = 1, extra: dict[str, bytes] | None = None, unlabelled: str = "aclImdb/train/unsup/0_0.txt"
) -> Path:
    """A tar in the layout of aclImdb, packed by its ending, `count` reviews of each kind and part."""
    members = {
        f"aclImdb/{part}/{kind}/{number}_{7 if kind == 'pos' else 2}.txt": f"{part} {kind} {number}<br /><br />é".encode()
        for part in ("train", "test")
        for kind in ("pos", "neg")
        for number in range(count)
    }
    members |= {unlabelled: b"unlabelled", "aclImdb/train/urls_pos.txt": b"x", **(extra or {})}
    mode = {".gz": "w:gz", ".xz": "w:xz", ".tar": "w"}[path.suffix]
    with tarfile.open(path, mode) as tape:  # type: ignore[call-overload]
        for name in list(members)[::order]:
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            tape.addfile(member, io.BytesIO(members[name]))
    return path


@pytest.mark.parametrize("ending", ["tar.gz", "tar.xz", "tar"])
def test_imdb_from_any_tar(ending: str, tmp_path: Path) -> None:
    splits = Imdb(archive=str(write_archive(tmp_path / f"a.{ending}", 10)), expected_reviews=20).labelled_splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 14, "valid": 6, "test": 20}
    texts = {text for name in ("train", "valid") for text, _ in splits[name]}
    assert texts == {f"train {kind} {number}\né" for kind in ("pos", "neg") for number in range(10)}
    for name in splits:
        for text, label in splits[name]:
            assert label == ("positive" if " pos " in text else "negative")


def test_imdb_split_follows_the_seed_and_not_the_packing(tmp_path: Path) -> None:
    one, two = (write_archive(tmp_path / f"{order}.tar", 10, order) for order in (1, -1))
    first = Imdb(archive=str(one), expected_reviews=None).labelled_splits()
    assert first == Imdb(archive=str(two), expected_reviews=None).labelled_splits()
    assert first["train"] != Imdb(archive=str(one), expected_reviews=None, split_seed=2).labelled_splits()["train"]
    few = Imdb(archive=str(one), expected_reviews=None, limit=5).labelled_splits()
    assert all(len(examples) == 5 and set(examples) <= set(first[name]) for name, examples in few.items())


def test_imdb_as_text(tmp_path: Path) -> None:
    """The reviews of data=imdb in its splits and order, one a line, without their classes."""
    archive = str(write_archive(tmp_path / "a.tar", 10, extra={"aclImdb/train/unsup/1_0.txt": b" more<br /><br />of\n it "}))
    labelled = Imdb(archive=archive, expected_reviews=20, valid_share=0.2).labelled_splits()
    text = ImdbText(archive=archive, expected_reviews=20, valid_share=0.2)
    lines = {name: [(example[0].replace("\n", " "),) for example in examples] for name, examples in labelled.items()}
    assert text.splits() == lines and (text.source_language, text.target_language) == (None, "en")
    more = ImdbText(archive=archive, expected_reviews=20, valid_share=0.2, unlabelled=True)
    assert more.splits() == {**lines, "train": [*lines["train"], ("unlabelled",), ("more of it",)]}
    assert (
        more.fingerprint() != text.fingerprint() == ImdbText(archive=archive, valid_share=0.2, block=7, context=0).fingerprint()
    )
    few = ImdbText(archive=archive, expected_reviews=20, limit=5).splits()
    expected = Imdb(archive=archive, expected_reviews=20, limit=5, valid_share=0.1).labelled_splits()
    assert few == {name: [(text.replace("\n", " "),) for text, _ in examples] for name, examples in expected.items()}


def test_imdb_refusals(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", 3)
    with pytest.raises(RequestError, match="holds 6 labelled reviews to train"):
        Imdb(archive=str(archive)).labelled_splits()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(RequestError, match="not a whole tar archive"):
        Imdb(archive=str(cut), expected_reviews=None).labelled_splits()
    with pytest.raises(RequestError, match="does not exist"):
        Imdb(archive=str(tmp_path / "none.tar")).labelled_splits()
    labelled = write_archive(tmp_path / "labelled.tar", 1, unlabelled="aclImdb/README")
    with pytest.raises(RequestError, match=r"labelled\.tar has no unlabelled reviews .* set data\.unlabelled=false"):
        ImdbText(archive=str(labelled), expected_reviews=None, unlabelled=True).splits()
    bad = write_archive(tmp_path / "bad.tar", 1, extra={"aclImdb/test/pos/9_9.txt": b"\xff"})
    with pytest.raises(RequestError, match=r"9_9\.txt is not UTF-8"):
        Imdb(archive=str(bad), expected_reviews=None).labelled_splits()


class Plain:
    """The least that a labelled corpus is: nothing is known before its texts are read."""

    def fingerprint(self) -> str:
        return "plain"

    def class_names(self) -> None:
        return None

    def labelled_splits(self) -> dict[str, list[tuple[str, str]]]:
        return {"train": [("fine", "good"), ("awful", "bad"), ("so so", "middling")], "valid": [("dull", "bad")]}


def test_classes_that_nobody_names_are_those_of_training_sorted(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    data = prepare_labelled(Plain(), WordPieces("tiny"), tmp_path / "cache")
    assert data.target_tokenizer.names == ["bad", "good", "middling"]
    assert data.splits["train"].labels_n.tolist() == [1, 0, 2] and data.target_counts_V is not None


def test_mini_reviews_splits() -> None:
    splits = MiniReviews(train_size=300, valid_size=100, test_size=100).labelled_splits()
    texts = [text for examples in splits.values() for text, _ in examples]
    assert len(set(texts)) == 500
    assert all(sum(label == "positive" for _, label in examples) == len(examples) // 2 for examples in splits.values())
    assert splits == MiniReviews(train_size=300, valid_size=100, test_size=100).labelled_splits()
    assert splits != MiniReviews(train_size=300, valid_size=100, test_size=100, corpus_seed=2).labelled_splits()


def test_word_counts_do_not_solve_mini_reviews() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    splits: dict[str, Any] = dict(MiniReviews().labelled_splits())
    words = text.CountVectorizer()
    train = words.fit_transform([each for each, _ in splits["train"]])
    model = linear.LogisticRegression(max_iter=2000).fit(train, [label for _, label in splits["train"]])
    accuracy = model.score(words.transform([each for each, _ in splits["test"]]), [label for _, label in splits["test"]])
    assert 0.5 < accuracy <= 0.75
    assert np.mean([len(each.split()) for each, _ in splits["train"]]) > 8
