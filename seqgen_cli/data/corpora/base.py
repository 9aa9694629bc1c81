"""Where text comes from: the Corpus protocol, and corpora made of others: one side of one, several as one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Pair = tuple[str, str]
"""One example: a source line and a target line, without line ends."""


Row = tuple[str, ...]
"""One example of any corpus: a Pair, or the target line alone."""


SIDES = ("source", "target")


@dataclass(frozen=True)
class RunningText:
    """How a corpus without a source is read whose lines are no sentences: no line is too long for training.

    Args:
        block: None: one example a line. Otherwise the lines of a split, each ending in `</s>`, are one stream, and an
            example is the next so many tokens of it.
        context: tokens before a block that are read and not scored.
    """

    block: int | None
    context: int


@runtime_checkable
class Corpus(Protocol):
    """Named splits of aligned lines, read as a stream: no corpus need fit in memory.

    A corpus of one side has no source_language, and its rows are target lines alone. It may have an attribute
    `running`, a RunningText or None, and one `split_names`, where they are known before anything is read.
    """

    source_language: str | None
    target_language: str | None

    def fingerprint(self) -> str:
        """A hash of everything that decides which lines `splits` yields: the files' bytes and the settings."""
        ...

    def splits(self) -> Mapping[str, Iterable[Row]]:
        """The rows of each split there is ("train", "valid", "test"); each may be iterated more than once."""
        ...


def sides_of(corpus: Corpus) -> tuple[str, ...]:
    """What a row of the corpus holds."""
    return SIDES[1:] if corpus.source_language is None else SIDES


def running_text(corpus: Corpus) -> RunningText | None:
    """The corpus's own `running`, if it has one."""
    return getattr(corpus, "running", None)


class TargetSide:
    """The target side of a corpus, for a model that reads no source."""

    source_language: str | None = None

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.target_language = corpus.target_language
        self.running = running_text(corpus)

    def fingerprint(self) -> str:
        return f"target side of {self._corpus.fingerprint()}"

    def splits(self) -> Mapping[str, Iterable[Row]]:
        return {name: self._of(rows) for name, rows in self._corpus.splits().items()}

    @staticmethod
    def _of(rows: Iterable[Row]) -> Iterable[Row]:
        if isinstance(rows, Mixture):
            return Mixture([_Targets(part) for part in rows.parts], rows.weights)
        return _Targets(rows)


@dataclass(frozen=True)
class _Targets:
    rows: Iterable[Row]

    def __iter__(self) -> Iterator[Row]:
        return (row[-1:] for row in self.rows)


class Mixture:
    """Several corpora read as one split, one after the other, each with the share of it that an epoch sees.

    Args:
        parts: the corpora, in order.
        weights: passes over each corpus in an epoch: 2 = every row twice; 0.5 = half of the rows, and the other
            half in the next epoch.
    """

    def __init__(self, parts: Sequence[Iterable[Row]], weights: Sequence[float]) -> None:
        self.parts = list(parts)
        self.weights = [float(weight) for weight in weights]

    def __iter__(self) -> Iterator[Row]:
        for part in self.parts:
            yield from part
