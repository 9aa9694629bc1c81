"""The toy training of test_ddp.py, and what each of its two ranks runs: python -m tests.distributed.toy_worker FILE."""

from __future__ import annotations

import sys
from typing import Any

import torch

from seqgen_cli.runtime import Runtime, shut_down
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.schedules import InverseSqrt
from tests.toys import Regression, stream

SIZES = [5, 1, 7, 3]
UPDATES = 6


def train(machine: Any, accumulate: int) -> dict[str, Any]:
    """Weights and figures after some updates of Adam, clipped, warmed up, on the toy regression."""
    model = Regression()
    batches = stream(SIZES, machine.rank, machine.world_size)
    updates = model.updates(Adam(lr=0.05).make)
    loop = Loop(updates, batches, machine, InverseSqrt(3), seed=1, accumulate=accumulate, clip_norm=0.5)
    for _ in range(UPDATES):
        loop.step()
    totals = {name: count.item() for name, count in loop.totals.items()}
    return {"weights": list(model.parameters()), "figures": {**loop.take_figures(), "batches": loop.batches, **totals}}


if __name__ == "__main__":
    runtime = Runtime(device="cpu", threads=1).start(1)
    result = train(runtime, accumulate=2)
    if runtime.is_main:
        torch.save(result, sys.argv[1])
    shut_down()
