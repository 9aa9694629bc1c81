"""Reads a checkpoint's config and weights as what they are: data from a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.groups import PACKAGES, resolve_stranger
from seqgen_cli.words import join_and

_LARGEST_CONFIG = 1 << 20  # bytes; ours are a few thousand


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML without aliases, which let a small file grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it uses aliases")
        return super().compose_node(parent, index)


def read_config(path: Path, trust: Sequence[str] = ()) -> dict[str, Any]:
    """A checkpoint's config as plain data, every `_target_` checked.

    Raises:
        SeqgenError: the file is missing or is not a config.
        RequestError: it holds an interpolation, or names a class that it may not.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise SeqgenError(f"{path} is too large to be a config.")
        values = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except OSError as error:
        raise SeqgenError(f"{path} cannot be read ({error.strerror}): is its folder a seqgen checkpoint?") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SeqgenError(f"{path} is not plain YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(group), dict) for group in ("model", "output")):
        raise SeqgenError(f"{path} is not the config of a seqgen checkpoint: it names no model and output.")
    for key, value in values.items():
        if any("${" in text for text in _texts([key, value])):
            raise RequestError(f"{path}: {key} holds an interpolation (`${{`), which a checkpoint may not.")
        if _check_targets(value, str(key), trust) or key == "_target_":
            raise RequestError(f"{path}: {key} holds a `_target_` where none belongs.")
    return values


def _check_targets(value: Any, group: str, trust: Sequence[str]) -> bool:
    """Check the class that a group's node names, and those of what it chooses in turn; whether any stands elsewhere."""
    if not isinstance(value, dict) or "_target_" not in value:
        return "_target_" in _texts(value)
    resolve_stranger(value, group, trust)
    settings = {name: item for name, item in value.items() if name != "_target_"}
    return any(
        _check_targets(item, f"{group}/{name}", trust) if f"{group}/{name}" in PACKAGES else "_target_" in _texts([name, item])
        for name, item in settings.items()
    )


def _texts(value: Any) -> Iterator[str]:
    """Every string inside plain data, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)


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
    missing = sorted(name for name, tensor in given.items() if tensor is None)
    unexpected = sorted(set(weights) - set(expected))
    shapes = sorted(
        f"{name} of shape {tuple(tensor.shape)} where {tuple(expected[name].shape)} is needed"
        for name, tensor in given.items()
        if tensor is not None and tensor.shape != expected[name].shape
    )
    problems = [
        f"{what}{join_and(_few(names))}" for what, names in (("no ", missing), ("an unknown ", unexpected), ("", shapes)) if names
    ]
    if problems:
        raise SeqgenError(f"The weights of {where} do not fit: they hold {join_and(problems)}.")
    whole.load_state_dict({name: tensor for name, tensor in given.items() if tensor is not None})


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
