"""seqgen train --dry-run: what a run would cost, without training: parameters, memory, data, and what the budget buys."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from seqgen_cli.config.checked import Config
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.training.setup import make_loop, make_networks, settle_for_training
from seqgen_cli.training.start import Start

_TIMED = 8  # updates timed for a budget in minutes
_LATE = 1_000_000  # an update when every objective's schedule is over


def report(config: Config, start: Start, prepared: Prepared) -> dict[str, Any]:
    """Print the figures on stdout and return them."""
    figures = {"run": str(start.run), **_memory(config, prepared), **_data(config, start, prepared)}
    if config.runtime.is_main:
        for name, value in figures.items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if isinstance(value, float) else value
            print(f"{name.replace('_', ' '):24} {shown}")
    return figures


def _data(config: Config, start: Start, prepared: Prepared) -> dict[str, Any]:
    trainer, train = config.trainer, prepared.splits["train"]
    stream = TrainStream(train, config.batching, config.seed)
    per_epoch = trainer.updates_per_epoch(stream.batches_per_epoch, config.runtime.world_size)
    total = trainer.total_updates(per_epoch)
    sizes: dict[str, Any] = {f"{name}_examples": len(split) for name, split in prepared.splits.items()}
    for unit, lengths_n in config.task.lengths(train).items():
        sizes[f"train_{unit.replace(' ', '_')}"] = int(lengths_n.sum())
    sizes |= {"batches_per_epoch": stream.batches_per_epoch, "updates_per_epoch": per_epoch}
    if trainer.minutes is not None:
        bought = int(60 * trainer.minutes / _seconds_per_update(config, start, prepared))
        total = bought if total is None else min(total, bought)
        sizes["minutes"] = trainer.minutes
    assert total is not None
    return sizes | {"updates": total, "epochs": total / per_epoch}


def _seconds_per_update(config: Config, start: Start, prepared: Prepared) -> float:
    """Mean time of an update on this machine, seen on networks that are thrown away; validation is not in it.

    Nor is encoding, where features are kept: these updates' texts are encoded before.
    """
    trainer, runtime = config.trainer, config.runtime
    model, output, objective = make_networks(config, prepared)
    start.load({"model": model, "output": output})  # what they draw in training is as long as it will be
    objective.to(runtime.device).train()
    settle_for_training(config, model, output, prepared.splits["train"])
    stream = TrainStream(prepared.splits["train"], config.batching, config.seed, runtime.rank, runtime.world_size)
    indices = stream.indices((2 + _TIMED) * trainer.accumulate)
    config.task.encode_once(config, model, runtime, prepared, ["train"], indices)
    total = trainer.total_updates(1.0) or 1
    loop = make_loop(config, objective, output, stream, total, trainer)
    for number in range(2 + _TIMED):
        if number == 2:  # the first ones also allocate and choose kernels
            loop.take_figures()  # waits for the device
            began = time.monotonic()
        loop.step()
    loop.take_figures()
    return (time.monotonic() - began) / _TIMED


def _memory(config: Config, prepared: Prepared) -> dict[str, Any]:
    """Parameters, and about how many MiB training takes on each rank: weights, gradients, optimizer states and activations."""
    with torch.device("meta"):
        objective = make_networks(config, prepared)[2]
    parameters = list(objective.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    size = sum(map(_bytes, trained))
    figures: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in trained),
        "weights_mib": sum(map(_bytes, parameters)) / 2**20,
        "gradients_mib": size / 2**20,
        "optimizer_mib": size * _states_per_weight(config) / 2**20,
    }
    saved = _activations(config, objective, prepared)
    if saved is not None:
        figures["activations_mib"] = saved / 2**20
    return figures | {"memory_mib": sum(value for name, value in figures.items() if name.endswith("_mib"))}


def _states_per_weight(config: Config) -> int:
    """Numbers that the optimizer keeps for each weight, seen on a toy."""
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    optimizer = config.optimizer.make([("weight", weight)])
    optimizer.step()
    states = optimizer.state[weight].values()
    return sum(isinstance(state, Tensor) and state.shape == weight.shape for state in states)


def _activations(config: Config, objective: Any, prepared: Prepared) -> int | None:
    """Bytes that the forward pass of the largest batch keeps for the backward pass, in fp32; nothing is computed.

    None where the objective's shapes depend on values, which only a real run can tell.
    """
    train = prepared.splits["train"]
    plan = config.batching.plan(train.lengths_nk, config.seed, 0)
    largest = max(plan, key=lambda rows: len(rows) * int(train.lengths_nk[rows].max(axis=0).sum()))
    batch = train.batch(largest).to("meta")
    try:
        return max(_saved_bytes(objective, update.module, batch, config.seed) for update in objective.updates(_no_optimizer))
    except (NotImplementedError, RuntimeError):
        return None


def _saved_bytes(objective: Any, module: Any, batch: Batch, seed: int) -> int:
    """What one update's forward pass keeps: the loop makes them one after another, and each lets go of it."""
    kept: dict[int, int] = {parameter.untyped_storage()._cdata: 0 for parameter in objective.parameters()}
    alive: list[Tensor] = []  # a freed storage's address may be used again

    def note(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(batch, Progress(_LATE, Key.of(seed, 0)))
    return sum(kept.values())


def _no_optimizer(named_parameters: Any) -> torch.optim.Optimizer:
    """Stands in for the optimizer, whose fused step does not take tensors without memory."""
    return torch.optim.Optimizer([parameter for _, parameter in named_parameters], {})


def _bytes(parameter: Tensor) -> int:
    return parameter.numel() * parameter.element_size()
