"""Beam and greedy search against enumeration of every sequence, in float64, over made-up distributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

from seqgen_cli.decoding.base import Hypotheses, Task
from seqgen_cli.decoding.beam import BeamSearch, beam_search
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.errors import RequestError
from tests.numerics.search_toys import SPECIALS, ToyModel, task_of

ORDINARY = [4, 5, 6]
Result = list[list[tuple[tuple[int, ...], float, float, bool]]]


def listed(found: Hypotheses) -> Result:
    """[sentence][rank] = (ids, log p, score, truncated), of the hypotheses that exist."""
    result: Result = []
    for b in range(found.ids_BKT.shape[0]):
        rows = []
        for k in range(found.ids_BKT.shape[1]):
            length = int(found.lengths_BK[b, k])
            assert (found.ids_BKT[b, k, length:] == SPECIALS.pad).all()
            if found.scores_BK[b, k] > float("-inf"):
                ids = tuple(found.ids_BKT[b, k, :length].tolist())
                values = (float(found.log_probs_BK[b, k]), float(found.scores_BK[b, k]), bool(found.truncated_BK[b, k]))
                rows.append((ids, *values))
        result.append(rows)
    return result


def run(model: ToyModel, decoder: BeamSearch | Sampling, task: Task) -> Result:
    return listed(decoder.search(model.step, model.start(task), task))


PENALTIES: dict[str, Callable[[int, float], float]] = {
    "power": lambda length, alpha: length**alpha,
    "gnmt": lambda length, alpha: ((5 + length) / 6) ** alpha,
}


@pytest.mark.parametrize("stop", ["bound", "first"])
@pytest.mark.parametrize("kind", ["power", "gnmt"])
@pytest.mark.parametrize(("alpha", "min_length", "max_length"), [(0.0, 0, 4), (0.6, 2, 4), (1.0, 0, 4), (1.7, 1, 5)])
def test_wide_beam_is_exhaustive_search(kind: str, alpha: float, min_length: int, max_length: int, stop: str) -> None:
    model = ToyModel(7, seed=3)
    settings: dict[str, Any] = {"length_penalty": alpha, "length_penalty_kind": kind, "min_length": min_length, "stop": stop}
    # The width holds every sequence, so even the rule "first" cannot stop before all are found.
    decoder = BeamSearch(beam_size=400, n_best=6, max_length_factor=0, max_length_offset=max_length, **settings)
    found = run(model, decoder, task_of([0, 1, 2, 3]))
    for sentence, hypotheses in enumerate(found):
        everything = [
            (log_p / PENALTIES[kind](len(ids), alpha), log_p, ids)
            for ids, log_p in model.sequences(sentence, max_length, ORDINARY)
            if len(ids) - 1 >= min_length
        ]
        best = sorted(everything, reverse=True)[:6]
        assert [ids for ids, *_ in hypotheses] == [ids for *_, ids in best]
        for (_, log_p, score, truncated), (true_score, true_log_p, _) in zip(hypotheses, best, strict=True):
            assert log_p == pytest.approx(true_log_p, abs=1e-10) and score == pytest.approx(true_score, abs=1e-10)
            assert not truncated


NARROW = ToyModel(9, seed=5, sharpness=1.0)


@cache
def after_narrow(sentence: int, ids: tuple[int, ...]) -> list[float]:
    """The distribution after these words, computed once for all widths and penalties."""
    return NARROW.log_probs_after(sentence, ids)


@pytest.mark.parametrize("stop", ["first", "bound"])
@pytest.mark.parametrize(("kind", "alpha"), [("power", 0.0), ("power", 0.8), ("power", 2.5), ("gnmt", 0.8), ("gnmt", 4.0)])
@pytest.mark.parametrize(("width", "n_best"), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_narrow_beam_follows_the_definition(width: int, n_best: int, kind: str, alpha: float, stop: str) -> None:
    """Against a search written with Python lists, one sentence at a time. With stop=bound it runs to the maximum length: the
    bound saves steps, never a hypothesis, also where a high penalty lets long ones come late and win."""
    words = [4, 5, 6, 7, 8]
    settings: dict[str, Any] = {"length_penalty": alpha, "length_penalty_kind": kind, "stop": stop}
    decoder = BeamSearch(beam_size=width, n_best=n_best, max_length_factor=1.0, max_length_offset=6, **settings)
    task = task_of(list(range(12)), [s % 5 for s in range(12)])
    for sentence, hypotheses in enumerate(run(NARROW, decoder, task)):
        limit = sentence % 5 + 6
        live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        finished: list[tuple[float, tuple[int, ...]]] = []
        for length in range(1, limit + 1):
            grown = []
            for log_p, ids in live:
                after = after_narrow(sentence, ids)
                grown += [(log_p + after[word], (*ids, word)) for word in [SPECIALS.eos, *words]]
            grown.sort(reverse=True)
            ended = [(log_p, ids) for log_p, ids in grown[:width] if ids[-1] == SPECIALS.eos]
            finished += [(log_p / PENALTIES[kind](length, alpha), ids) for log_p, ids in ended]
            live = [(log_p, ids) for log_p, ids in grown if ids[-1] != SPECIALS.eos][:width]
            if stop == "first" and len(finished) >= width:
                break
        finished.sort(reverse=True)
        unfinished = [(log_p / PENALTIES[kind](limit, alpha), ids) for log_p, ids in live]
        expected = (finished + unfinished)[:n_best]
        assert [ids for ids, *_ in hypotheses] == [ids for _, ids in expected]
        assert [score for *_, score, _ in hypotheses] == pytest.approx([score for score, _ in expected], abs=1e-10)
        assert [truncated for *_, truncated in hypotheses] == [ids[-1] != SPECIALS.eos for _, ids in expected]


def test_the_bound_saves_steps() -> None:
    model, calls = ToyModel(12, seed=8, sharpness=1.5, eos_bias=2.0), []
    for stop in ("first", "bound"):
        model.calls.clear()
        run(model, BeamSearch(beam_size=3, max_length_factor=0, max_length_offset=60, stop=stop), task_of([0, 1, 2]))
        calls.append(len(model.calls))
    assert calls[0] < calls[1] < 60


def test_bound_is_never_worse_than_first() -> None:
    model = ToyModel(12, seed=8, sharpness=1.5)
    task = task_of(list(range(40)))
    limits: dict[str, Any] = {"max_length_factor": 0, "max_length_offset": 8, "length_penalty": 1.0, "beam_size": 3}
    first = run(model, BeamSearch(stop="first", **limits), task)
    bound = run(model, BeamSearch(stop="bound", **limits), task)
    gains = [b[0][2] - f[0][2] for f, b in zip(first, bound, strict=True)]
    assert min(gains) >= 0 and max(gains) > 0


def test_greedy_is_beam_of_one() -> None:
    model = ToyModel(20, seed=2, sharpness=1.0)
    decoder = BeamSearch(beam_size=1, max_length_factor=0, max_length_offset=15, no_repeat_ngram_size=2, min_length=1)
    task = task_of(list(range(50)))
    greedy = run(model, decoder, task)
    beam = listed(beam_search(model.step, model.start(task), task, decoder))
    assert any(hypotheses[0][3] for hypotheses in greedy) and not all(hypotheses[0][3] for hypotheses in greedy)
    for one, other in zip(greedy, beam, strict=True):
        assert one[0][0] == other[0][0] and one[0][1:3] == pytest.approx(other[0][1:3], abs=1e-10) and one[0][3] == other[0][3]


DECODERS = {
    "greedy": BeamSearch(beam_size=1, max_length_offset=12),
    "beam": BeamSearch(beam_size=4, n_best=3, max_length_offset=12, max_length_factor=1.5),
    "bound": BeamSearch(beam_size=4, n_best=2, max_length_offset=9, stop="bound"),
    "ngrams": BeamSearch(beam_size=3, n_best=3, max_length_offset=12, no_repeat_ngram_size=2, min_length=4),
    "sample": Sampling(samples=3, max_length_offset=12, temperature=1.3, top_p=0.9),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_sentence_does_not_depend_on_its_batch(name: str) -> None:
    model = ToyModel(15, seed=4, sharpness=1.0)
    sentences = [7 * s % 61 for s in range(60)]  # so many that finished ones wait for others before they leave
    lengths = [s % 7 for s in sentences]
    together = run(model, DECODERS[name], task_of(sentences, lengths))
    assert len({len(hypotheses[0][0]) for hypotheses in together}) > 3  # they leave the batch at different times
    for place in range(0, 60, 4):
        (alone,) = run(model, DECODERS[name], task_of([sentences[place]], [lengths[place]]))
        assert same(alone, together[place])
    backwards = run(model, DECODERS[name], task_of(sentences[::-1], lengths[::-1]))
    assert all(same(one, other) for one, other in zip(backwards[::-1], together, strict=True))


def same(left: list[Any], right: list[Any]) -> bool:
    return [row[0] for row in left] == [row[0] for row in right] and all(
        a[1] == pytest.approx(b[1], abs=1e-10) and a[3] == b[3] for a, b in zip(left, right, strict=True)
    )


def test_finished_sentences_leave_the_batch() -> None:
    model = ToyModel(15, seed=4, sharpness=1.0, eos_bias=2.0)
    for decoder in (DECODERS["greedy"], DECODERS["beam"], DECODERS["sample"]):
        model.calls.clear()
        run(model, decoder, task_of(list(range(64))))
        assert model.calls[-1] < max(model.calls) / 4


@pytest.mark.parametrize("name", DECODERS)
def test_forced_prefix(name: str) -> None:
    """Every hypothesis begins with its prefix, and is scored as a whole; sentences without one are as before."""
    model = ToyModel(10, seed=6, sharpness=1.0)
    prefixes = [(), (5,), (9, 4, 1), (4, 4, 4, 4)]
    plain = task_of([1, 2, 3, 4])
    padded = torch.tensor([list(prefix) + [SPECIALS.pad] * (4 - len(prefix)) for prefix in prefixes])
    task = replace(plain, prefix_BP=padded, prefix_lengths_B=torch.tensor([len(prefix) for prefix in prefixes]))
    found = run(model, DECODERS[name], task)
    assert same(found[0], run(model, DECODERS[name], plain)[0])
    for sentence, (prefix, hypotheses) in enumerate(zip(prefixes, found, strict=True), start=1):
        assert hypotheses
        for ids, log_p, *_ in hypotheses:
            assert ids[: len(prefix)] == prefix
            assert log_p == pytest.approx(log_prob(model, sentence, ids), abs=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_a_forced_prefix_as_long_as_the_limit_is_followed_by_one_word(name: str) -> None:
    """And one beyond it; shorter ones go on to the limit of three."""
    model = ToyModel(10, seed=6, sharpness=1.0, eos_bias=-20.0)
    decoder = replace(DECODERS[name], max_length_factor=0, max_length_offset=3, min_length=0)
    prefixes = [(5,), (5, 4), (9, 4, 1), (4, 8, 4, 5, 6)]
    padded = torch.tensor([list(prefix) + [SPECIALS.pad] * (5 - len(prefix)) for prefix in prefixes])
    lengths_B = torch.tensor([len(prefix) for prefix in prefixes])
    task = replace(task_of([1, 2, 3, 4]), prefix_BP=padded, prefix_lengths_B=lengths_B)
    for sentence, (prefix, hypotheses) in enumerate(zip(prefixes, run(model, decoder, task), strict=True), start=1):
        assert hypotheses
        for ids, log_p, _, truncated in hypotheses:
            assert ids[: len(prefix)] == prefix and truncated and len(ids) == max(3, len(prefix) + 1)
            assert log_p == pytest.approx(log_prob(model, sentence, ids), abs=1e-5)


def log_prob(model: ToyModel, sentence: int, ids: tuple[int, ...]) -> float:
    return sum(model.log_probs_after(sentence, ids[:place])[word] for place, word in enumerate(ids))


def test_forced_prefix_searches_what_remains() -> None:
    model = ToyModel(7, seed=9)
    decoder = BeamSearch(beam_size=300, n_best=4, max_length_factor=0, max_length_offset=5, stop="bound")
    task = replace(task_of([7]), prefix_BP=torch.tensor([[6, 4]]), prefix_lengths_B=torch.tensor([2]))
    everything = [(log_p / len(ids), ids) for ids, log_p in model.sequences(7, 5, ORDINARY) if ids[:2] == (6, 4)]
    assert [row[0] for row in run(model, decoder, task)[0]] == [ids for _, ids in sorted(everything, reverse=True)[:4]]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_no_ngram_occurs_twice(size: int, beam_size: int) -> None:
    model = ToyModel(8, seed=1, sharpness=0.7, eos_bias=-4.0)
    limits: dict[str, Any] = {"beam_size": beam_size, "n_best": beam_size, "max_length_factor": 0, "max_length_offset": 14}

    def repeats(result: Result) -> int:
        count = 0
        for hypotheses in result:
            for ids, *_ in hypotheses:
                grams = [ids[i : i + size] for i in range(len(ids) - size + 1)]
                count += len(grams) - len(set(grams))
        return count

    task = task_of(list(range(10)))
    assert repeats(run(model, BeamSearch(**limits), task)) > 0
    assert repeats(run(model, BeamSearch(no_repeat_ngram_size=size, **limits), task)) == 0


def test_no_repeat_search_is_exhaustive_over_what_is_allowed() -> None:
    model = ToyModel(7, seed=11)
    decoder = BeamSearch(beam_size=400, n_best=5, max_length_factor=0, max_length_offset=5, no_repeat_ngram_size=2, stop="bound")
    for sentence in range(3):
        allowed = [
            (log_p / len(ids), ids)
            for ids, log_p in model.sequences(sentence, 5, ORDINARY)
            if len(set(pairwise(ids))) == len(ids) - 1
        ]
        found = run(model, decoder, task_of([sentence]))[0]
        assert [row[0] for row in found] == [ids for _, ids in sorted(allowed, reverse=True)[:5]]


def test_unknown_is_suppressed_unless_wanted() -> None:
    model = ToyModel(6, seed=1, sharpness=1.0)
    task = task_of(list(range(30)))

    def unknowns(suppress: bool) -> int:
        found = run(model, BeamSearch(beam_size=3, n_best=3, max_length_offset=8, suppress_unknown=suppress), task)
        return sum(SPECIALS.unk in ids for hypotheses in found for ids, *_ in hypotheses)

    assert unknowns(True) == 0 and unknowns(False) > 0


@pytest.mark.parametrize("beam_size", [1, 4])
def test_dead_end_gives_what_was_found(beam_size: int) -> None:
    """Three words, none twice, at least six: nothing is left after the third, where every word is excluded."""
    model = ToyModel(7, seed=1)
    decoder = BeamSearch(beam_size=beam_size, max_length_offset=9, no_repeat_ngram_size=1, min_length=6)
    for (ids, log_p, _, truncated), *_ in run(model, decoder, task_of([0, 1])):
        assert truncated and sorted(ids) == ORDINARY and log_p > float("-inf")
    sampled = run(model, Sampling(samples=2, max_length_offset=9, no_repeat_ngram_size=1, min_length=6), task_of([0, 1]))
    assert all(truncated and sorted(ids) == ORDINARY for hypotheses in sampled for ids, _, _, truncated in hypotheses)


def test_hypotheses_are_distinct_and_sorted() -> None:
    model = ToyModel(30, seed=2, sharpness=1.0, eos_bias=2.0)
    for hypotheses in run(model, BeamSearch(beam_size=8, n_best=8, max_length_offset=10), task_of(list(range(20)))):
        finished = [row for row in hypotheses if not row[3]]
        assert len({row[0] for row in hypotheses}) == len(hypotheses) == 8
        assert [row[2] for row in finished] == sorted((row[2] for row in finished), reverse=True)


def test_fewer_hypotheses_than_asked_are_marked() -> None:
    """At most two tokens of one ordinary word: `</s>`, `w </s>` and the unfinished `w w` are all there is."""
    model = ToyModel(5, seed=2)
    task = task_of([0])
    decoder = BeamSearch(beam_size=5, n_best=5, max_length_factor=0, max_length_offset=2, stop="bound")
    found = decoder.search(model.step, model.start(task), task)
    assert {row[0] for row in listed(found)[0]} == {(3,), (4, 3), (4, 4)}
    assert found.lengths_BK[0, 3:].tolist() == [0, 0] and found.truncated_BK[0].tolist() == [False, False, True, True, True]


def test_n_best_needs_as_wide_a_beam() -> None:
    with pytest.raises(RequestError, match=r"decoding\.n_best=3 is more than decoding\.beam_size=2"):
        BeamSearch(beam_size=2, n_best=3)
