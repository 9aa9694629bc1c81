"""Over-long lines: cut into parts that a model can read, and their translations joined again; lines with the prefixes of
their outputs."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat, zip_longest

import numpy as np

from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.errors import RequestError

# After Japanese full stops at once (closing brackets included), after Western ones where a space follows.
_BOUNDARY = re.compile(r"(?<=[。．！？])(?![。．！？」』）])|(?<=[。．！？][」』）])|(?<=[.!?])\s+")


def split_long(tokenizer: TextTokenizer, lines: Sequence[str], max_tokens: int) -> list[list[np.ndarray]]:
    """Ids of the parts of each line: none for a line of spaces, one for most.

    A line above `max_tokens` tokens (`</s>` included) is cut between sentences into parts as long as will fit; a sentence
    that is too long by itself is cut into parts of equal length. Nothing is lost.
    """
    encoded = tokenizer.encode(lines)
    return [
        [] if not len(ids) or not line.strip() else [ids] if len(ids) < max_tokens else _split(tokenizer, line, max_tokens - 1)
        for line, ids in zip(lines, encoded, strict=True)
    ]


def joined(texts: Sequence[str]) -> str:
    """Translations of a line's parts in a row: a space between them, but none after Japanese text."""
    whole = ""
    for text in texts:
        space = " " if whole and text and ord(whole[-1]) < 0x2E80 else ""
        whole += space + text
    return whole


def with_prefixes(lines: Iterable[str], prefixes: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    """Each line with the text its output must begin with ("": none); RequestError where there are not equally many."""
    if prefixes is None:
        yield from zip(lines, repeat(""))
        return
    for number, (line, prefix) in enumerate(zip_longest(lines, prefixes)):
        if line is None or prefix is None:
            problem = "more" if line is None else "fewer"
            raise RequestError(f"There are {problem} prefixes than lines ({number:,}): give one for each, an empty one for none.")
        yield line, prefix


def _split(tokenizer: TextTokenizer, line: str, room: int) -> list[np.ndarray]:
    sentences = [sentence for sentence in _BOUNDARY.split(line) if sentence.strip()]
    sizes = [len(ids) for ids in tokenizer.encode(sentences)]
    parts: list[list[str]] = []
    used = room + 1
    for sentence, size in zip(sentences, sizes, strict=True):
        if used + size > room:
            parts.append([])
            used = 0
        parts[-1].append(sentence)
        used += size
    pieces = []
    for ids in tokenizer.encode([joined(part) for part in parts]):
        pieces.extend(np.array_split(ids, -(-len(ids) // room)) if len(ids) > room else [ids])
    return [ids for ids in pieces if len(ids)]
