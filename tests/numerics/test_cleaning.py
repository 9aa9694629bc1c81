"""Cleaning against the obvious: sets and loops over everything in memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqgen_cli.data.corpora.base import Mixture
from seqgen_cli.data.prepare.cleaning import CHUNK, StandardCleaning, first_occurrences
from seqgen_cli.data.prepare.store import Text
from seqgen_cli.data.prepare.text_store import parts, read_info, store_text
from seqgen_cli.errors import RequestError
from tests.corpus_files import prepared

LINE = st.sampled_from(["", " ", "a", "b", "a b", "a  b", " a", "cc dd", "ａ", "a b c d e f g h"])
PAIRS = st.lists(st.tuples(LINE, LINE), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5) | st.integers(2**63, 2**63 + 3)), st.integers(1, 7))
def test_partitioned_search_for_duplicates_is_a_set(values: list[int], partition: int) -> None:
    seen: set[int] = set()
    expected = [row for row, value in enumerate(values) if not (value in seen or seen.add(value))]
    with TemporaryDirectory() as folder:
        np.array(values, np.uint64).tofile(Path(folder) / "hashes")
        rows = first_occurrences(Path(folder) / "hashes", Path(folder), partition)
        assert rows.tolist() == expected


def naive(
    pairs: list[tuple[str, str]], known: list[tuple[str, str]], rules: StandardCleaning
) -> tuple[list[tuple[str, str]], Counter]:
    """The rules as their documentation says them."""
    clean = rules.normalized
    known = [(clean(source), clean(target)) for source, target in known]
    kept, dropped = [], Counter()
    unit = {"words": str.split, "characters": list}[rules.length_unit]
    for source, target in [(clean(source), clean(target)) for source, target in pairs]:
        lengths = sorted([len(unit(source)), len(unit(target))])
        either = source in {one for one, _ in known} or target in {other for _, other in known}
        overlaps = {"none": False, "pair": (source, target) in known, "either": either}[rules.drop_overlap]
        if rules.drop_empty and not (source.strip() and target.strip()):
            dropped["empty"] += 1
        elif overlaps:
            dropped["overlap"] += 1
        elif rules.max_length and lengths[1] > rules.max_length:
            dropped["too long"] += 1
        elif rules.max_ratio and lengths[1] > rules.max_ratio * max(1, lengths[0]):
            dropped["ratio"] += 1
        elif rules.drop_duplicates and (source, target) in kept:
            dropped["duplicate"] += 1
        else:
            kept.append((source, target))
    return kept, dropped


RULES = st.builds(
    StandardCleaning,
    normalize=st.sampled_from(["none", "whitespace", "nfkc"]),
    drop_empty=st.booleans(),
    length_unit=st.sampled_from(["words", "characters"]),
    max_length=st.sampled_from([None, 1, 4]),
    max_ratio=st.sampled_from([None, 1.0, 1.5, 3.0]),
    drop_duplicates=st.booleans(),
    drop_overlap=st.sampled_from(["none", "pair", "either"]),
)


@settings(max_examples=150, deadline=None)
@given(PAIRS, PAIRS, RULES)
def test_rules_do_what_they_say(pairs: list[tuple[str, str]], known: list[tuple[str, str]], rules: StandardCleaning) -> None:
    expected, dropped = naive(pairs, known, rules)
    with TemporaryDirectory() as name:
        folder = Path(name)
        splits = {"train": Mixture([pairs[:7], pairs[7:]], [1, 1]), "valid": known[:5], "test": known[5:]}
        if not expected:
            with pytest.raises(RequestError, match="leaves no training pair"):
                store_text(folder, splits, rules)
            return
        store_text(folder, splits, rules)
        info = read_info(folder)
        rows = np.fromfile(folder / "train.rows", np.int64)
        sources, targets = Text(folder, "train.source"), Text(folder, "train.target")
        assert [(sources[row], targets[row]) for row in rows] == expected
        assert Counter(info["train"].dropped) == dropped  # Counters: absent is 0
        assert info["train"].read == len(pairs)
        first, _ = naive(pairs[:7], known, rules)
        assert info["train"].ends == [len(first), len(expected)]
        kept = [Text(folder, "valid.source")[row] for row in range(len(known[:5]))]
        assert kept == [source for source, _ in known[:5]]  # evaluation lines as they are


def test_length_in_tokens(tmp_path: Path) -> None:
    """The tokenizer's own lengths decide; what is kept is what the store holds."""
    pairs = [
        ("あいう", "the cat"),
        ("あ", "the a red blue small big cat dog bird fish house tree"),
        ("う" * 300, "cat " * 300),
    ] * 30
    rules = StandardCleaning(max_length=100, max_ratio=3.0, drop_duplicates=False)
    data = prepared(tmp_path, [pairs], cleaning=rules)
    lengths = [
        [len(tokenizer.encode([" ".join(pair[side].split())])[0]) for pair in pairs]
        for side, tokenizer in enumerate((data.source_tokenizer, data.target_tokenizer))
    ]
    fits = [max(both) <= 100 and max(both) <= 3 * min(both) for both in zip(*lengths, strict=True)]
    assert data.splits["train"].source_lines() == [pair[0] for pair, fit in zip(pairs, fits, strict=True) if fit]
    assert 0 < sum(fits) < len(pairs)
    counts = next(line for line in data.report if "dropped" in line)
    assert "too long 30" in counts and "unlike 30" in counts


def test_counts_are_of_target_tokens(tmp_path: Path) -> None:
    """Of the rows that are kept alone."""
    rows = [("あ", "the cat"), ("い", "the dog dog"), ("う", "cat " * 50)] * 20
    data = prepared(tmp_path, [rows], cleaning=StandardCleaning(max_length=40, max_ratio=None, drop_duplicates=False))
    assert len(data.splits["train"]) == 40
    expected = np.zeros(data.target_tokenizer.vocab_size, np.int64)
    for line in data.splits["train"].target_lines():
        for number in [*data.target_tokenizer.encode([line])[0], data.target_tokenizer.eos]:
            expected[number] += 1
    assert data.target_counts_V.tolist() == expected.tolist()


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, 2 * CHUNK + 5])
def test_chunks_meet_without_a_seam(tmp_path: Path, count: int) -> None:
    pairs = [(f"s{number % (CHUNK + 3)}", "t") for number in range(count)]
    store_text(tmp_path, {"train": pairs}, StandardCleaning(max_ratio=None))
    rows = np.fromfile(tmp_path / "train.rows", np.int64)
    assert rows.tolist() == list(range(min(count, CHUNK + 3)))
    assert Text(tmp_path, "train.source")[int(rows[-1])] == f"s{min(count, CHUNK + 3) - 1}"


def test_a_plain_iterable_is_one_part_of_weight_one() -> None:
    pairs = [("a", "b")]
    assert parts(pairs) == ([pairs], [1.0])
