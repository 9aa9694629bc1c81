"""The kinds of words the grammar is made of, each with its forms in both languages.

Every kind has a `key` naming it among the fillers of slots. Forms are computed once a word: sentences are then joined strings.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from seqgen_cli.data.corpora.phrasebook import english, japanese


@dataclass(frozen=True)
class Word:
    """A word or fixed phrase: what stands in the sentence of each language."""

    ja: str
    en: str

    @cached_property
    def key(self) -> str:
        """Names the filler; the same word in two slots has the same key."""
        return f"{type(self).__name__}:{self.ja}:{self.en}"


@dataclass(frozen=True)
class Noun(Word):
    """A thing. `topic` says what may be done with it and said of it.

    Args:
        irregular: the plural, where it is not regular.
        number: count (a book), mass (bread), or plural (shoes).
        counter: what Japanese counts it with.
        measure: what English counts it with, where it is not counted itself: cup (of coffee), pair (of shoes).
    """

    topic: str = ""
    counter: str = ""
    irregular: str = ""
    number: Literal["count", "mass", "plural"] = "count"
    measure: str = ""

    @cached_property
    def many(self) -> str:
        """Any number of them: books, bread, shoes."""
        return self.en if self.number != "count" else self.irregular or english.plural(self.en)

    @cached_property
    def a(self) -> str:
        """One that is not known yet: a book, bread, shoes."""
        return english.with_article(self.en) if self.number == "count" else self.en

    @cached_property
    def be(self) -> str:
        return "are" if self.number == "plural" else "is"

    @cached_property
    def was(self) -> str:
        return "were" if self.number == "plural" else "was"

    @cached_property
    def it(self) -> str:
        return "they" if self.number == "plural" else "it"

    @cached_property
    def one(self) -> str:
        """Another of the kind, after an adjective: (a cheaper) one, (cheaper) ones."""
        return "ones" if self.number == "plural" else "one"

    def counted(self, count: int) -> str:
        """one book, two books, two cups of coffee, two pairs of shoes."""
        if self.measure:
            return f"{english.number(count)} {self.measure if count == 1 else english.plural(self.measure)} of {self.en}"
        return f"{english.number(count)} {self.en if count == 1 else self.many}"

    def described(self, adjective: str) -> str:
        """a red hat, fresh bread, new shoes."""
        return english.with_article(f"{adjective} {self.en}") if self.number == "count" else f"{adjective} {self.en}"


@dataclass(frozen=True)
class Verb(Word):
    """A verb in dictionary form; `en` may have a second part that does not inflect (get up)."""

    group: japanese.VerbGroup
    irregular_past: str = ""
    irregular_participle: str = ""

    @cached_property
    def stem(self) -> str:
        return japanese.stem(self.ja, self.group)

    @cached_property
    def te(self) -> str:
        return japanese.te(self.ja, self.group)

    @cached_property
    def ta(self) -> str:
        return japanese.ta(self.ja, self.group)

    @cached_property
    def nai_stem(self) -> str:
        return japanese.nai_stem(self.ja, self.group)

    @cached_property
    def potential_stem(self) -> str:
        return japanese.potential_stem(self.ja, self.group)

    @cached_property
    def third(self) -> str:
        return english.third_person(self.en)

    @cached_property
    def past(self) -> str:
        return self._with_tail(self.irregular_past) if self.irregular_past else english.past(self.en)

    @cached_property
    def participle(self) -> str:
        return self._with_tail(self.irregular_participle) if self.irregular_participle else self.past

    def _with_tail(self, head: str) -> str:
        """An irregular form with the verb's second part: got -> got up."""
        return " ".join([head, *self.en.split()[1:]])

    @cached_property
    def ing(self) -> str:
        return english.ing(self.en)


@dataclass(frozen=True)
class Adjective(Word):
    """An い-adjective, or a な-adjective listed without な. `topics`: the topics of the nouns it may describe."""

    kind: Literal["i", "na"] = "i"
    topics: frozenset[str] = frozenset()

    @cached_property
    def stem(self) -> str:
        return japanese.adjective_stem(self.ja, self.kind)

    @cached_property
    def before_noun(self) -> str:
        return self.ja if self.kind == "i" else self.ja + "な"

    @cached_property
    def plain(self) -> str:
        """The plain form before と思います, ので... : 大きい, 静かだ."""
        return self.ja if self.kind == "i" else self.ja + "だ"

    @cached_property
    def negative(self) -> str:
        """大きくありません, 静かではありません."""
        return self.stem + ("くありません" if self.kind == "i" else "ではありません")

    @cached_property
    def past(self) -> str:
        """大きかったです, 静かでした."""
        return self.stem + ("かったです" if self.kind == "i" else "でした")

    @cached_property
    def te(self) -> str:
        return self.stem + ("くて" if self.kind == "i" else "で")

    @cached_property
    def adverb(self) -> str:
        """Before なります: 大きく, 静かに."""
        return self.stem + ("く" if self.kind == "i" else "に")

    @cached_property
    def comparative(self) -> str:
        return english.comparative(self.en)

    @cached_property
    def superlative(self) -> str:
        return english.superlative(self.en)

    def fits(self, noun: Noun) -> bool:
        return noun.topic in self.topics


@dataclass(frozen=True)
class Person(Word):
    """Someone: `en` is the subject (I, my mother, Ken), `pronoun` what stands for them afterwards."""

    pronoun: Literal["I", "we", "he", "she", "they"]

    @cached_property
    def third(self) -> bool:
        return self.pronoun in ("he", "she")

    @cached_property
    def _own(self) -> bool:
        return self.en == self.pronoun

    @cached_property
    def object(self) -> str:
        """me, her, my mother."""
        return {"I": "me", "we": "us", "he": "him", "she": "her", "they": "them"}[self.pronoun] if self._own else self.en

    @cached_property
    def their(self) -> str:
        """The possessive pronoun: my, our, his, her, their."""
        return {"I": "my", "we": "our", "he": "his", "she": "her", "they": "their"}[self.pronoun]

    @cached_property
    def whose(self) -> str:
        """Before a noun: my, her, my mother's, Ken's."""
        return self.their if self._own else english.possessive(self.en)

    @cached_property
    def theirs(self) -> str:
        """Without a noun: mine, hers, my mother's."""
        own = {"I": "mine", "we": "ours", "he": "his", "she": "hers", "they": "theirs"}
        return own[self.pronoun] if self._own else self.whose

    @cached_property
    def be(self) -> str:
        return {"I": "am", "he": "is", "she": "is"}.get(self.pronoun, "are")

    @cached_property
    def was(self) -> str:
        return "were" if self.pronoun in ("we", "they") else "was"

    @cached_property
    def have(self) -> str:
        return "has" if self.third else "have"

    @cached_property
    def do(self) -> str:
        return "does" if self.third else "do"

    def present(self, verb: Verb) -> str:
        return verb.third if self.third else verb.en


@dataclass(frozen=True)
class Place(Word):
    """Somewhere; `en` has its article where it takes one (the station, Kyoto).

    Args:
        at: the preposition for being there.
        uses: kinds of action done there.
    """

    at: str = "at"
    uses: frozenset[str] = frozenset()

    @cached_property
    def there(self) -> str:
        return f"{self.at} {self.en}"

    @cached_property
    def bare(self) -> str:
        return self.en.removeprefix("the ")
