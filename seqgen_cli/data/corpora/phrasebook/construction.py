"""A construction: a sentence pattern with slots, and what may fill them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from seqgen_cli.data.corpora.phrasebook.tables import joined
from seqgen_cli.data.corpora.phrasebook.words import Word

# A Japanese sentence and its English translation, or None where the fillers do not go together.
Pair = tuple[str, str] | None


@dataclass(frozen=True)
class Construction:
    """A pattern of sentences.

    Args:
        name: names it among all constructions.
        slots: the words each slot may hold.
        realise: one word a slot -> the pair of sentences, or None where the words do not go together.
    """

    name: str
    slots: dict[str, tuple[Word, ...]]
    realise: Callable[..., Pair]


def construction(**slots: Sequence[Word]) -> Callable[[Callable[..., Pair]], Construction]:
    """Makes a construction of a function whose parameters are the slots."""

    def decorate(realise: Callable[..., Pair]) -> Construction:
        return Construction(realise.__name__, {name: joined(words) for name, words in slots.items()}, realise)

    return decorate


def collect(namespace: Iterable[object]) -> tuple[Construction, ...]:
    """The constructions among a module's values, in the order of definition."""
    return tuple(value for value in namespace if isinstance(value, Construction))
