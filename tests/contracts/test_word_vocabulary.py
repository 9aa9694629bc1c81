"""Whole-word vocabularies: what a word is, which are known, and that text survives the way there and back."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqgen_cli.data.tokenizers.pair import load_pair, save_pair
from seqgen_cli.data.tokenizers.words import Words, WordVocabulary, split
from seqgen_cli.errors import RequestError
from tests.corpus_files import prepared, sentences

TARGETS = [target for _, target in sentences(200)]


def vocabulary(lines: list[str], **choices: object) -> WordVocabulary:
    made = Words(**{"min_count": 1, **choices})  # type: ignore[arg-type]
    return made.open(made.train("target", lines)[0])


@pytest.mark.parametrize(
    ("line", "words", "back"),
    [
        ("Don't stop, Mr. O’Neil!", "Don't|stop|,|Mr|.|O’Neil|!", None),
        ("3.5 of 10,000 (or 7/10)...", "3.5|of|10,000|(|or|7|/|10|)|.|.|.", None),
        ('He said "no" and "well-made".', 'He|said|"|no|"|and|"|well|-|made|"|.', None),
        ("$5, 20% & the '70s'", "$|5|,|20|%|&|the|'|70s|'", "$5, 20% & the' 70s'"),
        ("私はTシャツを着た。「3.5」", "私|は|T|シ|ャ|ツ|を|着|た|。|「|3.5|」", None),
        ("한국어 नमस्ते cafe\u0301", "한국어|नमस्ते|cafe\u0301", None),
        ("ｆｕｌｌ ｗｉｄｔｈ ﬁne", "ｆｕｌｌ|ｗｉｄｔｈ|ﬁne", None),
        ("駅は１０番線？ええ！（ＡＢ）", "駅|は|１０|番|線|？|え|え|！|（|ＡＢ|）", None),
        ("می\u200cخواهم، کتاب\u200cها؟", "می\u200cخواهم|،|کتاب\u200cها|؟", None),
        ("a <unk> b", "a|<unk>|b", None),
        ("  \t ", "", ""),
    ],
)
def test_what_a_word_is_and_how_it_is_written_again(line: str, words: str, back: str | None) -> None:
    assert split(line) == (words.split("|") if words else [])
    known = vocabulary([line, "x"])
    assert known.decode(known.encode([line])) == [line if back is None else back]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("한국어 नमस्ते cafe\u0301", "한국어|नमस्ते|café"),
        ("ｆｕｌｌ　ｗｉｄｔｈ ﬁne…", "full|width|fine|.|.|."),
        ("駅は１０番線？", "駅|は|10|番|線|?"),
    ],
)
def test_sources_are_brought_to_nfkc_and_targets_kept(line: str, words: str) -> None:
    assert split(line, nfkc=True) == words.split("|") != split(line)
    source, target = (WordVocabulary(Words(min_count=1).train(side, [line])[0]) for side in ("source", "target"))
    assert set(source.pieces(range(4, source.vocab_size))) == set(words.split("|"))
    assert set(target.pieces(range(4, target.vocab_size))) == set(split(line))
    assert source.unk not in source.encode([line])[0] and target.unk not in target.encode([line])[0]
    for setting, nfkc in (("nfkc", True), ("none", False)):
        for side in ("source", "target", "joint"):
            model = Words(min_count=1, normalization=setting).train(side, [line])[0]  # type: ignore[arg-type]
            assert set(json.loads(model)["words"]) == set(split(line, nfkc=nfkc))


def test_a_vocabulary_of_the_first_format_reads_as_it_did() -> None:
    """NFKC always, and a joiner is a word."""
    old = {"format": "seqgen words 1", "lowercase": True, "words": ["full", "می", "\u200c", "خواهم", "می\u200cخواهم"]}
    assert WordVocabulary(json.dumps(old).encode()).encode(["Ｆｕｌｌ می\u200cخواهم"])[0].tolist() == [4, 5, 6, 7]
    new = {**old, "format": "seqgen words 2", "nfkc": False}
    assert WordVocabulary(json.dumps(new).encode()).encode(["full می\u200cخواهم"])[0].tolist() == [4, 8]


def test_known_words_are_the_frequent_ones_in_order() -> None:
    lines = ["b a a c c d", "B d <unk> <unk>", "é"]
    assert vocabulary(lines).pieces(range(10)) == ["<pad>", "<unk>", "<s>", "</s>", "a", "c", "d", "B", "b", "é"]
    assert vocabulary(lines, lowercase=True).pieces(range(4, 9)) == ["a", "b", "c", "d", "é"]
    assert vocabulary(lines, min_count=2).vocab_size == 7
    few = vocabulary(lines, max_size=6)
    assert few.vocab_size == 6 and few.encode(["a B d c <unk>"])[0].tolist() == [4, 1, 1, 5, 1]
    with pytest.raises(RequestError, match=r"The target side has no word that occurs 9 times: lower tokenizer\.min_count"):
        vocabulary(lines, min_count=9)


def test_ids_against_counting_by_hand() -> None:
    known = vocabulary(TARGETS, min_count=3)
    counts = Counter(word for line in TARGETS for word in line.split())
    words = sorted((word for word in counts if counts[word] >= 3), key=lambda word: (-counts[word], word))
    expected = [[words.index(word) + 4 if word in words else 1 for word in line.split()] for line in TARGETS]
    rows = known.encode(TARGETS)
    assert [row.tolist() for row in rows] == expected
    assert {row.dtype for row in rows} == {np.dtype(np.int32)}
    assert (known.pad, known.unk, known.bos, known.eos, known.vocab_size) == (0, 1, 2, 3, len(words) + 4)
    assert known.decode([[2, *rows[0], 3, 0, 0], []]) == [*known.decode(rows[:1]), ""]
    assert Words(min_count=3).train("target", TARGETS[::-1])[0] == Words(min_count=3).train("target", TARGETS)[0]


WRITTEN = st.characters(codec="utf-8")  # no lone halves of pairs, which no file can hold
CHARACTERS = st.sampled_from(
    [*"aZé3.,'’\"-/()[]$%<>&_ 。「シがกัΣßİ한न", "\u3099", "\u0301", "ｶﾞ", "<unk>", "\u00b4", "\x85", "10.5"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(CHARACTERS, min_size=1, max_size=14) | st.lists(WRITTEN, min_size=1, max_size=14), st.booleans())
def test_decoded_text_has_the_same_ids(characters: list[str], lowercase: bool) -> None:
    line = "".join(characters)
    known = vocabulary([line, "x"], lowercase=lowercase)
    ids = known.encode([line])
    assert [row.tolist() for row in known.encode(known.decode(ids))] == [row.tolist() for row in ids]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30).filter(lambda number: number not in (2, 3)), max_size=12))
def test_any_ids_survive_decoding(ids: list[int]) -> None:
    """Also those no text has given: what a model samples."""
    known = vocabulary(["don' t don't 3 3.5 . , ; \" ( ) $ - / unk < > シ が 。 「 a b ’ % & é 한 xe"], lowercase=False)
    assert known.vocab_size > 30
    assert known.encode(known.decode([ids]))[0].tolist() == ids


def test_the_same_vocabulary_after_a_file_and_in_another_process(tmp_path: Path) -> None:
    one, other = vocabulary(TARGETS, lowercase=True), vocabulary(["ünlike"])
    sent = pickle.loads(pickle.dumps(one))
    assert sent.encode(["The CAT"])[0].tolist() == one.encode(["the cat"])[0].tolist()
    for source, target, names in ((one, other, {"source", "target"}), (one, one, {"joint"}), (None, other, {"target"})):
        folder = tmp_path / "-".join(sorted(names))
        folder.mkdir()
        save_pair(folder, source, target)
        assert {path.name for path in folder.iterdir()} == {f"{name}.words.json" for name in names}
        loaded = load_pair(folder)
        assert (loaded[0] is loaded[1]) == (source is target) and (loaded[0] is None) == (source is None)
        assert loaded[1].fingerprint == target.fingerprint and loaded[1].pieces([4]) == target.pieces([4])


GOOD = {"format": "seqgen words 2", "lowercase": False, "nfkc": True, "words": ["a", "b"]}


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"[" * 100_000, b"[]", b"3", *(json.dumps({**GOOD, **bad}).encode() for bad in (
        {"format": "x"}, {"lowercase": 1}, {"nfkc": None},
        {"words": "ab"}, {"words": ["a", 3]}, {"words": ["a", ""]}, {"words": ["a b"]},
        {"words": ["a", "a"]}, {"words": ["<s>"]}, {"words": ["\ud800"]},
    ))],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "target.words.json").write_bytes(content)
    with pytest.raises(RequestError, match=r"target\.words\.json is not a word vocabulary of seqgen"):
        load_pair(tmp_path)
    (tmp_path / "target.words.json").write_bytes(json.dumps(GOOD).encode())
    assert load_pair(tmp_path)[1].vocab_size == 6


@pytest.mark.parametrize("joint", [False, True])
def test_both_sides_of_a_translation(tmp_path: Path, joint: bool) -> None:
    data = prepared(tmp_path, [sentences(60)], tokenizer=Words(min_count=12, joint=joint))
    source, target = data.source_tokenizer, data.target_tokenizer
    assert (source is target) == joint
    pairs = sentences(60)
    counts = [Counter(word for pair in pairs for word in split(pair[side])) for side in (0, 1)]
    of_target = counts[0] + counts[1] if joint else counts[1]
    assert target.vocab_size == 4 + sum(count >= 12 for count in of_target.values())
    batch = data.splits["train"].batch([5])
    assert batch.source_BS[0].tolist() == [*source.encode([pairs[5][0]])[0], 3]
    unknown = sum(count for word, count in counts[1].items() if of_target[word] < 12) / (counts[1].total() + 60)
    assert data.unknown_rates["train"] == pytest.approx(unknown) and unknown > 0
    assert any(f"({unknown:.3%} unknown)" in line for line in data.report)
