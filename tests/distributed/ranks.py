"""Two real processes, started as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.testing import assert_close

from seqgen_cli.runtime import Runtime, shut_down

ROOT = Path(__file__).parents[2]


def on_two_ranks(*command: str) -> None:
    """Run a script, or `-m` and a module, and its arguments under torchrun on two ranks; its errors are the test's."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def as_rank(train: Callable[[Runtime], Any], path: str) -> None:
    """What each of two processes does: train, and leave rank 0's results."""
    runtime = Runtime(device="cpu", threads=1).start(1)
    result = train(runtime)
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
