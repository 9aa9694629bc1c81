"""What a tokenizer cannot write of its targets: measured, said, and mended by the setting that the message names."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from seqgen_cli.data.corpora.text import TextCorpus
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.data.tokenizers.words import Words

PERSIAN = ["می\u200cخواهم به خانه بروم.", "او نمی\u200cداند کجاست.", "کتاب\u200cها روی میز هستند.", "سلام، حال شما چطور است؟"] * 5
JAPANESE = ["ＡＢＣを１０個ください！", "駅はどこですか？", "明日は１日中雨です。", "これは本です。"] * 5
MARKED = ["two\u3000wide", "a\u00a0b", "x\ty", " ends "]
SMALL = SentencePiece(vocab_size=120)


def prepared(folder: Path, tokenizer: Any, lines: list[str], language: str, test: list[str] | None = None, **more: Any) -> Any:
    for split, targets in {"train": lines, "valid": lines, "test": test or lines}.items():
        (folder / f"{split}.en").write_text("".join(f"line {number}\n" for number in range(len(targets))))
        (folder / f"{split}.{language}").write_text("".join(f"{target}\n" for target in targets), encoding="utf-8")
    corpus = TextCorpus("en", language, **{split: str(folder / split) for split in ("train", "valid", "test")})
    cleaning = StandardCleaning(drop_duplicates=False, drop_overlap="none", max_ratio=None, max_length=None)
    return prepare(corpus, tokenizer, cleaning, folder / "cache", **more)


def mended(tokenizer: Any, advice: str) -> Any:
    """The tokenizer with the settings that a message advises: "tokenizer.a=b and tokenizer.c=d"."""
    values = dict(each.removeprefix("tokenizer.").split("=") for each in advice.split(" and "))
    return replace(tokenizer, **{key: {"true": True, "null": None}[value] for key, value in values.items()})


@pytest.mark.parametrize(
    ("lines", "language", "change"),
    [(PERSIAN, "fa", "U+200C to U+0020"), (JAPANESE, "ja", "１ to 1")],
)
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_defaults_lose_nothing_and_the_advice_mends_what_does(
    kind: Any, lines: list[str], language: str, change: str, tmp_path: Path
) -> None:
    lossy = replace(SMALL, kind=kind, normalization="nmt_nfkc")
    data = prepared(tmp_path, lossy, lines, language)
    trip = data.round_trips["test"]
    assert (trip.tried, trip.changed, trip.unknown) == (20, 15, 0)
    back = data.target_tokenizer.decode(data.target_tokenizer.encode(lines))
    truth = sacrebleu.BLEU(tokenize="ja-mecab" if language == "ja" else "13a", force=True).corpus_score(back, [lines])
    assert trip.bleu == truth.score < 99 and dict(trip.changes)[change] >= 10
    (told,) = [line for line in data.report if line.startswith("test: the tokenizer cannot write")]
    assert "15 of 20 target lines (75.0%)" in told and f"so BLEU can reach {truth.score:.1f} at most" in told and change in told
    advice = told.split("Against that: ")[1].removesuffix(".")
    better = prepared(tmp_path, mended(lossy, advice), lines, language)
    assert better.round_trips["test"].changed == 0 and not [line for line in better.report if "cannot write" in line]
    assert better.target_tokenizer.decode(better.target_tokenizer.encode(lines)) == lines
    assert mended(lossy, advice) == replace(SMALL, kind=kind)  # which are the defaults


def test_characters_that_training_lacks_are_named_and_bytes_write_them(tmp_path: Path) -> None:
    settings, test = SentencePiece(vocab_size=330), [*JAPANESE[:19], "これは鰯です。"]
    data = prepared(tmp_path, settings, JAPANESE, "ja", test)
    trip = data.round_trips["test"]
    assert (trip.changed, trip.unknown) == (1, 1) and trip.changes[0][0] == "鰯 to ⁇"
    (told,) = [line for line in data.report if "cannot write" in line]
    assert told.endswith("Against that: tokenizer.byte_fallback=true.")
    better = prepared(tmp_path, mended(settings, told.split("Against that: ")[1].removesuffix(".")), JAPANESE, "ja", test)
    assert better.round_trips["test"].changed == 0 and better.unknown_rates["test"] == 0


def test_many_unknown_targets_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As where a run starts from a model of another language."""
    with caplog.at_level(logging.WARNING):
        data = prepared(tmp_path, SMALL, JAPANESE, "ja")
        assert not caplog.records
        given = (data.source_tokenizer, data.target_tokenizer)
        other = prepared(tmp_path, SMALL, ["Это книга.", "Где вокзал?"] * 10, "ru", tokenizers=given)
    assert len(caplog.records) == 3 and "are unknown to the tokenizer" in caplog.text
    assert f"test: {other.unknown_rates['test']:.1%} of the target's tokens" in caplog.text
    assert caplog.records[0].getMessage().endswith("Against that: a tokenizer trained on these lines.")
    assert any("Against that: a tokenizer trained on these lines." in line for line in other.report)


def test_few_unknown_targets_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly 1 % is not above it."""
    lines = ["a a a a a a a a a"] * 10
    with caplog.at_level(logging.WARNING):
        assert (
            prepared(tmp_path, Words(min_count=1), lines, "en2", [*lines[1:], "a a a a a a a a x"]).unknown_rates["test"] == 0.01
        )
    assert not caplog.records


def test_words_are_measured_too(tmp_path: Path) -> None:
    data = prepared(tmp_path, Words(min_count=2), ["one two", "one two", "one rare"], "xx")
    trip = data.round_trips["valid"]
    assert (trip.changed, trip.unknown, trip.changes) == (1, 1, [["rare to <unk>", 1]])
    assert any("Against that: tokenizer=sentencepiece, or tokenizer.min_count=1" in line for line in data.report)
    assert prepared(tmp_path, Words(min_count=1), ["one two", "one two", "one rare"], "xx").round_trips["valid"].changed == 0


def test_no_bleu_where_it_would_mean_nothing(tmp_path: Path) -> None:
    """A language that nothing knows the words of: the lines are counted all the same."""
    assert prepared(tmp_path, replace(SMALL, normalization="nfkc"), JAPANESE, "jp").round_trips["test"].bleu is None


@pytest.fixture(scope="module")
def bytewise() -> Tokenizer:
    return Tokenizer(replace(SMALL, vocab_size=330, byte_fallback=True).train("target", [*JAPANESE, *PERSIAN])[0])


@given(line=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\u2581\x00"), max_size=30))
@settings(max_examples=200, deadline=None)
def test_every_line_comes_back_but_for_its_white_space(line: str, bytewise: Tokenizer) -> None:
    assert bytewise.decode(bytewise.encode([line])) == [" ".join(line.split())]


@pytest.mark.parametrize("line", MARKED)
def test_white_space_of_every_kind_is_a_space(line: str, bytewise: Tokenizer) -> None:
    one, other = bytewise.encode([line, " ".join(line.split())])
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize(("size", "covered"), [(60, True), (59, False)])
def test_every_character_has_a_token_where_half_the_vocabulary_holds_them(size: int, covered: bool) -> None:
    """Thirty characters, one of them once in 40,000: an alphabet's rare signs are kept, a large set's are not."""
    usual = "".join(chr(ord("a") + number) for number in range(26)) + "abc"  # with the space and the rare one: 28 ... 30
    lines = [usual + "éè "] * 1400 + [usual + "½"]
    assert len(set("".join(lines))) == 30
    tokenizer = Tokenizer(SentencePiece(vocab_size=size).train("target", lines)[0])
    assert (tokenizer.unk not in tokenizer.encode(["½"])[0]) is covered
