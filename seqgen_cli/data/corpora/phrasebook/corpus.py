"""The built-in corpus: sentences of the grammar, streamed without repeating one until all have been seen."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from seqgen_cli.data.corpora.phrasebook.construction import Construction, Pair
from seqgen_cli.data.corpora.phrasebook.constructions import CONSTRUCTIONS
from seqgen_cli.data.corpora.phrasebook.split import Block, Split, assign, blocks, digest

_MASK = (1 << 64) - 1
_SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def mix(number: int) -> int:
    """A 64-bit number that looks random: the finaliser of SplitMix64 (Steele et al. 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


def permuted(index: int, size: int, key: int) -> int:
    """Where a keyed permutation of 0 .. size - 1 takes `index`: a Feistel network on a square, walked until inside."""
    side = math.isqrt(size - 1) + 1
    while True:
        left, right = divmod(index, side)
        for turn in range(4):
            left, right = right, (left + mix(right ^ (key + turn))) % side
        index = left * side + right
        if index < size:
            return index


@dataclass
class _Source:
    """The sentences of one construction in one split, in a random order that depends on the key."""

    pattern: Construction
    blocks: Sequence[Block]
    key: int
    taken: int = 0

    def __post_init__(self) -> None:
        self.size = sum(block.size for block in self.blocks)

    def next(self) -> Pair:
        """The next sentence pair; None when all have been taken."""
        while self.taken < self.size:
            index = permuted(self.taken, self.size, self.key)
            self.taken += 1
            for block in self.blocks:
                if index < block.size:
                    break
                index -= block.size
            if (pair := self.pattern.realise(*block.pick(index))) is not None:
                return pair
        return None


@dataclass(frozen=True)
class Sentences:
    """`count` sentence pairs of one split; each iteration gives the same ones. Memory does not grow with `count`."""

    sources: tuple[tuple[Construction, tuple[Block, ...]], ...]
    key: int
    count: int
    reverse: bool

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for ja, en in itertools.islice(self._stream(), self.count):
            yield (en, ja) if self.reverse else (ja, en)

    def _stream(self) -> Iterator[tuple[str, str]]:
        """Each sentence once, constructions drawn evenly; all over again, in another order, when none is left."""
        for turn in itertools.count():
            active = [_Source(pattern, parts, mix(self.key + turn) ^ digest(pattern.name)) for pattern, parts in self.sources]
            step = 0
            while active:
                place = mix(self.key ^ mix(step)) % len(active)
                step += 1
                if (pair := active[place].next()) is None:
                    active.pop(place)
                else:
                    yield pair


class Phrasebook:
    """A corpus made by a Japanese-English grammar, with a compositional split (split.py).

    Every sentence has one translation. Every sentence of valid and of test uses a word in a construction where train never
    has it; all words and all constructions occur in train. More sentences continue fewer: the first 20,000 stay the same.

    Args:
        train_size, valid_size, test_size: sentence pairs.
        corpus_seed: names the split and the sentences drawn.
        direction: source and target language.
    """

    def __init__(
        self,
        train_size: Annotated[int, Ge(1)] = 20_000,
        valid_size: Annotated[int, Ge(1)] = 1_000,
        test_size: Annotated[int, Ge(1)] = 1_000,
        corpus_seed: Annotated[int, Ge(0)] = 1,
        direction: Literal["ja-en", "en-ja"] = "ja-en",
    ) -> None:
        self.sizes: dict[Split, int] = {"train": train_size, "valid": valid_size, "test": test_size}
        self.corpus_seed = corpus_seed
        self.direction = direction
        self.source_language, self.target_language = direction.split("-")

    def splits(self) -> dict[str, Iterable[tuple[str, str]]]:
        """{"train", "valid", "test"}: streams of (source, target) lines."""
        held = assign(CONSTRUCTIONS, self.corpus_seed)
        return {split: self._sentences(split, held) for split in _SPLITS}

    def fingerprint(self) -> str:
        """Names the text without making it: the settings, every construction and its words, and its first sentences."""
        parts: list[object] = [self.sizes, self.corpus_seed, self.direction]
        for pattern in CONSTRUCTIONS:
            parts += [pattern.name, *(word.key for slot in pattern.slots.values() for word in slot)]
            source = _Source(pattern, (Block(tuple(pattern.slots.values())),), key=0)
            parts += [source.next() for _ in range(20)]
        return f"phrasebook-{digest(*parts):016x}"

    def examples(self, count: int = 5) -> list[str]:
        """The first source sentences of the test set: none like them, word by word in its place, was trained on."""
        return [source for source, _ in itertools.islice(self.splits()["test"], count)]

    def _sentences(self, split: Split, held: dict[tuple[str, str], Split]) -> Sentences:
        sources = tuple((pattern, blocks(pattern, held, split)) for pattern in CONSTRUCTIONS)
        return Sentences(sources, digest(self.corpus_seed, split), self.sizes[split], self.direction == "en-ja")
