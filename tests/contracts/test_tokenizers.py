"""What every tokenizer promises, trained or given."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from seqgen_cli.data.dataset import spread
from seqgen_cli.data.tokenizers.pair import load_pair, save_pair
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.data.tokenizers.wordpieces import Truncation, WordPieces
from seqgen_cli.errors import RequestError
from tests.corpus_files import prepared, sentences

SETTINGS = SentencePiece(vocab_size=70)
SOURCES = [source for source, _ in sentences(300)]
TARGETS = [target for _, target in sentences(300)]


def train(settings: SentencePiece, lines: list[str]) -> Tokenizer:
    return Tokenizer(settings.train("source", lines)[0])


def foreign(**ids: int) -> bytes:
    """A model that another program trained."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TARGETS), model_writer=model, vocab_size=60, minloglevel=3, **ids
    )
    return model.getvalue()


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train(replace(SETTINGS, kind=request.param), TARGETS)


def test_special_ids_and_size(tokenizer: Tokenizer) -> None:
    assert (tokenizer.pad, tokenizer.unk, tokenizer.bos, tokenizer.eos) == (0, 1, 2, 3)
    assert tokenizer.vocab_size == 70


def test_decoding_gives_the_line_back(tokenizer: Tokenizer) -> None:
    rows = tokenizer.encode(TARGETS)
    assert [row.dtype for row in rows] == [np.int32] * len(rows)
    assert tokenizer.decode(rows) == TARGETS
    assert tokenizer.decode([[2, *rows[0], 3, 0, 0]]) == TARGETS[:1]
    assert "".join(tokenizer.pieces(rows[0])).replace("▁", " ").strip() == TARGETS[0]


def test_batched_ids_are_those_of_each_line(tokenizer: Tokenizer) -> None:
    reference = sentencepiece.SentencePieceProcessor(model_proto=pickle.loads(pickle.dumps(tokenizer)).__getstate__())
    assert [row.tolist() for row in tokenizer.encode(TARGETS)] == [reference.encode(line) for line in TARGETS]


def test_empty_input(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([]) == []
    assert [row.tolist() for row in tokenizer.encode(["", "   ", "cat"])][:2] == [[], []]
    assert tokenizer.decode([[], np.zeros(0, np.int32)]) == ["", ""]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_training_is_deterministic(kind: str) -> None:
    first, second = (replace(SETTINGS, kind=kind).train("source", SOURCES)[0] for _ in range(2))
    assert first == second


def test_sampling_depends_on_the_seed_alone(tokenizer: Tokenizer) -> None:
    lines = TARGETS[:20]
    drawn = tokenizer.encode_sampled(lines, range(20), alpha=0.3)
    backwards = tokenizer.encode_sampled(lines[::-1], range(19, -1, -1), alpha=0.3)[::-1]
    assert [row.tolist() for row in drawn] == [row.tolist() for row in backwards]
    other = tokenizer.encode_sampled(lines, range(100, 120), alpha=0.3)
    assert [row.tolist() for row in drawn] != [row.tolist() for row in other]
    assert tokenizer.decode(drawn) == lines


def test_a_small_corpus_gets_a_smaller_vocabulary_and_a_note() -> None:
    for kind in ("unigram", "bpe"):
        model, note = replace(SETTINGS, kind=kind, vocab_size=8000).train("source", SOURCES[:50])
        assert note and f"{Tokenizer(model).vocab_size:,}" in note and "8,000" in note
    assert SETTINGS.train("source", TARGETS)[1] is None


def test_a_vocabulary_below_the_characters_is_refused() -> None:
    with pytest.raises(RequestError, match=r"target vocabulary of 8 .* tokenizer\.target_vocab_size"):
        replace(SETTINGS, target_vocab_size=8).train("target", SOURCES)


def test_no_text_is_refused() -> None:
    with pytest.raises(RequestError, match="no text"):
        SETTINGS.train("source", [])


def test_lines_longer_than_sentencepiece_takes() -> None:
    long = ["あいうえお" * 10_000, "the cat " * 10_000]
    tokenizer = train(replace(SETTINGS, vocab_size=30), long)
    assert tokenizer.unk not in tokenizer.encode(["あいうえおthe cat"])[0]
    assert tokenizer.decode(tokenizer.encode(long)) == [line.strip() for line in long]


@pytest.mark.parametrize(("count", "wanted"), [(19, 10), (100, 3), (7, 7), (5, 9), (3, 1)])
def test_the_lines_that_train_are_drawn_evenly_from_all(count: int, wanted: int) -> None:
    """As many as wanted, and nowhere more than the mean distance between them, rounded up, is left out."""
    rows = [*spread(count, wanted)]
    assert len(rows) == min(count, wanted) and rows[0] == 0
    assert set(np.diff([*rows, count])) <= {count // len(rows), -(-count // len(rows))}


def test_joint_and_separate_survive_saving(tmp_path: Path) -> None:
    one, other = train(SETTINGS, SOURCES), train(SETTINGS, TARGETS)
    for source, target in ((one, other), (one, one)):
        folder = tmp_path / f"{source is target}"
        folder.mkdir()
        save_pair(folder, source, target)
        loaded = load_pair(folder)
        assert (loaded[0] is loaded[1]) == (source is target)
        assert [each.fingerprint for each in loaded] == [source.fingerprint, target.fingerprint]


def test_joint_covers_both_sides(tmp_path: Path) -> None:
    data = prepared(tmp_path, [sentences(200)], tokenizer=SentencePiece(vocab_size=120, joint=True))
    joint = data.source_tokenizer
    assert joint is data.target_tokenizer
    assert joint.unk not in np.concatenate(joint.encode([*SOURCES[:50], *TARGETS[:50]]))


def test_given_models(tmp_path: Path) -> None:
    """Models of SentencePiece's defaults: <unk> 0, <s> 1, </s> 2, no padding."""
    (tmp_path / "a.model").write_bytes(foreign())
    path = str(tmp_path / "a.model")
    data = prepared(tmp_path, [sentences(60)], tokenizer=SentencePiece(source_model=path, target_model=path))
    assert data.source_tokenizer is data.target_tokenizer
    batch = data.splits["train"].batch([0, 1])
    assert batch.inputs_BT[:, 0].tolist() == [1, 1]
    assert batch.targets_BT[0, int(batch.target_lengths_B[0]) - 1] == 2


@pytest.mark.parametrize(("ids", "missing"), [({"bos_id": -1}, "<s>"), ({"eos_id": -1}, "</s>")])
def test_a_given_model_without_an_end_is_refused(tmp_path: Path, ids: dict[str, int], missing: str) -> None:
    (tmp_path / "a.model").write_bytes(foreign(**ids))
    with pytest.raises(RequestError, match=rf"a\.model has no {missing}"):
        Tokenizer.from_file(tmp_path / "a.model")


def test_other_wrong_models(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(b"not a model")
    with pytest.raises(RequestError, match=r"a\.model is not a SentencePiece model"):
        Tokenizer.from_file(tmp_path / "a.model")
    with pytest.raises(RequestError, match=r"b\.model cannot be read"):
        Tokenizer.from_file(tmp_path / "b.model")
    with pytest.raises(RequestError, match="both"):
        SentencePiece(source_model="a.model")


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train(SETTINGS, SOURCES)
    with pytest.raises(RequestError):
        replace(SETTINGS, vocab_size=8).train("source", SOURCES)
    assert capfd.readouterr() == ("", "")


def test_word_pieces_are_every_character_and_the_most_frequent_words(tmp_path: Path) -> None:
    """Equally frequent ones by their spelling; where characters alone fill the vocabulary, no word."""
    pytest.importorskip("tokenizers")
    texts = ["bb aa cc aa", "Cc bb dd a"]  # aa, bb and cc twice
    characters = [*"abcd", "##a", "##b", "##c", "##d"]
    for room, words in ((0, []), (1, ["aa"]), (3, ["aa", "bb", "cc"]), (9, ["aa", "bb", "cc", "dd"])):
        tokenizer = WordPieces("tiny", vocab_size=4 + len(characters) + room).train(texts)
        tokenizer.save(tmp_path, "source")
        model = json.loads(json.loads((tmp_path / "source.json").read_text(encoding="utf-8"))["rules"])["model"]
        assert list(model["vocab"])[4:] == [*characters, *words]


@pytest.mark.parametrize(("truncation", "first", "last"), [("head", 8, 0), ("tail", 0, 8), ("head_tail", 2, 6)])
def test_a_text_too_long_for_its_encoder_keeps_the_part_asked_for(truncation: Truncation, first: int, last: int) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = WordPieces("tiny", max_length=10, truncation=truncation).train(["a b c d e f g h i j k l"])
    for count in (0, 1, 7, 8, 9, 12):
        words = list("abcdefghijkl"[:count])
        kept = words if count <= 8 else [*words[:first], *words[count - last :]]
        (whole,) = tokenizer.encode_whole([" ".join(words)])
        assert tokenizer.pieces(tokenizer.cut(whole)) == ["[CLS]", *kept, "[SEP]"]
        assert tokenizer.is_cut(whole) == (count > 8)
