"""The compositional split: which words a construction keeps out of train.

A (construction, word) pair belongs to train, to valid or to test. Every sentence of train has pairs of train only; one of
valid at least one pair of valid and none of test; one of test at least one pair of test and none of valid. A pair is kept
out only where the construction keeps most words of each slot, and where the word keeps other constructions in train: each word
and each construction alone is in train.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seqgen_cli.data.corpora.phrasebook.construction import Construction
from seqgen_cli.data.corpora.phrasebook.words import Word

Split = Literal["train", "valid", "test"]
# Of the words of a slot, how many each of valid and test keeps for itself; and how many constructions a word keeps in train.
_SHARE = 0.1
_KEPT = 2


def digest(*parts: object) -> int:
    """A 64-bit number that depends on nothing but the parts' text."""
    text = "\n".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def assign(constructions: Sequence[Construction], seed: int) -> dict[tuple[str, str], Split]:
    """The split of every pair that train does not hold: {(construction name, word key): valid or test}."""
    words = {pattern.name: {word.key for slot in pattern.slots.values() for word in slot} for pattern in constructions}
    remaining = Counter(key for keys in words.values() for key in keys)
    slots_of: dict[tuple[str, str], list[tuple[str, str]]] = {}
    room: dict[tuple[str, str, Split], int] = {}
    for pattern in constructions:
        for slot, fillers in pattern.slots.items():
            quota = math.floor(len(fillers) * _SHARE) or (1 if len(fillers) >= 5 else 0)
            room[pattern.name, slot, "valid"] = room[pattern.name, slot, "test"] = quota
            for word in fillers:
                slots_of.setdefault((pattern.name, word.key), []).append((pattern.name, slot))
    held: dict[tuple[str, str], Split] = {}
    for pair in sorted(slots_of, key=lambda pair: digest(seed, *pair)):
        if remaining[pair[1]] <= _KEPT:
            continue
        first: Split = "test" if digest(seed, "first", *pair) % 2 else "valid"
        for split in (first, "valid" if first == "test" else "test"):
            places = [(*slot, split) for slot in slots_of[pair]]
            if all(room[place] for place in places):
                held[pair] = split
                remaining[pair[1]] -= 1
                for place in places:
                    room[place] -= 1
                break
    return held


@dataclass(frozen=True)
class Block:
    """A product of word lists, one a slot."""

    slots: tuple[tuple[Word, ...], ...]

    @property
    def size(self) -> int:
        return math.prod(len(slot) for slot in self.slots)

    def pick(self, index: int) -> list[Word]:
        """The combination of this number, 0 .. size - 1."""
        words = []
        for slot in self.slots:
            index, place = divmod(index, len(slot))
            words.append(slot[place])
        return words


def blocks(pattern: Construction, held: dict[tuple[str, str], Split], split: Split) -> tuple[Block, ...]:
    """The combinations that a split may use, each once: those whose first held-out word stands in slot 1, 2, ..."""
    train, own = [], []
    for slot in pattern.slots.values():
        train.append(tuple(word for word in slot if (pattern.name, word.key) not in held))
        own.append(tuple(word for word in slot if held.get((pattern.name, word.key)) == split))
    if split == "train":
        return (Block(tuple(train)),)
    both = [kept + new for kept, new in zip(train, own, strict=True)]
    cut = (Block((*train[:place], own[place], *both[place + 1 :])) for place in range(len(own)))
    return tuple(block for block in cut if block.size)
