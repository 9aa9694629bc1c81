"""Where and how numbers are computed: device, precision, processes, seeds; and the log.

The only file that reads the environment or imports torch.distributed. A run started by torchrun finds its place from
RANK, WORLD_SIZE and LOCAL_RANK; without them there is one process, and every collective returns what it was given.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from annotated_types import Ge, doc
from pydantic import StringConstraints
from torch import Tensor, nn
from tqdm import tqdm

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.hints import NEUTRAL
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.devices import Precision

T = TypeVar("T")
Device = Annotated[
    str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?|mps|meta)$"), doc("auto, cpu, cuda, cuda:N, mps or meta")
]


class Runtime:
    """Device, precision and processes of a run.

    Args:
        device: auto takes this process's GPU if there is one.
        precision: of the forward pass. bf16 and fp16 autocast, weights stay fp32; tf32 rounds the factors of fp32 products;
            auto is bf16 where the model runs faster in it, else fp32 (tasks/precision.py measures, and calls `settle`).
        threads: CPU threads of a process; null leaves torch's choice.
        workers: background processes that prepare batches, for each rank.
        compile: compile the networks with torch.compile.
        deterministic: only deterministic kernels (slower on a GPU).
        cache_folder: downloads and stored tokens; null is $SEQGEN_CACHE, or ~/.cache/seqgen.
        runs_folder: where runs are kept, relative to the working directory.

    Raises:
        RequestError: the machine has no such device.
    """

    def __init__(
        self,
        device: Annotated[Device, NEUTRAL] = "auto",
        precision: Literal["auto"] | Precision = "fp32",
        threads: Annotated[int, Ge(1), NEUTRAL] | None = None,
        workers: Annotated[int, Ge(0), NEUTRAL] = 0,
        compile: Annotated[bool, NEUTRAL] = False,
        deterministic: Annotated[bool, NEUTRAL] = False,
        cache_folder: Annotated[str | None, NEUTRAL] = None,
        runs_folder: Annotated[str, NEUTRAL] = "runs",
    ) -> None:
        self.device = devices.find(device, int(os.environ.get("LOCAL_RANK", 0)))
        self._precision = precision
        self.threads = threads
        self.workers = workers
        self.compile = compile
        self.deterministic = deterministic
        self.cache_folder = Path(cache_folder or os.environ.get("SEQGEN_CACHE") or "~/.cache/seqgen").expanduser()
        self.runs_folder = Path(runs_folder).expanduser()

    @property
    def precision(self) -> Precision:
        """Of the forward pass; `auto` is settled before anything asks."""
        assert self._precision != "auto", "the precision is not settled"
        return self._precision

    @property
    def precision_is_open(self) -> bool:
        """Whether `auto` was asked for and is not settled yet."""
        return self._precision == "auto"

    def settle(self, precision: Precision) -> None:
        """Compute in this precision from now on."""
        self._precision = precision
        self.choose_kernels()

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return rank()

    @property
    def world_size(self) -> int:
        """How many processes share the run."""
        return world_size()

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return is_main()

    def start(self, seed: int = 1) -> Runtime:
        """Set threads and kernels, join the other processes, seed: before anything is built. Repeating it is harmless.

        Raises:
            RequestError: the precision is not to be had on this device.
        """
        self.choose_kernels()
        if self.threads:
            torch.set_num_threads(self.threads)
        # Gradients of large tables are allocated anew in every update; in pages of 4 kB, that takes longer than filling them.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch at its first tensor
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        if self.deterministic != torch.are_deterministic_algorithms_enabled():  # to say so again would import torch's compiler
            torch.use_deterministic_algorithms(self.deterministic, warn_only=True)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world_size > 1 and not dist.is_initialized():
            dist.init_process_group(devices.backend(self.device))
        self.seed(seed)
        return self

    def choose_kernels(self) -> None:
        """Tell torch what float32's products are worth in this precision.

        Raises:
            RequestError: the precision is not to be had on this device.
        """
        if self._precision == "fp16" and devices.is_host(self.device):
            raise RequestError("runtime.precision=fp16 needs a GPU. On a CPU use bf16 or fp32.")
        devices.choose_kernels(self.device, "fp32" if self._precision == "auto" else self._precision)

    def seed(self, *parts: int) -> None:
        """Seed Python, numpy and torch from these numbers: (seed,) alike on all ranks, (seed, rank) each its own."""
        digest = hashlib.sha256(repr(parts).encode()).digest()
        value = int.from_bytes(digest[:4], "little")
        random.seed(value)
        np.random.seed(value)
        torch.manual_seed(value)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass in the run's precision."""
        return devices.autocast(self.device, self.precision)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module under DistributedDataParallel where there are several processes and it has something to train."""
        if self.world_size == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        only = [self.device] if self.device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(module, device_ids=only, gradient_as_bucket_view=True)
        # Buffers are constants, such as the output layers' tables: once is enough.
        wrapped.broadcast_buffers = False
        return wrapped

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    def broadcast(self, value: T) -> T:
        """Rank 0's value (any picklable object), on every rank."""
        if self.world_size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value (any picklable object), in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        held: list[Any] = [None] * self.world_size
        dist.all_gather_object(held, value)
        return held

    def all_sum(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """Each entry added over the processes: all ranks give the same keys.

        Scalar tensors stay tensors on their device, so nothing waits for the GPU (float64, if it has that);
        int stays int (exact below 2^53), float stays float.
        """
        if self.world_size == 1:
            return dict(sums)
        total = dict(sums)
        for kind in (Tensor, int | float):
            names = sorted(name for name, value in sums.items() if isinstance(value, kind))
            if names:
                total.update(_reduce({name: sums[name] for name in names}, "cpu" if kind is not Tensor else self.device))
        return total


def _reduce(values: dict[str, Any], device: torch.device | str) -> dict[str, Any]:
    """The entries (all tensors, or all numbers) summed over processes in one collective."""
    dtype = devices.sum_dtype(torch.device(device))
    first = next(iter(values.values()))
    packed = (
        torch.stack([value.detach().to(device=device, dtype=dtype) for value in values.values()])
        if isinstance(first, Tensor)
        else torch.tensor(list(values.values()), dtype=dtype, device=device)
    )
    dist.all_reduce(packed)
    if isinstance(first, Tensor):
        return dict(zip(values, packed.unbind(), strict=True))
    return {
        name: type(value)(round(total) if isinstance(value, int) else total)
        for (name, value), total in zip(values.items(), packed.tolist(), strict=True)
    }


def world_size() -> int:
    """How many processes torchrun started (1 without it)."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", 0))


def is_main() -> bool:
    """Whether this process writes files and logs."""
    return rank() == 0


def shut_down() -> None:
    """Leave the process group, if one was joined."""
    if dist.is_available() and dist.is_initialized():
        # torch (2.7, at least) joins gloo's threads while it holds Python's lock. One that is just letting go of an exchange
        # waits for that lock, and both hang: leave it the time to be done.
        time.sleep(0.2)
        dist.destroy_process_group()


class _BarHandler(logging.Handler):
    """Writes to stderr without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def start_logging(debug: bool = False) -> None:
    """Log messages of seqgen go to stderr: from rank 0 all from INFO up, from the others warnings."""
    logger = logging.getLogger("seqgen_cli")
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.DEBUG if debug else logging.INFO if is_main() else logging.WARNING)
    handler = _BarHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)


def log_to(folder: Path) -> logging.Handler:
    """Also write the log to folder/train.log, with times. Call `stop_log` with what it returns when the run ends.

    Raises:
        SeqgenError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
    except OSError as error:
        raise SeqgenError(
            f"{folder} cannot be written ({error.strerror}). Choose another place with runtime.runs_folder=PATH."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("seqgen_cli").addHandler(handler)
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Close a log opened by `log_to`."""
    logging.getLogger("seqgen_cli").removeHandler(handler)
    handler.close()
