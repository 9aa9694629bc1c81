"""Each objective on two ranks makes the steps that one process makes of their batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.testing import assert_close

from seqgen_cli.data.batch import Batch
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import SGD
from seqgen_cli.training.schedules import Constant
from tests.contracts.test_objectives import VARIANTS, WORDS, made
from tests.distributed.ranks import keep_training, on_two_ranks
from tests.helpers import random_batch
from tests.toys import OneProcess

MODELS = ("rnn", "transformer")


def batches(rank: int, world_size: int) -> Iterator[Batch]:
    """Of unequal sizes and lengths, no example twice."""
    for number in itertools.count(rank, world_size):
        batch = random_batch(seed=number, batch_size=2 + 3 * (number % 2), target_vocab_size=WORDS)
        yield Batch(**{**vars(batch), "index_B": batch.index_B + 10 * number})


def train(machine: Any) -> dict[str, torch.Tensor]:
    """The weights and figures after three steps of each objective."""
    found = {}
    for (objective, more), model in itertools.product(VARIANTS, MODELS):
        whole = made(objective, more, model, "softmax")
        stream = batches(machine.rank, machine.world_size)
        updates = whole.updates(SGD(lr=0.02).make)
        loop = Loop(updates, stream, machine, Constant(), seed=3, accumulate=2 // machine.world_size, clip_norm=1.0)
        for _ in range(3):
            loop.step()
        name = " ".join([objective, *more, model])
        found |= {f"{name}: {key}": torch.tensor(value) for key, value in loop.take_figures().items()}
        found |= {f"{name}: {key}": parameter.detach() for key, parameter in whole.named_parameters()}
    return found


def test_two_ranks_make_the_steps_of_one(tmp_path: Path) -> None:
    on_two_ranks(keep_training, train, tmp_path / "two.pt")
    two, one = torch.load(tmp_path / "two.pt", weights_only=True), train(OneProcess())
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert_close(two[name], value, rtol=1e-5, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")
