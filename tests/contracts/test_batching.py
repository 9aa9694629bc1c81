"""Laws of batching, over every YAML of the group: nothing lost, nothing twice, the same however it is dealt out."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from seqgen_cli.config.listing import group_choices, read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import Batching, BySentences, ByTokens, TrainStream, evaluation_batches
from seqgen_cli.data.dataset import Dataset, Weighted
from tests.corpus_files import SMALL, prepared, sentences

SMALLER = {"tokens": ByTokens(300), "sentences": BySentences(7), "texts": BySentences(7)}


@pytest.fixture(scope="module", params=sorted(group_choices("batching")))
def batching(request: pytest.FixtureRequest) -> Batching:
    """Each choice, with batches small enough for a test corpus to have many."""
    built = part(read_settings(f"batching/{request.param}"), "batching", {})()
    return replace(built, **vars(SMALLER[request.param]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(tmp_path_factory.mktemp("corpus"), [sentences(400)]).splits["train"]


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    corpora = [sentences(60, 1), sentences(90, 2), sentences(50, 3)]
    return prepared(tmp_path_factory.mktemp("weighted"), corpora, weights=[2, 0.3, 1.5]).splits["train"]


def indices(batches: list[Batch]) -> list[list[int]]:
    return [batch.index_B.tolist() for batch in batches]


def test_plan_holds_each_row_once(batching: Batching) -> None:
    lengths_nk = np.random.default_rng(0).geometric(0.05, (1000, 2))
    plan = batching.plan(lengths_nk, seed=1, epoch=0)
    assert sorted(np.concatenate(plan)) == list(range(1000))
    assert all(len(rows) for rows in plan)


@pytest.mark.parametrize("sides", [1, 2])
def test_token_batches_keep_their_bound_and_are_full(sides: int) -> None:
    lengths_nk = np.random.default_rng(1).geometric(0.05, (3000, sides))
    plan = ByTokens(100).plan(lengths_nk, seed=None)
    cost = [len(rows) * lengths_nk[rows].max(axis=0).sum() for rows in plan]
    assert all(paid <= 100 or len(rows) == 1 for paid, rows in zip(cost, plan, strict=True))
    assert any(paid > 100 for paid in cost)  # an example above the bound stands alone instead of being lost
    for rows, following in pairwise(plan):  # greedy: no batch could have taken the next example too
        more = np.append(rows, following[0])
        assert len(more) * lengths_nk[more].max(axis=0).sum() > 100


def test_sentence_batches_are_equal_but_one(batching: Batching) -> None:
    plan = BySentences(7).plan(np.ones((100, 2), np.int64), seed=3)
    assert sorted(map(len, plan)) == [2, *[7] * 14]


def test_plan_follows_seed_and_epoch_alone(batching: Batching) -> None:
    lengths_nk = np.random.default_rng(0).geometric(0.05, (1000, 2))

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in batching.plan(lengths_nk, seed, epoch)]

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)
    assert sorted(map(sorted, plan(1, 0))) != sorted(map(sorted, plan(1, 1)))  # other company, not only another order
    assert len(plan(1, 0)) == len(plan(1, 1)) == len(plan(7, 5))


def test_no_examples_no_batches(batching: Batching) -> None:
    assert batching.plan(np.zeros((0, 2), np.int64), seed=1) == []


def test_padding_is_rare(batching: Batching) -> None:
    """Sorting leaves less than a tenth of a batch to padding; unsorted batches of these lengths waste two thirds."""
    random = np.random.default_rng(0)
    target_n = random.geometric(0.05, 20000)
    lengths_nk = np.stack([np.maximum(1, target_n + random.integers(-3, 4, 20000)), target_n], axis=1)
    larger = ByTokens(4096) if isinstance(batching, ByTokens) else BySentences(32)

    def share(plan: list[np.ndarray]) -> float:
        return 1 - lengths_nk.sum() / sum(len(rows) * lengths_nk[rows].max(axis=0).sum() for rows in plan)

    assert share(larger.plan(lengths_nk, seed=1)) < 0.1
    assert share(np.array_split(np.arange(20000), 600)) > 0.6


def test_epoch_sees_each_example_once(dataset: Dataset, batching: Batching) -> None:
    stream = TrainStream(dataset, batching, seed=1)
    seen = indices(list(islice(iter(stream), 3 * stream.batches_per_epoch)))
    for epoch in range(3):
        of_epoch = seen[epoch * stream.batches_per_epoch : (epoch + 1) * stream.batches_per_epoch]
        assert sorted(chain.from_iterable(of_epoch)) == list(range(400))


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_share_out_the_same_batches(dataset: Dataset, batching: Batching, world_size: int) -> None:
    whole = indices(list(islice(iter(TrainStream(dataset, batching, seed=1)), 15 * world_size)))
    for rank in range(world_size):
        mine = islice(iter(TrainStream(dataset, batching, seed=1, rank=rank, world_size=world_size)), 15)
        assert indices(list(mine)) == whole[rank::world_size]


@pytest.mark.parametrize("weights", ["whole", "fractions"])
def test_stopping_and_going_on_changes_nothing(dataset: Dataset, weighted: Dataset, batching: Batching, weights: str) -> None:
    data = dataset if weights == "whole" else weighted
    per_epoch = TrainStream(data, batching, seed=1).batches_per_epoch
    whole = indices(list(islice(iter(TrainStream(data, batching, seed=1)), 4 * per_epoch)))
    for start in (0, 1, per_epoch - 1, per_epoch, per_epoch + 3, 3 * per_epoch):
        again = indices(list(islice(iter(TrainStream(data, batching, seed=1, start=start)), per_epoch)))
        assert again == whole[start : start + per_epoch]
        second = TrainStream(data, batching, seed=1, rank=1, world_size=2, start=start)
        assert indices(list(islice(iter(second), 5))) == whole[start + 1 :: 2][:5]


def test_worker_processes_change_nothing(dataset: Dataset) -> None:
    """One run of real worker processes: the same batches, bit for bit, in the same order."""
    alone = islice(iter(TrainStream(dataset, ByTokens(300), seed=1, start=5)), 12)
    helped = islice(iter(TrainStream(dataset, ByTokens(300), seed=1, start=5, workers=2)), 12)
    for one, other in zip(alone, helped, strict=True):
        assert one.index_B.tolist() == other.index_B.tolist()
        assert torch.equal(one.source_BS, other.source_BS) and torch.equal(one.targets_BT, other.targets_BT)


def test_weights_say_how_often(weighted: Dataset, batching: Batching) -> None:
    """Weights 2, 0.3, 1.5 of 60, 90, 50 pairs: 120, 27, 75 in every epoch, and fractions go through their corpus in turn."""
    stream = TrainStream(weighted, batching, seed=1)
    batches, counts = iter(stream), []
    for epoch in range(10):
        examples = len(weighted.examples_of_epoch(epoch, 1))
        seen: Counter[int] = Counter()
        while seen.total() < examples:
            seen.update((next(batches).index_B % 200).tolist())
        assert seen.total() == examples == 120 + 27 + 75
        counts.append(np.array([seen[index] for index in range(200)]))
    for of_epoch in counts:
        assert set(of_epoch[:60]) == {2}
        assert set(of_epoch[60:150]) == {0, 1} and of_epoch[60:150].sum() == 27
        assert set(of_epoch[150:]) == {1, 2} and of_epoch[150:].sum() == 75
    assert set(sum(counts)[60:150]) == {3}  # ten epochs of 0.3: each pair three times
    assert set(sum(counts)[150:]) == {15}


def test_copies_of_an_example_have_numbers_of_their_own(weighted: Dataset, batching: Batching) -> None:
    """They read the same words; all that is drawn at random by number differs."""
    numbers = weighted.examples_of_epoch(3, 1)
    assert len(set(numbers.tolist())) == len(numbers)
    copies = [numbers[numbers % 200 == example].tolist() for example in range(200)]
    assert copies[:60] == [[example, example + 200] for example in range(60)]
    assert all(found in ([], [example]) for example, found in enumerate(copies[60:150], 60))
    assert all(found in ([example], [example, example + 200]) for example, found in enumerate(copies[150:], 150))
    first, copy = weighted.batch([7, 170]), weighted.batch([207, 370])
    assert torch.equal(first.source_BS, copy.source_BS) and torch.equal(first.targets_BT, copy.targets_BT)
    assert copy.index_B.tolist() == [207, 370]
    stream = TrainStream(weighted, batching, seed=1)
    assert stream.indices(stream.batches_per_epoch) == sorted(set((weighted.examples_of_epoch(0, 1) % 200).tolist()))


@pytest.mark.parametrize("weight", [0.29, 0.5, 1.15, 2.8])
def test_an_epoch_is_as_long_as_its_weight_says_to_half_a_pair(weight: float) -> None:
    for count in range(1, 120):
        examples = Weighted("train", [count], [weight]).examples_of_epoch(3, 1)
        assert abs(len(examples) - weight * count) <= 0.5 + 1e-9


@pytest.mark.parametrize("world_size", [1, 2, 5])
@pytest.mark.parametrize("limit", [None, 23])
def test_evaluation_sees_each_example_once_over_all_ranks(
    dataset: Dataset, batching: Batching, world_size: int, limit: int | None
) -> None:
    seen = [
        index
        for rank in range(world_size)
        for batch in evaluation_batches(dataset, batching, rank, world_size, limit)
        for index in batch.index_B.tolist()
    ]
    assert sorted(seen) == list(range(limit or 400))


def test_batch_holds_what_the_tokenizers_say(tmp_path: Path) -> None:
    """Against ids encoded here and put together by hand."""
    pairs = sentences(40)
    data = prepared(tmp_path, [pairs])
    dataset = data.splits["train"]
    for rows in ([3], [0, 39, 7, 7]):
        batch = dataset.batch(rows)
        assert batch.index_B.tolist() == rows
        for number, row in enumerate(rows):
            source = [*data.source_tokenizer.encode([pairs[row][0]])[0], 3]
            target = [*data.target_tokenizer.encode([pairs[row][1]])[0], 3]
            assert batch.source_BS[number, : len(source)].tolist() == source
            assert batch.source_lengths_B[number] == len(source) == dataset.source_lengths_n[row]
            assert batch.targets_BT[number, : len(target)].tolist() == target
            assert batch.inputs_BT[number, : len(target)].tolist() == [2, *target[:-1]]
            assert batch.target_lengths_B[number] == len(target) == dataset.target_lengths_n[row]
    assert dataset.source_lines([5, 2]) == [pairs[5][0], pairs[2][0]]
    assert dataset.target_lines() == [pair[1] for pair in pairs]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sampled_subwords_follow_seed_epoch_and_example(tmp_path: Path, kind: str) -> None:
    pairs = [*sentences(40), sentences(40)[9]]
    dataset = prepared(tmp_path, [pairs], tokenizer=replace(SMALL, kind=kind, vocab_size=90, sampling_alpha=0.3)).splits["train"]
    drawn = dataset.batch([4, 9], epoch=1)
    alone = pickle.loads(pickle.dumps(dataset)).batch([9], epoch=1)  # in other company, in another process
    length = int(alone.source_lengths_B[0])
    assert alone.source_BS[0, :length].tolist() == drawn.source_BS[1, :length].tolist()
    several = [tuple(dataset.batch([9], epoch=epoch).source_BS[0].tolist()) for epoch in range(8)]
    assert len(set(several)) > 4
    twin = [tuple(dataset.batch([40], epoch=epoch).source_BS[0].tolist()) for epoch in range(8)]
    assert twin != several  # the same line as example 9, but another example
    copy = [tuple(dataset.batch([9 + 41], epoch=epoch).source_BS[0].tolist()) for epoch in range(8)]
    assert copy != several  # the same example, once more in an epoch
    stored = [dataset.batch([9]).source_BS.tolist() for _ in range(3)]
    assert stored[0] == stored[1] == stored[2]  # evaluation does not sample
