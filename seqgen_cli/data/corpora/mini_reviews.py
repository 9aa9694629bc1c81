"""Short film reviews made by a grammar of this project: which words occur says little, how they are joined says all.

A review praises or blames; every construction can do either with words of both kinds: negation turns a word over, a
contrast or a concession sets its weaker half against its verdict, intensifiers and downtoners stand on both sides. A model
of word counts stays near chance plus what the plain sentences give away (at most 75 %); one that reads gets all of it.
"""

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from seqgen_cli.data.corpora.labelled import Example, LabelledData

_VERSION = 1  # raise it when the same settings give other reviews

_FILMS = [
    "film",
    "movie",
    "picture",
    "thriller",
    "comedy",
    "drama",
    "western",
    "sequel",
    "documentary",
    "debut",
    "remake",
    "musical",
]
_PARTS = [
    "acting",
    "plot",
    "script",
    "dialogue",
    "photography",
    "score",
    "pacing",
    "ending",
    "opening",
    "casting",
    "editing",
    "humour",
    "romance",
    "suspense",
    "soundtrack",
    "story",
    "direction",
]
_GOOD = [
    "brilliant",
    "charming",
    "gripping",
    "moving",
    "funny",
    "clever",
    "beautiful",
    "convincing",
    "fresh",
    "warm",
    "elegant",
    "thoughtful",
    "lively",
    "superb",
    "tender",
    "sharp",
]
_BAD = [
    "dull",
    "clumsy",
    "tedious",
    "shallow",
    "predictable",
    "silly",
    "ugly",
    "wooden",
    "stale",
    "cold",
    "awkward",
    "lazy",
    "lifeless",
    "dreadful",
    "mawkish",
    "muddled",
]
_VERY = ["very", "really", "truly", "remarkably", "utterly", "extremely"]
_LITTLE = ["somewhat", "rather", "slightly", "mildly", "fairly"]
_BEFORE_VOWEL = re.compile(r"\ba (?=[aeiou])")
_WHO = ["I", "my sister", "my father", "everyone in our row", "the friend who came along", "my neighbour", "the two of us"]
_NEUTRAL = [
    "I saw it on a rainy Sunday.",
    "It runs for almost two hours.",
    "Most of it takes place on a farm.",
    "We bought the tickets late.",
    "The director is new to me.",
    "It was shot in black and white.",
    "The theatre was half full.",
    "Three actors share the lead.",
    "The book it comes from is on my shelf.",
    "It opens with a train journey.",
    "My brother had chosen it.",
    "There is a cat in nearly every scene.",
    "The second half moves to the city.",
    "It came out last spring.",
]


@dataclass(frozen=True)
class MiniReviews(LabelledData):
    """Reviews in two classes, negative and positive, half each; no text stands in two splits.

    Args (besides those of LabelledData):
        train_size, valid_size, test_size: reviews of each split.
        corpus_seed: names the reviews.
    """

    train_size: Annotated[int, Ge(2)] = 4000
    valid_size: Annotated[int, Ge(2)] = 500
    test_size: Annotated[int, Ge(2)] = 1000
    corpus_seed: Annotated[int, Ge(0)] = 1

    def fingerprint(self) -> str:
        settings = (_VERSION, self.train_size, self.valid_size, self.test_size, self.corpus_seed, self.limit, self.split_seed)
        return hashlib.sha256(repr(("mini_reviews", *settings)).encode()).hexdigest()

    def class_names(self) -> Sequence[str]:
        return ["negative", "positive"]

    def labelled_splits(self) -> Mapping[str, Sequence[Example]]:
        sizes = {"train": self.train_size, "valid": self.valid_size, "test": self.test_size}
        draw = random.Random(f"mini_reviews {self.corpus_seed}")
        seen: set[str] = set()
        splits = {}
        for split, size in sizes.items():
            examples: list[Example] = []
            while len(examples) < size:
                positive = len(examples) % 2 == 1
                text = _review(draw, positive)
                if text not in seen:
                    seen.add(text)
                    examples.append((text, "positive" if positive else "negative"))
            draw.shuffle(examples)
            splits[split] = self.limited(examples, split)
        return splits


def _review(draw: random.Random, positive: bool) -> str:
    """A verdict in one or two constructions, perhaps among sentences that judge nothing."""
    sentences = [_sentence(draw, positive) for _ in range(draw.choice((1, 1, 1, 2)))]
    for _ in range(draw.choice((0, 0, 1, 2))):
        sentences.insert(draw.randint(0, len(sentences)), draw.choice(_NEUTRAL))
    return " ".join(sentences)


def _sentence(draw: random.Random, positive: bool) -> str:
    """One construction that gives the verdict."""
    words = _Words(draw, positive)
    text = draw.choice(_CONSTRUCTIONS)(words)
    text = _BEFORE_VOWEL.sub("an ", text)
    return text[0].upper() + text[1:]


class _Words:
    """Draws fillers for a verdict: `same` words are of its kind, `other` words of the opposite."""

    def __init__(self, draw: random.Random, positive: bool) -> None:
        self._draw = draw
        self._same, self._other = (_GOOD, _BAD) if positive else (_BAD, _GOOD)
        self.film = draw.choice(_FILMS)
        self.part, self.part2 = draw.sample(_PARTS, 2)
        self.who = draw.choice(_WHO)
        self.liked, self.disliked = ("enjoyed", "hated") if positive else ("hated", "enjoyed")
        self.outcome = "wins us over" if positive else "loses us"

    @property
    def same(self) -> str:
        """An adjective of the verdict's kind, perhaps with an intensifier or downtoner."""
        return self._graded(self._same)

    @property
    def other(self) -> str:
        return self._graded(self._other)

    @property
    def bare_same(self) -> str:
        """An adjective of the verdict's kind alone."""
        return self._draw.choice(self._same)

    @property
    def bare_other(self) -> str:
        return self._draw.choice(self._other)

    @property
    def negated(self) -> str:
        """An adjective of the other kind to stand under a negation, perhaps intensified: "not really dull"."""
        return self._draw.choice(("", "", "really ", "truly ", "particularly ")) + self.bare_other

    def _graded(self, adjectives: Sequence[str]) -> str:
        grade = self._draw.choice(("", "", self._draw.choice(_VERY) + " ", self._draw.choice(_LITTLE) + " "))
        return grade + self._draw.choice(adjectives)


_CONSTRUCTIONS: tuple[Callable[[_Words], str], ...] = (
    # Plain: word counts get these right.
    lambda w: f"the {w.part} is {w.same}, and the {w.part2} is {w.same}.",
    lambda w: f"{w.who} {w.liked} this {w.same} {w.film}.",
    # Negation.
    lambda w: f"the {w.part} is not {w.negated}.",
    lambda w: f"there is nothing {w.negated} about the {w.part} of this {w.film}.",
    lambda w: f"nobody could call the {w.part} {w.bare_other}.",
    lambda w: f"it is hardly a {w.bare_other} {w.film}, whatever the posters say.",
    lambda w: f"the {w.film} is never {w.bare_other}, not even when the {w.part} is.",
    lambda w: f"{w.who} had foreseen a {w.other} {w.film}, but it was anything but that.",
    lambda w: f"far from being {w.bare_other}, the {w.part} does the opposite.",
    lambda w: f"nobody can say that {w.who} {w.disliked} it.",
    lambda w: f"it would be wrong to call this {w.film} {w.bare_other}.",
    # A denial denied.
    lambda w: f"it is not true that the {w.part} is not {w.bare_same}.",
    lambda w: f"do not believe those who say the {w.film} is {w.bare_other}.",
    lambda w: f"those who tell you the {w.part} is not {w.bare_same} are mistaken.",
    # Contrast: what follows it decides.
    lambda w: f"the {w.part} is {w.other}, but the {w.film} as a whole is {w.same}.",
    lambda w: f"the {w.part} may be {w.other}; the {w.film} itself, however, is {w.same}.",
    lambda w: f"at first it looks {w.other}, yet in the end it is {w.same}.",
    lambda w: f"critics called it {w.other}, but {w.who} found it {w.same}.",
    lambda w: f"{w.who} expected something {w.other} and got something {w.same}.",
    lambda w: f"not {w.bare_other} but {w.bare_same}: that is the {w.part} in a few words.",
    lambda w: f"it is {w.bare_same} rather than {w.bare_other}.",
    lambda w: f"instead of a {w.bare_other} {w.film} we were given a {w.same} one.",
    # Concession, before and after the verdict.
    lambda w: f"although the {w.part} is {w.other}, this is a {w.same} {w.film}.",
    lambda w: f"this is a {w.same} {w.film}, although the {w.part} is {w.other}.",
    lambda w: f"despite a {w.other} {w.part}, {w.who} {w.liked} it.",
    lambda w: f"{w.who} {w.liked} it in spite of its {w.other} {w.part}.",
    lambda w: f"for all its {w.bare_other} moments, the {w.film} is {w.same}.",
    lambda w: f"even the {w.other} {w.part} cannot change that the {w.film} is {w.same}.",
    lambda w: f"granted, the {w.part} is {w.other}; it is still a {w.same} {w.film}.",
    lambda w: f"{w.bare_other} as the {w.part} is, the {w.film} {w.outcome} in the end.",
    # Comparison and condition.
    lambda w: f"had the {w.part} been {w.bare_other}, I would have {w.disliked} it; as it is, I {w.liked} it.",
    lambda w: f"the last {w.film} of this director was {w.other}, this one is the opposite.",
    lambda w: f"other reviews say {w.bare_other}; I say {w.bare_same}.",
    lambda w: f"it is less {w.bare_other} than {w.bare_same}.",
    lambda w: f"too {w.bare_same} to be called {w.bare_other}.",
)
