"""Two ranks that learn from their own outputs make the steps of one process that accumulates both ranks' batches."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from seqgen_cli.commands.session import keep_dense
from seqgen_cli.data.batch import Batch
from seqgen_cli.objectives.baselines import Learned, MovingAverage
from seqgen_cli.objectives.handovers import Constant, Mixer
from seqgen_cli.objectives.reinforce import Reinforce
from seqgen_cli.runtime import Runtime, shut_down
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.schedules import InverseSqrt
from tests.numerics.enumeration import EOS, Numbers, Table, World, numbered
from tests.toys import OneProcess

CASES: dict[str, tuple[str, Any, Any]] = {
    "moving_average": ("nce", MovingAverage(), Constant(1.0)),
    "learned": ("huffman_tree", Learned(), Mixer(start=0, step=1, every=1)),
}


def batches(rank: int, ranks: int, world: World) -> Iterator[Batch]:
    """Of unequal sizes, with references of unequal lengths; each sentence has an index of its own."""
    for number in itertools.count(rank, ranks):
        references = [[3, EOS], [0, 3, EOS], [EOS], [3, 0, EOS]][: 2 + number % 3]
        yield numbered(world.batch(references), 10 * number)


def train(case: str, machine: Any, rank: int, ranks: int, accumulate: int) -> dict[str, Any]:
    output, baseline, handover = CASES[case]
    world = World("rnn", output, settings={"normaliser": "linear"} if output == "nce" else {})
    objective = Reinforce(
        *(world.model, world.output, Numbers(), Table(), baseline, handover),
        samples=2,
        max_length_factor=0.0,
        max_length_offset=3,
    ).double()
    told = keep_dense(world.output, Adam(), False, machine)
    assert len(told) == (output == "nce"), "its exact score takes every word, and ranks must expect that"
    updates = objective.updates(Adam(lr=0.05).make)
    loop = Loop(updates, batches(rank, ranks, world), machine, InverseSqrt(2), seed=1, accumulate=accumulate, clip_norm=0.5)
    for _ in range(4):
        loop.step()
    return {"weights": [each.detach() for each in objective.parameters()], "figures": loop.take_figures()}


def as_rank(case: str, place: str) -> None:
    """What each of two processes does."""
    runtime = Runtime(device="cpu", threads=1).start(1)
    trained = train(case, runtime, runtime.rank, 2, 1)
    if runtime.is_main:
        torch.save(trained, place)
    shut_down()


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_make_the_steps_of_one(case: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = str(tmp_path / "two.pt")
    command = [sys.executable, "-c", f"from tests.distributed.test_samples import as_rank; as_rank({case!r}, {place!r})"]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": "0"}
    root = Path(__file__).parents[2]
    ranks = [subprocess.Popen(command, cwd=root, env={**shared, "RANK": str(rank)}) for rank in range(2)]
    assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    two, one = torch.load(place, weights_only=True), train(case, OneProcess(), 0, 1, 2)
    for own, other in zip(one["weights"], two["weights"], strict=True):
        assert_close(own, other, rtol=0, atol=1e-10)
    assert one["figures"].keys() == two["figures"].keys()
    for name, value in one["figures"].items():
        assert_close(value, two["figures"][name], rtol=1e-9, atol=1e-12)
    assert one["figures"]["reward"] > 0 and "baseline" in one["figures"]
