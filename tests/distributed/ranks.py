"""Two real processes: those of a command as a user starts them, those of a function forked from one that has imported torch."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimizers and DistributedDataParallel import it at their first step
from torch.testing import assert_close

from seqgen_cli.runtime.process import Runtime, shut_down

ROOT = Path(__file__).parents[2]


def under_torchrun(*command: str) -> None:
    """Run a module and its arguments on two ranks; its errors are the test's."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run([*launcher, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def on_two_ranks(work: Callable[..., None], *given: Any) -> None:
    """Call a function in two processes that find their places where torchrun writes them; its errors are the test's."""
    multiprocessing.set_forkserver_preload([__name__])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ranks = torch.multiprocessing.start_processes(
        _as_rank, (port, work, given), nprocs=2, join=False, daemon=True, start_method="forkserver"
    )
    assert any(ranks.join(300) for _ in range(2)), "a rank hangs"  # each waits for one to end


def _as_rank(rank: int, port: int, work: Callable[..., None], given: tuple[Any, ...]) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    work(*given)


def keep_training(train: Callable[..., Any], path: Path, *given: Any) -> None:
    """What each of two processes does: train, and leave rank 0's results."""
    runtime = Runtime(device="cpu", threads=1).start(1)
    result = train(runtime, *given)
    if runtime.is_main:
        torch.save(result, path)
    shut_down()


def assert_same_training(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Equal weights and figures of two trainings in float64."""
    for own, other in zip(one["weights"], two["weights"], strict=True):
        assert_close(own, other, rtol=0, atol=1e-10)
    assert one["figures"].keys() == two["figures"].keys()
    for name, value in one["figures"].items():
        assert_close(value, two["figures"][name], rtol=1e-9, atol=1e-12)
