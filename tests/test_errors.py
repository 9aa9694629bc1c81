"""The small words of messages."""

from __future__ import annotations

import pytest

from seqgen_cli.errors import counted, well_formed


@pytest.mark.parametrize(
    ("text", "found", "halves"),
    [
        ("a\ud800b", "a\ufffdb", 1),
        ("\ud83d\ude00", "😀", 0),
        ("x\udcff", "x\ufffd", 1),
        ("\ud800\ud800", "\ufffd\ufffd", 2),
        ("\ufffd\ud800", "\ufffd\ufffd", 1),
        ("é\ufffd😀", "é\ufffd😀", 0),
        ("", "", 0),
    ],
)
def test_half_a_character_is_replaced_and_pairs_are_joined(text: str, found: str, halves: int) -> None:
    assert well_formed(text) == (found, halves)
    found.encode("utf-8")


def test_one_and_many() -> None:
    assert [counted(number, "line") for number in (0, 1, 2, 1200)] == ["0 lines", "1 line", "2 lines", "1,200 lines"]
