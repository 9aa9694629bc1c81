"""Asks a reward: each pair of texts once, its answer checked, in the calling thread or in processes beside it."""

import logging
import math
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.metrics.base import Reward

_log = logging.getLogger(__name__)

Pair = tuple[str, str]
"""A hypothesis and its reference."""


def ask(reward: Reward, pairs: Sequence[Pair]) -> list[float]:
    """The reward's answer for these pairs.

    Raises:
        SeqgenError: it raised, gave another number of rewards than there are pairs, or one that is no finite number of 0 or more.
    """
    name = f"the reward {type(reward).__module__}.{type(reward).__qualname__}"
    try:
        answer = list(reward([hypothesis for hypothesis, _ in pairs], [reference for _, reference in pairs]))
        rewards = [float(value) for value in answer]
    except SeqgenError:
        raise
    except Exception as error:
        raise SeqgenError(f"{name} failed ({type(error).__name__}: {error}). Run with --debug to see where.") from error
    if len(rewards) != len(pairs):
        raise SeqgenError(f"{name} gave {len(rewards)} rewards for {len(pairs)} hypotheses: it must give one each, in order.")
    for value, (hypothesis, reference) in zip(rewards, pairs, strict=True):
        if not 0 <= value < math.inf:
            raise SeqgenError(
                f"{name} gave {value} for {hypothesis!r} against {reference!r}: it must give finite numbers of 0 or more, "
                "since an empty output earns 0."
            )
    return rewards


class Scorer:
    """Rewards of lists of pairs. Equal pairs are asked about once a list, an empty hypothesis never: it earns 0.

    Worker processes start with the first list, know nothing of torch, leave Ctrl-C to this process, and end with it. If one
    is killed, this process does the work from then on. A copy in another process starts workers of its own.

    Args:
        reward: what to ask.
        processes: workers; 0: the calling thread does the work, when it waits.

    Raises:
        RequestError: there are to be workers, and the reward cannot be sent to them.
    """

    def __init__(self, reward: Reward, processes: int = 0) -> None:
        self.reward, self.processes = reward, processes
        self._pool: ProcessPoolExecutor | None = None
        if processes:
            _check_pickles(reward)

    def start(self, hypotheses: Sequence[str], references: Sequence[str]) -> Callable[[], list[float]]:
        """Start on these pairs; a function that waits for their rewards, in order.

        Raises (when waiting):
            SeqgenError: the reward's answer is none.
        """
        pairs = list(zip(hypotheses, references, strict=True))
        distinct = list(dict.fromkeys(pair for pair in pairs if pair[0].strip()))
        answers = self._start(distinct)

        @cache
        def finish() -> list[float]:
            rewards = dict(zip(distinct, answers(), strict=True))
            return [rewards.get(pair, 0.0) for pair in pairs]

        return finish

    def _start(self, pairs: list[Pair]) -> Callable[[], list[float]]:
        def here() -> list[float]:
            return ask(self.reward, pairs) if pairs else []

        if not self.processes or not pairs:
            return here
        share = -(-len(pairs) // self.processes)
        # Workers are started here, and take over what this thread blocks: Ctrl-C never reaches them, not even while they start.
        resource_tracker.ensure_running()  # which multiprocessing would do in between, and unblock what it finds
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            parts = [self._workers().submit(_ask, pairs[at : at + share]) for at in range(0, len(pairs), share)]
        except BrokenProcessPool:
            return lambda: self._without_workers(here)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return lambda: self._collected(parts, here)

    def _collected(self, parts: list[Future[list[float]]], here: Callable[[], list[float]]) -> list[float]:
        try:
            return [reward for part in parts for reward in part.result()]
        except BrokenProcessPool:
            return self._without_workers(here)

    def _without_workers(self, here: Callable[[], list[float]]) -> list[float]:
        if self.processes:
            _log.warning("A process that computed rewards was killed (out of memory?); this process computes them from now on.")
        self.close()
        self.processes = 0
        return here()

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a process that runs threads or CUDA cannot be forked safely
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (self.reward,))
        return self._pool

    def close(self) -> None:
        """End the workers; the next list would start new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_pool": None}


def _check_pickles(reward: Reward) -> None:
    try:
        pickle.dumps(reward)
    except Exception as error:
        raise RequestError(
            f"the reward {type(reward).__qualname__} cannot be sent to other processes ({error}). "
            "Let this process compute it (0 processes), or define it so that it pickles."
        ) from error


_mine: list[Reward] = []
"""Of a worker: its reward."""


def _begin(reward: Reward) -> None:
    """Make this process a worker, which ends with its parent."""
    _mine.append(reward)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _ask(pairs: list[Pair]) -> list[float]:
    return ask(_mine[0], pairs)
