"""Reading words from tables, and choosing among them."""

from collections.abc import Sequence
from typing import TypeVar

from seqgen_cli.data.corpora.phrasebook.words import Word

W = TypeVar("W", bound=Word)


def entries(table: str) -> list[tuple[str, str]]:
    """A table's (Japanese, English) entries: `犬 dog, 絵本 picture_book`; `_` is a space."""
    return [(ja, en.replace("_", " ")) for ja, _, en in (entry.partition(" ") for entry in table.split(", "))]


def phrases(table: str) -> tuple[Word, ...]:
    """Words without forms of their own, from a table."""
    return tuple(Word(ja, en) for ja, en in entries(table))


def joined(*groups: Sequence[W]) -> tuple[W, ...]:
    """The groups one after another, each word once."""
    return tuple({word.key: word for group in groups for word in group}.values())


def named(words: Sequence[W], names: str) -> tuple[W, ...]:
    """The words with these Japanese names (divided by spaces), in the order of the names."""
    by_name = {word.ja: word for word in words}
    return tuple(by_name[name] for name in names.split())


def without(words: Sequence[W], names: str) -> tuple[W, ...]:
    """The words but those with these Japanese names (divided by spaces)."""
    return tuple(word for word in words if word.ja not in names.split())
