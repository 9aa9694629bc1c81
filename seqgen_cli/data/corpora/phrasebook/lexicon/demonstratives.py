"""This, that, and that over there."""

from dataclasses import dataclass

from seqgen_cli.data.corpora.phrasebook.words import Noun, Word


@dataclass(frozen=True)
class Demonstrative(Word):
    """この before a noun; `pronoun` (これ) without one. `tail` follows the English noun."""

    plural: str
    pronoun: str
    tail: str = ""

    def with_noun(self, noun: Noun, adjective: str = "") -> str:
        """this hat, these shoes, that red hat over there."""
        word = self.plural if noun.number == "plural" else self.en
        return " ".join(part for part in (word, adjective, noun.en, self.tail) if part)

    def alone(self, noun: Noun) -> str:
        """this, these, that over there: where the noun follows as what it is."""
        word = self.plural if noun.number == "plural" else self.en
        return f"{word} {self.tail}" if self.tail else word


THIS = (
    Demonstrative("この", "this", "these", "これ"),
    Demonstrative("その", "that", "those", "それ"),
    Demonstrative("あの", "that", "those", "あれ", "over there"),
)
