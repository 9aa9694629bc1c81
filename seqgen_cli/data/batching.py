"""Which examples go into a batch, in which order, on which rank.

A plan sorts the examples by length, ties in random order, cuts the sorted list into batches, and shuffles the batches.
Everything in it follows from (seed, epoch). Since equal lengths are interchangeable, an epoch over the same examples
always has the same number of batches of the same shapes.

Shapes: n examples, k sides (one column of lengths for each side there is).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge
from torch.utils.data import DataLoader

from seqgen_cli.data.batch import Batch


class Examples(Protocol):
    """What a stream reads: a Dataset, or whatever offers this much of it. Of n examples, an epoch's number i + c n is example
    i, for the c-th time after the first."""

    @property
    def lengths_nk(self) -> np.ndarray: ...
    @property
    def epochs_alike(self) -> bool: ...
    def examples_of_epoch(self, epoch: int, seed: int) -> np.ndarray: ...
    def batch(self, indices: np.ndarray, epoch: int | None = None) -> Batch: ...


@runtime_checkable
class Batching(Protocol):
    """How many examples share a batch."""

    def plan(self, lengths_nk: np.ndarray, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
        """Batches as arrays of row numbers, each of 0 .. n - 1 in exactly one.

        Args:
            lengths_nk: tokens of each example on each side, `</s>` included.
            seed, epoch: what the shuffling depends on; seed None = no shuffling, shortest batches first.
        """
        ...


@dataclass(frozen=True)
class ByTokens:
    """At most `max_tokens` tokens a batch, source and target together, padding included:
    examples * (longest source + longest target). A single example above that is a batch of its own.
    """

    max_tokens: Annotated[int, Ge(1)] = 4096

    def plan(self, lengths_nk: np.ndarray, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
        order, random = _sorted(lengths_nk, seed, epoch)
        sorted_nk = lengths_nk[order].astype(np.int64)
        starts = [0]
        while starts[-1] < len(order):
            window = sorted_nk[starts[-1] : starts[-1] + self.max_tokens // max(1, int(sorted_nk[starts[-1], -1])) + 1]
            longest = np.maximum.accumulate(window, axis=0).sum(axis=1)
            cost = longest * np.arange(1, len(window) + 1)
            starts.append(starts[-1] + max(1, int(np.searchsorted(cost, self.max_tokens, side="right"))))
        return _shuffled(np.split(order, starts[1:-1]), random)


@dataclass(frozen=True)
class BySentences:
    """`sentences` examples a batch, of similar length; the last one may have fewer."""

    sentences: Annotated[int, Ge(1)] = 32

    def plan(self, lengths_nk: np.ndarray, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
        order, random = _sorted(lengths_nk, seed, epoch)
        return _shuffled(np.split(order, range(self.sentences, len(order), self.sentences)), random)


def _sorted(lengths_nk: np.ndarray, seed: int | None, epoch: int) -> tuple[np.ndarray, np.random.Generator | None]:
    """Rows by ascending last side (the target); within it the first side ascends and descends in turn, so that a batch
    that runs over from one target length to the next does not join the longest sources with the shortest."""
    random = None if seed is None else np.random.default_rng([seed, epoch])
    order = np.arange(len(lengths_nk)) if random is None else random.permutation(len(lengths_nk))
    first_n, last_n = lengths_nk[order, 0].astype(np.int64), lengths_nk[order, -1].astype(np.int64)
    key = (last_n << 32) + np.where(last_n % 2, -first_n, first_n)
    return order[np.argsort(key, kind="stable")], random


def _shuffled(batches: list[np.ndarray], random: np.random.Generator | None) -> list[np.ndarray]:
    batches = [batch for batch in batches if len(batch)]
    return batches if random is None else [batches[number] for number in random.permutation(len(batches))]


class TrainStream:
    """Training batches without end: the batches of epoch 0, 1, 2 ... one after the other, dealt out to the ranks.

    Rank r of W gets batches start + r, start + r + W, ...: no matter how many ranks there are or where a run was
    stopped, together they see the same batches in the same order.

    Args:
        dataset, batching: what to read, and how it is cut.
        seed: names the order.
        rank, world_size: r and W.
        start: batches that all ranks together have consumed before.
        workers: processes that read ahead; 0 = none. The batches are the same.
        pin: put batches in page-locked memory, for copying to a GPU.
    """

    def __init__(
        self,
        dataset: Examples,
        batching: Batching,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        self._dataset, self._batching, self._seed = dataset, batching, seed
        self._rank, self._world_size, self._start = rank, world_size, start
        self._workers, self._pin = workers, pin

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch over all ranks (of the first, where weights make epochs differ)."""
        return len(self._plan(0))

    def __iter__(self) -> Iterator[Batch]:
        mine = _Mine(self)
        if not self._workers:
            batches = (self._dataset.batch(*where) for where in mine)
            return (batch.pin_memory() for batch in batches) if self._pin else batches
        return iter(
            DataLoader(
                _Reader(self._dataset),
                batch_size=None,
                sampler=mine,
                num_workers=self._workers,
                pin_memory=self._pin,
                multiprocessing_context="spawn",  # a process that runs threads or CUDA cannot be forked safely
                prefetch_factor=4,
            )
        )

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, examples numbered as the data set numbers those of an epoch."""
        numbers = self._dataset.examples_of_epoch(epoch, self._seed)
        lengths_nk = self._dataset.lengths_nk
        plan = self._batching.plan(lengths_nk[numbers % len(lengths_nk)], self._seed, epoch)
        return [numbers[rows] for rows in plan]

    def _locate(self, number: int) -> tuple[int, list[np.ndarray], int]:
        """Epoch, its plan, and the position in it of global batch `number`."""
        plan = self._plan(0)
        if self._dataset.epochs_alike:
            epoch, position = divmod(number, len(plan))
            return epoch, self._plan(epoch) if epoch else plan, position
        epoch = 0
        while number >= len(plan):
            number -= len(plan)
            epoch += 1
            plan = self._plan(epoch)
        return epoch, plan, number

    def where(self) -> Iterator[tuple[np.ndarray, int]]:
        """The examples' numbers and the epoch of each of this rank's batches."""
        epoch, plan, position = self._locate(self._start)
        position += self._rank
        while True:
            while position >= len(plan):
                position -= len(plan)
                epoch += 1
                plan = self._plan(epoch)
            yield plan[position], epoch
            position += self._world_size

    def indices(self, batches: int) -> list[int]:
        """The examples of this rank's first batches, each once."""
        count = len(self._dataset.lengths_nk)
        return sorted({int(number) % count for numbers, _ in islice(self.where(), batches) for number in numbers})


class _Mine:
    """A stream's places as an iterable, which is what DataLoader asks of a sampler."""

    def __init__(self, stream: TrainStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return self._stream.where()


class _Reader(torch.utils.data.Dataset[Batch]):
    """Reads a batch in a worker process."""

    def __init__(self, dataset: Examples) -> None:
        self._dataset = dataset

    def __getitem__(self, where: tuple[np.ndarray, int]) -> Batch:
        return self._dataset.batch(*where)


def evaluation_batches(
    dataset: Examples, batching: Batching, rank: int = 0, world_size: int = 1, limit: int | None = None
) -> Iterator[Batch]:
    """Every example exactly once over all ranks, shortest first; `limit` takes the first so many examples of the set."""
    plan = batching.plan(dataset.lengths_nk[:limit])
    for rows in plan[rank::world_size]:
        yield dataset.batch(rows)
