"""Tensors in and out of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seqgen_cli.errors import RequestError, SeqgenError, join_and


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        SeqgenError: it is missing, or in another format (a pickle is never opened).
    """
    try:
        return load_file(path)
    except OSError as error:
        raise SeqgenError(f"{path} cannot be read ({error.strerror or error}): is its folder a seqgen checkpoint?") from error
    except SafetensorError as error:
        raise SeqgenError(f"{path} is not a safetensors file, or is damaged ({error}).") from error


def load_weights(networks: dict[str, nn.Module], weights: dict[str, Tensor], where: Path | str) -> None:
    """Copy "<name>.*" of `weights` into each network; every parameter and buffer must be there, and nothing else.

    Raises:
        SeqgenError: names what is missing, unexpected or of another shape.
    """
    whole = nn.ModuleDict(networks)
    expected = whole.state_dict()
    names_of: dict[int, list[str]] = {}
    for name, tensor in expected.items():  # a tied table has several names and is stored under one of them
        names_of.setdefault(tensor.data_ptr() if tensor.numel() else id(tensor), []).append(name)
    given = {name: next((weights[n] for n in names if n in weights), None) for names in names_of.values() for name in names}
    found = {name: tensor for name, tensor in given.items() if tensor is not None}
    unknown = {name: tensor for name, tensor in weights.items() if name not in expected}
    if problems := _misfits(expected, found | unknown):
        raise SeqgenError(f"The weights of {where} do not fit: they hold {problems}.")
    whole.load_state_dict(found)


def load_state(expected: dict[str, Tensor], given: dict[str, Tensor], where: Path | None) -> None:
    """Copy what an objective holds beside the networks into its tensors; each must be there, and nothing else.

    Raises:
        RequestError: names what is missing, unexpected or of another shape.
    """
    if problems := _misfits(expected, given):
        raise RequestError(
            f"The objective's state in {where} does not fit: it holds {problems}. Go on with the settings that it was trained "
            "with, or start from its weights alone with init_from=."
        )
    for name, tensor in expected.items():
        tensor.copy_(given[name])


def _misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """What is wrong with the tensors given for those expected; nothing: ""."""
    shapes = sorted(
        f"{name} of shape {tuple(given[name].shape)} where {tuple(tensor.shape)} is needed"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    )
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    kinds = (("no ", missing), ("an unknown ", unknown), ("", shapes))
    return join_and([f"{what}{join_and(_few(names))}" for what, names in kinds if names])


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]


class SkipRandomInit(TorchFunctionMode):
    """While active, filling a tensor with random values does nothing: for networks whose weights are loaded next."""

    # What torch.nn.init and torch's modules end in, and those of torch.nn.init that announce themselves to modes.
    _fills = frozenset({Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._fills:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def network_weights(model: nn.Module, output: nn.Module) -> dict[str, Tensor]:
    """The weights for inference under "model.*" and "output.*"; a shared tensor once, under its first name."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in nn.ModuleDict({"model": model, "output": output}).state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            weights[name] = tensor.detach()
    return weights


def read_state(folder: Path) -> dict[str, Any]:
    """The contents of training.pt, on the CPU.

    Raises:
        SeqgenError: it cannot be read; anything but tensors and plain types is refused.
    """
    try:
        return torch.load(folder / "training.pt", map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RequestError(
            f"{folder} holds weights only; training cannot go on from it. Start from them with init_from=."
        ) from error
    except Exception as error:  # torch names many reasons, none of which a user can act on
        raise SeqgenError(
            f"{folder}/training.pt cannot be read as tensors and plain types ({str(error).splitlines()[0]})."
        ) from error
