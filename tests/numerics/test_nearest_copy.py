"""The BLEU of copying: the search against brute force, and what it earns on the phrasebook."""

import math
import random
from collections import Counter

import pytest

from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from seqgen_cli.metrics.nearest_copy import NearestSource, nearest_copy_bleu


def cosine(left: str, right: str, lines: list[str]) -> float:
    """Cosine of two lines' n-gram counts weighted by log((1 + lines) / lines that hold it), straight from the definition."""

    def grams(line):
        return Counter(line[at : at + n] for n in (1, 2, 3, 4) for at in range(len(line) - n + 1))

    def weight(gram):
        holders = sum(gram in line for line in lines)
        return math.log((1 + len(lines)) / holders) if holders else 0.0

    one, two = grams(left), grams(right)
    product = sum(one[gram] * two[gram] * weight(gram) ** 2 for gram in one)
    norms = [math.sqrt(sum((count * weight(gram)) ** 2 for gram, count in side.items())) for side in (one, two)]
    return product / (norms[0] * norms[1])


def test_nearest_is_nearest_by_brute_force():
    streams = Phrasebook(train_size=60, test_size=12).splits()
    lines = [source for source, _ in streams["train"]]
    nearest = NearestSource(lines)
    for source, _ in streams["test"]:
        similarity = [cosine(source, line, lines) for line in lines]
        assert similarity[nearest.find(source)] == pytest.approx(max(similarity), abs=1e-12)


def test_what_every_line_has_counts_too():
    """Few lines of the same two letters, by brute force."""
    draw = random.Random(0)
    for _ in range(100):
        *lines, source = ["ab" + "".join(draw.choices("ab", k=draw.randint(0, 4))) for _ in range(5)]
        similarity = [cosine(source, line, lines) for line in lines]
        assert similarity[NearestSource(lines).find(source)] == pytest.approx(max(similarity), abs=1e-12)


def test_a_known_line_finds_itself_and_an_alien_one_finds_something():
    nearest = NearestSource(["abc", "abd", "xyz"])
    assert [nearest.find(line) for line in ("abc", "abd", "xyz", "xy")] == [0, 1, 2, 2]
    assert nearest.find("いろは") == 0 and nearest.find("") == 0


def test_copying_is_perfect_on_train_and_poor_on_the_held_out_sentences():
    streams = Phrasebook(train_size=6000, test_size=150).splits()
    train = list(streams["train"])
    assert nearest_copy_bleu(train, train[:50], "13a").score == pytest.approx(100)
    assert nearest_copy_bleu(train, streams["test"], "13a").score < 60
