"""Two ranks that learn from their own outputs make the steps of one process that accumulates both ranks' batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgen_cli.data.batch import Batch
from seqgen_cli.objectives.baselines import Learned, MovingAverage
from seqgen_cli.objectives.handovers import Constant, Mixer
from seqgen_cli.objectives.reinforce import Reinforce
from seqgen_cli.objectives.trials import TrialSettings
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.schedules import InverseSqrt
from seqgen_cli.training.setup import keep_dense
from tests.distributed.ranks import assert_same_training, keep_training, on_two_ranks
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


def train(machine: Any, case: str, accumulate: int) -> dict[str, Any]:
    output, baseline, handover = CASES[case]
    world = World("rnn", output, settings={"normaliser": "linear"} if output == "nce" else {})
    objective = Reinforce(
        *(world.model, world.output, Numbers(), Table(), baseline, handover),
        TrialSettings(samples=2, max_length_factor=0.0, max_length_offset=3),
    ).double()
    told = keep_dense(world.output, Adam(), False, machine)
    assert len(told) == (output == "nce"), "its exact score takes every word, and ranks must expect that"
    updates, stream = objective.updates(Adam(lr=0.05).make), batches(machine.rank, machine.world_size, world)
    loop = Loop(updates, stream, machine, InverseSqrt(2), seed=1, accumulate=accumulate, clip_norm=0.5)
    for _ in range(4):
        loop.step()
    return {"weights": [each.detach() for each in objective.parameters()], "figures": loop.take_figures()}


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_make_the_steps_of_one(case: str, tmp_path: Path) -> None:
    on_two_ranks(keep_training, train, tmp_path / "two.pt", case, 1)
    one = train(OneProcess(), case, accumulate=2)
    assert_same_training(one, torch.load(tmp_path / "two.pt", weights_only=True))
    assert one["figures"]["reward"] > 0 and "baseline" in one["figures"]
