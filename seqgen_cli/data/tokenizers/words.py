"""Whole words as tokens: a vocabulary by frequency, everything else unknown.

A line is brought to NFKC and lower case, where asked, then cut into, at each place the first that fits:

- a number with inner points or commas: 3.5, 10,000;
- a run of letters, digits, marks and joiners (U+200C, U+200D), with inner apostrophes: don't, 70s, 한국어;
- a letter of a script written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar), with its marks;
- `<unk>`, which some corpora write for a word left out: the unknown word;
- any other character that is no white space.

Decoding joins with spaces, except around what is written without: closing punctuation, brackets, the insides of straight
quotes, hyphens, slashes, characters of those scripts. Encoding the decoded text gives the same ids back.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from seqgen_cli.data.tokenizers.model_file import ModelFile
from seqgen_cli.errors import RequestError, counted

SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
_FORMAT = "seqgen words 2"
_FIRST_FORMAT = "seqgen words 1"  # always NFKC, and joiners were words of their own
_JOINERS = "\u200c\u200d"  # within the words of Persian and of Indian languages
_LAST = 0x323B0  # no letter stands beyond it
_UNSPACED = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x30FF), (0x31F0, 0x31FF)]
_UNSPACED += [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0x20000, _LAST)]
_LEFT = frozenset(".,;:!?)]}%'’”،؛؟")  # stand close to what precedes them
_RIGHT = frozenset("([{$£€#@“‘¿¡")  # to what follows
_BOTH = frozenset("-/、。「」『』・〜！？，．：；（）［］｛｝％～")  # to both, as characters of scripts without spaces do


class WordVocabulary(ModelFile):
    """Lines to ids and back: 0 padding, 1 the unknown word, 2 `<s>`, 3 `</s>`, then the words. Pickles.

    Args:
        model: bytes as `build` makes them.
        name: what error messages call them.

    Raises:
        RequestError: they are none.
    """

    kind, ending = "word vocabulary", ".words.json"
    pad, unk, bos, eos = range(4)

    def __init__(self, model: bytes, name: str = "vocabulary") -> None:
        super().__init__(model, name)
        self._rules, words = _read(model, name)
        self._words = [*SPECIALS, *words]
        self._ids = {word: number for number, word in enumerate(words, len(SPECIALS))}
        self.vocab_size = len(self._words)

    @classmethod
    def build(cls, words: Sequence[str], lowercase: bool, nfkc: bool) -> WordVocabulary:
        """The vocabulary of these words, the first with the first free id; see `split` for the rest."""
        content = {"format": _FORMAT, "lowercase": lowercase, "nfkc": nfkc, "words": list(words)}
        return cls(json.dumps(content, ensure_ascii=False, indent=0).encode())

    def encode_flat(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines in one array (int32), and the number of ids of each line (int64)."""
        rows = [split(line, *self._rules) for line in lines]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        known = self._ids.get
        return np.fromiter((known(word, 1) for word in chain.from_iterable(rows)), np.int32, int(lengths.sum())), lengths

    def decode(self, rows: Iterable[Sequence[int] | np.ndarray]) -> list[str]:
        """The text of each id sequence; `<s>`, `</s>` and padding leave nothing."""
        hidden = (self.pad, self.bos, self.eos)
        return ["".join(_joined(self._words[number] for number in row if number not in hidden)) for row in rows]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The words behind ids."""
        return [self._words[int(number)] for number in ids]


@dataclass(frozen=True)
class Words:
    """How to tokenise into words: a vocabulary is made of the training text.

    Args:
        min_count: how often a word must occur in training to be known.
        max_size: the most entries of a vocabulary, special tokens included, most frequent words first; None = any number.
        lowercase: whether to read everything in lower case.
        normalization: what is done to every line: nfkc, or none. None = nfkc for a source, and none for a target and a joint
            vocabulary, which write only what it leaves: NFKC takes full-width signs.
        joint: one vocabulary for both sides.
    """

    min_count: Annotated[int, Ge(1)] = 2
    max_size: Annotated[int, Ge(5)] | None = None
    lowercase: bool = False
    normalization: Literal["nfkc", "none"] | None = None
    joint: bool = False

    kind: ClassVar[str] = "word"
    training_lines: ClassVar[None] = None
    sampling: ClassVar[None] = None

    @property
    def mends(self) -> dict[str, str]:
        changed = "tokenizer.normalization=null" if self.normalization == "nfkc" else "tokenizer=sentencepiece"
        return {"changed": changed, "unknown": "tokenizer=sentencepiece, or tokenizer.min_count=1"}

    def training_key(self, sides: Sequence[str]) -> list[object]:
        return [
            self.kind,
            _FORMAT,
            self.min_count,
            self.max_size,
            self.lowercase,
            self.normalization,
            self.joint and len(sides) > 1,
        ]

    def given(self, sides: Sequence[str]) -> None:
        return None

    def largest(self, side: str) -> int | None:
        """The most words that a side can get."""
        return self.max_size

    def train(self, side: str, lines: Iterable[str]) -> tuple[bytes, str | None]:
        """The vocabulary of the lines: words by falling count, those of equal count by their code points."""
        nfkc = (self.normalization or ("nfkc" if side == "source" else "none")) == "nfkc"
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(split(line, self.lowercase, nfkc))
        del counts[SPECIALS[1]]
        words = sorted(
            (word for word, count in counts.items() if count >= self.min_count), key=lambda word: (-counts[word], word)
        )
        if not words:
            raise RequestError(
                f"The {side} side has no word that occurs {counted(self.min_count, 'time')}: lower tokenizer.min_count."
            )
        kept = words if self.max_size is None else words[: self.max_size - len(SPECIALS)]
        known = sum(counts[word] for word in kept) / counts.total()
        note = f"tokenizer, {side}: {len(kept):,} of {len(counts):,} different words are known, {known:.2%} of the text."
        return WordVocabulary.build(kept, self.lowercase, nfkc).model, note

    def open(self, model: bytes) -> WordVocabulary:
        return WordVocabulary(model)


def split(line: str, lowercase: bool = False, nfkc: bool = False, joining: bool = True) -> list[str]:
    """The words of a line, as the head of this file says.

    Args:
        joining: whether joiners belong to words.
    """
    return _pattern(joining).findall(_normalized(line, lowercase, nfkc))


def _normalized(line: str, lowercase: bool, nfkc: bool) -> str:
    if line.isascii() or not nfkc:
        return line.lower() if lowercase else line
    line = unicodedata.normalize("NFKC", line)
    return unicodedata.normalize("NFKC", line.lower()) if lowercase else line


def _joined(words: Iterable[str]) -> Iterator[str]:
    """The words with the white space between them."""
    close = _Closeness()
    for word in words:
        yield word if close.follows(word) else f" {word}"


class _Closeness:
    """Whether each word of a line stands close to the one before it."""

    def __init__(self) -> None:
        self._open = False  # after an odd number of straight quotes
        self._next_is_close = True  # the first word

    def follows(self, word: str) -> bool:
        quote = word == '"'
        close = word in _LEFT or (quote and self._open)
        both = word in _BOTH or _kind(word[0]) == "unspaced"
        found = (self._next_is_close or close or both) and _kind(word[0]) != "mark"  # a mark would join what precedes it
        self._open ^= quote
        self._next_is_close = both or word in _RIGHT or (quote and self._open)
        return found


def _kind(character: str) -> str:
    """mark (or joiner), unspaced (a letter of a script written without spaces), letter (any other letter or digit), or other."""
    category = unicodedata.category(character)
    if category[0] == "M" or character in _JOINERS:
        return "mark"
    if category[0] == "L" or category == "Nl":
        return "unspaced" if any(first <= ord(character) <= last for first, last in _UNSPACED) else "letter"
    return "letter" if category[0] == "N" else "other"


@cache
def _pattern(joining: bool) -> re.Pattern[str]:
    """What a word is. (`re` has no classes of marks or scripts, so they are spelt out.)"""
    ranges: dict[str, str] = {"mark": "", "unspaced": "", "letter": "", "other": ""}
    for kind, group in groupby(range(_LAST), lambda code: _kind(chr(code)) if joining or chr(code) not in _JOINERS else "other"):
        codes = list(group)
        ranges[kind] += f"{re.escape(chr(codes[0]))}-{re.escape(chr(codes[-1]))}"
    mark, unspaced = ranges["mark"], ranges["unspaced"]
    run = f"[{ranges['letter']}{mark}]+"
    return re.compile(rf"\d+(?:[.,]\d+)+|{run}(?:['’]{run})*|[{unspaced}][{mark}]*|<unk>|\S")


def _read(model: bytes, name: str) -> tuple[tuple[bool, bool, bool], list[str]]:
    """What `build` wrote: how lines are split (the arguments of `split`), and the words.

    Raises:
        RequestError: it did not, or the words are no words.
    """
    try:
        content = json.loads(model)
        first = content["format"] == _FIRST_FORMAT
        lowercase, nfkc, words = content["lowercase"], first or content["nfkc"], content["words"]
        whole = content["format"] in (_FORMAT, _FIRST_FORMAT) and isinstance(words, list)
        whole &= isinstance(lowercase, bool) and isinstance(nfkc, bool)
        if not whole or any(not isinstance(word, str) or word.split() != [word] for word in words):
            raise ValueError("not its format")
        "".join(words).encode("utf-8")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{name} is not a word vocabulary of seqgen ({error}).") from None
    if len({*words, *SPECIALS}) < len(words) + len(SPECIALS):
        raise RequestError(f"{name} is not a word vocabulary of seqgen: a word stands in it twice.")
    return (lowercase, nfkc, not first), words
