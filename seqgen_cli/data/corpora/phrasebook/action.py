"""What one does: a verb with its object, in the forms that sentences need."""

from dataclasses import dataclass
from functools import cached_property

from seqgen_cli.data.corpora.phrasebook.words import Noun, Place, Verb, Word


@dataclass(frozen=True)
class Action(Word):
    """Something one does: a verb with its object. `ja`, `en` name it; the forms below stand in sentences.

    Args:
        noun: the object, or None.
        lead: what precedes the verb in Japanese, its particle included: 本を.
        kind: what places must offer for it.
        definite: the object always takes `the` (clean the room).
    """

    verb: Verb
    noun: Noun | None
    lead: str
    kind: str
    definite: bool = False

    @cached_property
    def stem(self) -> str:
        return self.lead + self.verb.stem

    @cached_property
    def te(self) -> str:
        return self.lead + self.verb.te

    @cached_property
    def ta(self) -> str:
        return self.lead + self.verb.ta

    @cached_property
    def nai_stem(self) -> str:
        return self.lead + self.verb.nai_stem

    @cached_property
    def plain(self) -> str:
        return self.lead + self.verb.ja

    @cached_property
    def _one(self) -> str:
        if self.noun is None:
            return ""
        return f" the {self.noun.en}" if self.definite else f" {self.noun.a}"

    @cached_property
    def base(self) -> str:
        return self.verb.en + self._one

    @cached_property
    def third(self) -> str:
        return self.verb.third + self._one

    @cached_property
    def past(self) -> str:
        return self.verb.past + self._one

    @cached_property
    def participle(self) -> str:
        return self.verb.participle + self._one

    @cached_property
    def ing(self) -> str:
        return self.verb.ing + self._one

    @cached_property
    def many(self) -> str:
        """The object when the action is done again and again: (reads) books, (cleans) the room."""
        if self.noun is None:
            return ""
        return f" the {self.noun.en}" if self.definite else f" {self.noun.many}"

    def fits(self, place: Place) -> bool:
        return self.kind in place.uses
