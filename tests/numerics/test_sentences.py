"""Over-long lines: where they are cut, that nothing is lost, and how their translations are joined."""

from __future__ import annotations

import numpy as np
import pytest

from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.tasks.translate.sentences import joined, split_long


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    lines = ["これは駅です。", "あれは何ですか？", "It is 5.5 km. Is it far? No!", "「犬がいる。」猫もいる。"] * 20
    return Tokenizer(SentencePiece(vocab_size=60, character_coverage=1.0, normalization="identity").train("joint", lines)[0])


def texts(tokenizer: Tokenizer, line: str, max_tokens: int) -> list[str]:
    (parts,) = split_long(tokenizer, [line], max_tokens)
    assert all(0 < len(ids) < max_tokens for ids in parts)
    return tokenizer.decode(parts)


def test_short_lines_stay_whole(tokenizer: Tokenizer) -> None:
    lines = ["これは駅です。あれは何ですか？", "", "   ", "\u3000", "It is far."]
    parts = split_long(tokenizer, lines, 256)
    assert [len(group) for group in parts] == [1, 0, 0, 0, 1]
    assert parts[0][0].tolist() == tokenizer.encode(lines[:1])[0].tolist()


def test_japanese_is_cut_after_full_stops(tokenizer: Tokenizer) -> None:
    room = len(tokenizer.encode(["これは駅です。"])[0]) + 1
    assert texts(tokenizer, "これは駅です。あれは駅です。", room) == ["これは駅です。", "あれは駅です。"]
    assert texts(tokenizer, "「これは駅です。」あれは駅です。", room + 4)[0] == "「これは駅です。」"


def test_english_is_cut_where_a_space_follows(tokenizer: Tokenizer) -> None:
    whole = "It is 5.5 km. Is it far? No!"
    room = max(len(ids) for ids in tokenizer.encode(["It is 5.5 km.", "Is it far? No!"])) + 1
    assert texts(tokenizer, whole, room) == ["It is 5.5 km.", "Is it far? No!"]


def test_a_line_and_its_end_fit_exactly_or_the_line_is_cut(tokenizer: Tokenizer) -> None:
    line = "これは駅です。"
    (ids,) = tokenizer.encode([line])
    assert texts(tokenizer, line, len(ids) + 1) == [line]
    assert len(texts(tokenizer, line, len(ids))) == 2


@pytest.mark.parametrize("max_tokens", [2, 3, 7, 50])
def test_nothing_is_lost(tokenizer: Tokenizer, max_tokens: int) -> None:
    line = "これは駅です。あれは何ですか？" * 5 + "犬がいる" * 40 + "。猫もいる。"
    (parts,) = split_long(tokenizer, [line], max_tokens)
    assert all(0 < len(ids) < max_tokens for ids in parts)
    assert "".join(tokenizer.decode([np.concatenate(parts)])).replace(" ", "") == line


def test_a_line_of_ten_thousand_words(tokenizer: Tokenizer) -> None:
    (parts,) = split_long(tokenizer, ["far " * 10_000], 100)
    assert max(map(len, parts)) < 100 and sum(map(len, parts)) == len(tokenizer.encode(["far " * 10_000])[0])


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["It is.", "Is it?"], "It is. Is it?"),
        (["駅です。", "はい。"], "駅です。はい。"),
        (["", "Yes.", ""], "Yes."),
        ([], ""),
        (["one"], "one"),
    ],
)
def test_joining(parts: list[str], whole: str) -> None:
    assert joined(parts) == whole
