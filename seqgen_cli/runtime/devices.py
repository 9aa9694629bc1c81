"""What devices there are, and what each can do: whoever needs to know asks here, and nobody guesses from a name.

The dtype in which it adds up, in what its recurrent cells run, autocast, and waiting for it.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from seqgen_cli.errors import RequestError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

WITHOUT_FLOAT64 = {"mps"}
"""Kinds of device that refuse float64. A test adds others."""

_AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CACHED_ELEMENTS, _DEVICE_ELEMENTS = 1 << 18, 1 << 26
_LEAST = {torch.float64: 1e-290, torch.float32: 1e-30}


def find(name: str, local_rank: int) -> torch.device:
    """The device of this name (auto, cpu, cuda, cuda:N, mps, meta) for a machine's process of this number.

    Raises:
        RequestError: the machine has none.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", local_rank)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.startswith("cuda"):
        index = int(name[5:]) if ":" in name else local_rank
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            raise RequestError(
                f"runtime.device={name}: this machine has {count} usable CUDA devices. Use runtime.device=auto or cpu."
            )
        return torch.device("cuda", index)
    if name == "mps" and not torch.backends.mps.is_available():
        raise RequestError("runtime.device=mps: torch finds no Apple GPU here. Use runtime.device=auto or cpu.")
    return torch.device(name)


def sum_dtype(device: torch.device) -> torch.dtype:
    """In what a device adds up, draws and compares probabilities: float64, or float32 where it has no float64."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def wide(value: Tensor) -> Tensor:
    """The numbers in the dtype that their device adds up in."""
    return value.to(sum_dtype(value.device))


def least(dtype: torch.dtype) -> float:
    """A probability above 0 and below any that matters, in a dtype of `sum_dtype`."""
    return _LEAST[dtype]


def is_host(device: torch.device) -> bool:
    """Whether looking at a value costs nothing, for want of a queue to wait for."""
    return device.type == "cpu"


def elements_at_once(device: torch.device) -> int:
    """How many numbers to work on at once: on a processor a few megabytes, which stay in its cache; other devices want few large
    kernels, of some hundred megabytes."""
    return _CACHED_ELEMENTS if is_host(device) else _DEVICE_ELEMENTS


def has_own_memory(device: torch.device) -> bool:
    """Whether its memory is another than the host's, is counted by torch, and is copied to faster from pinned pages."""
    return device.type == "cuda"


def backend(device: torch.device) -> str:
    """What torch.distributed exchanges tensors by."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def adds_sparse(device: torch.device) -> bool:
    """Whether ranks can add up sparse gradients there: NCCL has no such sum."""
    return device.type != "cuda"


def seed(device: torch.device, value: int) -> None:
    """torch.manual_seed for the CPU and this device alone: for devices not in use it would queue a call each time."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def cell_precision(device: torch.device, precision: Precision) -> Literal["fp32", "tf32"]:
    """In what recurrent cells run: float32 always, on a GPU with rounded factors (TF32) unless full precision was asked for.

    They stay outside autocast. A processor without bf16 instructions has no such LSTM at all; on a GPU autocast hands cuDNN
    float16 whatever was asked for, in which most of a gradient that is not scaled up becomes 0. TF32 runs on the same units,
    with float32's range and three bits more than bf16.
    """
    return "tf32" if device.type == "cuda" and precision != "fp32" else "fp32"


def choose_kernels(device: torch.device, precision: Precision) -> None:
    """Tell torch what float32's products are worth: those of matrices, and those of cuDNN, which runs recurrent cells."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = cell_precision(device, precision) == "tf32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context of a forward pass: products in bf16 or fp16 where that was asked for. torch has none for meta tensors."""
    dtype = _AUTOCAST.get(precision)
    if dtype is None or device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype of products here and now; None: that of their factors."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, dtypes are as written, also where backward runs under autocast."""
    return nullcontext() if autocast_dtype(device) is None else torch.autocast(device.type, enabled=False)
