"""The runtime: devices, precision, seeds, the run's folder; collectives of two real processes."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.process import Runtime, log_to, shut_down, start_logging, stop_log
from seqgen_cli.tasks import precision
from tests.distributed.ranks import on_two_ranks


def collective(folder: Path) -> None:
    """What a rank finds, as JSON."""
    runtime = Runtime(device="cpu").start(seed=3)
    rank = runtime.rank
    draw = torch.rand(1).item()
    runtime.seed(3, rank)
    module = nn.Linear(2, 1, bias=False)
    nn.init.constant_(module.weight, 1.0 + rank)  # rank 0's weights win
    wrapped = runtime.wrap(module)
    wrapped(torch.full((1, 2), float(rank + 1))).sum().backward()
    assert module.weight.grad is not None
    sums = runtime.all_sum({"n": 2**51 + rank, "x": 0.5 + rank, "t": torch.tensor(1.5 + rank), "i": torch.tensor(rank)})
    runtime.barrier()
    found = {
        "world": runtime.world_size,
        "main": runtime.is_main,
        "draw": draw,
        "own": torch.rand(1).item(),
        "weight": module.weight.detach().flatten().tolist(),
        "grad": module.weight.grad.flatten().tolist(),
        "n": sums["n"],
        "x": sums["x"],
        "t": sums["t"].item(),
        "i": sums["i"].item(),
        "kinds": [type(value).__name__ for value in sums.values()],
        "broadcast": runtime.broadcast({"from": rank}),
        "gather": runtime.gather("ab"[rank]),
        "frozen": type(runtime.wrap(nn.Identity())).__name__,
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    shut_down()


def test_two_processes_agree(tmp_path) -> None:
    on_two_ranks(collective, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for each in (first, second):
        assert each["world"] == 2
        assert each["weight"] == [1.0, 1.0]
        assert each["grad"] == [1.5, 1.5]  # the mean of (1, 1) and (2, 2)
        assert each["n"] == 2**52 + 1 and each["kinds"] == ["int", "float", "Tensor", "Tensor"]
        assert (each["x"], each["t"], each["i"]) == (2.0, 4.0, 1)
        assert each["broadcast"] == {"from": 0} and each["gather"] == ["a", "b"]
        assert each["frozen"] == "Identity"
    assert (first["main"], second["main"]) == (True, False)
    assert first["draw"] == second["draw"] and first["own"] != second["own"]


def settle(folder: Path) -> None:
    """The precision that a rank takes where each measures otherwise."""
    runtime = Runtime(device="cpu", precision="auto").start()
    rates = precision.Rates(1.0, 9.0) if runtime.is_main else precision.Rates(9.0, 1.0)
    precision.measure = lambda *_: rates
    precision.settle_precision(runtime, [(nn.Identity(), nn.Identity())])
    (folder / str(runtime.rank)).write_text(runtime.precision)
    shut_down()


def test_all_ranks_take_the_precision_that_the_first_one_measured(tmp_path) -> None:
    on_two_ranks(settle, tmp_path)
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == ["bf16", "bf16"]


def test_one_process_gets_back_what_it_gave() -> None:
    runtime = Runtime(device="cpu")
    sums = {"a": 1, "b": torch.tensor(2.0)}
    assert runtime.all_sum(sums) == sums
    assert (runtime.rank, runtime.world_size, runtime.is_main) == (0, 1, True)
    assert runtime.broadcast("x") == "x" and runtime.gather("x") == ["x"]
    module = torch.nn.Linear(1, 1)
    assert runtime.wrap(module) is module


def test_seeds_name_all_generators() -> None:
    def draws(*parts: int) -> tuple[float, ...]:
        Runtime(device="cpu").seed(*parts)
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    assert draws(1) == draws(1)
    assert all(a != b for a, b in zip(draws(1), draws(2), strict=True))
    assert all(a != b for a, b in zip(draws(1, 0), draws(10), strict=True))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_forward_pass(precision: Any, dtype: torch.dtype) -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with Runtime(device="cpu", precision=precision).autocast():
        assert layer(x).dtype == dtype
    assert layer.weight.dtype == torch.float32 and layer(x).dtype == torch.float32


CELLS = {"cpu": "fp32 fp32 fp32", "mps": "fp32 fp32 fp32 fp32", "cuda": "fp32 tf32 tf32 tf32", "meta": "fp32 fp32 fp32 fp32"}
"""In what recurrent cells run on each device where fp32, tf32, bf16, fp16 is asked for (a CPU has no fp16)."""


@pytest.mark.parametrize(
    ("device", "precision", "cells"),
    [
        (device, precision, cells)
        for device, row in CELLS.items()
        for precision, cells in zip(("fp32", "tf32", "bf16", "fp16"), row.split(), strict=False)
    ],
)
def test_in_what_recurrent_cells_run_is_said_and_set(monkeypatch, device: str, precision: Any, cells: str) -> None:
    """cuDNN rounds factors to TF32 unless told; matrix products have a switch of their own."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", cells != "tf32")
    runtime = Runtime(device="meta", precision=precision)
    runtime.device = torch.device(device)
    assert devices.cell_precision(runtime.device, precision) == cells
    try:
        runtime.choose_kernels()
        assert torch.backends.cudnn.allow_tf32 == (cells == "tf32")
        assert torch.get_float32_matmul_precision() == ("high" if precision == "tf32" else "highest")
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    assert Runtime().device in (torch.device("cpu"), torch.device("mps"))
    for name in ("cuda", "cuda:3"):
        with pytest.raises(RequestError, match=rf"runtime.device={name}: this machine has 0 usable CUDA devices."):
            Runtime(device=name)


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(RequestError, match="On a CPU use bf16 or fp32"):
        Runtime(device="cpu", precision="fp16").start()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    assert Runtime(device="cpu").cache_folder == tmp_path
    assert Runtime(device="cpu", cache_folder="here").cache_folder == Path("here")
    monkeypatch.delenv("SEQGEN_CACHE")
    assert Runtime(device="cpu").cache_folder == Path("~/.cache/seqgen").expanduser()


def test_the_log_goes_to_stderr_and_to_the_run(tmp_path, capsys) -> None:
    start_logging()
    handler = log_to(tmp_path / "run")
    logging.getLogger("seqgen_cli.somewhere").info("a line")
    logging.getLogger("seqgen_cli.somewhere").debug("a detail")
    stop_log(handler)
    logging.getLogger("seqgen_cli.somewhere").info("after")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "a line\nafter\n")
    lines = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert len(lines) == 1 and lines[0].endswith("INFO a line")


def test_other_ranks_only_warn(monkeypatch, capsys) -> None:
    monkeypatch.setenv("RANK", "1")
    start_logging()
    logging.getLogger("seqgen_cli.x").info("quiet")
    logging.getLogger("seqgen_cli.x").warning("loud")
    assert capsys.readouterr().err == "loud\n"


def test_a_run_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SeqgenError, match=r"runtime.runs_folder=PATH"):
        log_to(tmp_path / "file" / "run")
