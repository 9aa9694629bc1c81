"""seqgen train --dry-run: what a run would cost, without training: parameters, memory, data, and what the budget buys."""

from __future__ import annotations

import time
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from seqgen_cli import build
from seqgen_cli.commands.encoding import encode_once
from seqgen_cli.commands.session import keep_dense, make_networks, settle_for_training
from seqgen_cli.commands.start import Start
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.trainer import Trainer

_TIMED = 8  # updates timed for a budget in minutes
_LATE = 1_000_000  # an update when every objective's schedule is over


def report(config: DictConfig, trainer: Trainer, runtime: Runtime, start: Start, prepared: Prepared) -> dict[str, Any]:
    """Print the figures on stdout and return them."""
    figures = {"run": str(start.run), **_memory(config, prepared), **_data(config, trainer, runtime, start, prepared)}
    if runtime.is_main:
        for name, value in figures.items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if isinstance(value, float) else value
            print(f"{name.replace('_', ' '):24} {shown}")
    return figures


def _data(config: DictConfig, trainer: Trainer, runtime: Runtime, start: Start, prepared: Prepared) -> dict[str, Any]:
    train = prepared.splits["train"]
    stream = TrainStream(train, build.make(config.batching, "batching"), config.seed)
    per_epoch = trainer.updates_per_epoch(stream.batches_per_epoch, runtime.world_size)
    total = trainer.total_updates(per_epoch)
    sizes: dict[str, Any] = {f"{name}_examples": len(split) for name, split in prepared.splits.items()}
    source = "word_pieces" if isinstance(train, LabelledDataset) else "source_tokens"
    target = "tokens" if train.source_lengths_n is None else "target_tokens"
    for unit, lengths_n in ((source, train.source_lengths_n), (target, train.target_lengths_n)):
        if lengths_n is not None:
            sizes[f"train_{unit}"] = int(lengths_n.sum())
    sizes |= {"batches_per_epoch": stream.batches_per_epoch, "updates_per_epoch": per_epoch}
    if trainer.minutes is not None:
        bought = int(60 * trainer.minutes / _seconds_per_update(config, trainer, runtime, start, prepared))
        total = bought if total is None else min(total, bought)
        sizes["minutes"] = trainer.minutes
    assert total is not None
    return sizes | {"updates": total, "epochs": total / per_epoch}


def _seconds_per_update(config: DictConfig, trainer: Trainer, runtime: Runtime, start: Start, prepared: Prepared) -> float:
    """Mean time of an update on this machine, seen on networks that are thrown away; validation is not in it.

    Nor is encoding, where features are kept: these updates' texts are encoded before.
    """
    model, output, objective = make_networks(config, prepared)
    start.load({"model": model, "output": output})  # what they draw in training is as long as it will be
    objective.to(runtime.device).train()
    settle_for_training(config, runtime, model, output, prepared.splits["train"])
    batching = build.make(config.batching, "batching")
    stream = TrainStream(prepared.splits["train"], batching, config.seed, runtime.rank, runtime.world_size)
    encode_once(config, model, runtime, prepared, ["train"], stream.indices((2 + _TIMED) * trainer.accumulate))
    schedule = build.make(config.schedule, "schedule", total_updates=trainer.total_updates(1.0) or 1)
    optimizer = build.make(config.optimizer, "optimizer")
    keep_dense(output, optimizer, trainer.ema_decay is not None, runtime)
    updates = objective.updates(optimizer.make)
    loop = Loop(updates, stream, runtime, schedule, seed=config.seed, accumulate=trainer.accumulate, clip_norm=trainer.clip_norm)
    for number in range(2 + _TIMED):
        if number == 2:  # the first ones also allocate and choose kernels
            loop.take_figures()  # waits for the device
            began = time.monotonic()
        loop.step()
    loop.take_figures()
    return (time.monotonic() - began) / _TIMED


def _memory(config: DictConfig, prepared: Prepared) -> dict[str, Any]:
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


def _states_per_weight(config: DictConfig) -> int:
    """Numbers that the optimizer keeps for each weight, seen on a toy."""
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    optimizer = build.make(config.optimizer, "optimizer").make([("weight", weight)])
    optimizer.step()
    states = optimizer.state[weight].values()
    return sum(isinstance(state, Tensor) and state.shape == weight.shape for state in states)


def _activations(config: DictConfig, objective: Any, prepared: Prepared) -> int | None:
    """Bytes that the forward pass of the largest batch keeps for the backward pass, in fp32; nothing is computed.

    None where the objective's shapes depend on values, which only a real run can tell.
    """
    train = prepared.splits["train"]
    plan = build.make(config.batching, "batching").plan(train.lengths_nk, config.seed, 0)
    largest = max(plan, key=lambda rows: len(rows) * int(train.lengths_nk[rows].max(axis=0).sum()))
    kept: dict[int, int] = {parameter.untyped_storage()._cdata: 0 for parameter in objective.parameters()}
    alive: list[Tensor] = []  # a freed storage's address may be used again

    def note(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage.nbytes())
        return tensor

    update = objective.updates(_no_optimizer)[0]
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            update.module(train.batch(largest).to("meta"), Progress(_LATE, Key.of(config.seed, 0)))
    except (NotImplementedError, RuntimeError):
        return None
    return sum(kept.values())


def _no_optimizer(named_parameters: Any) -> torch.optim.Optimizer:
    """Stands in for the optimizer, whose fused step does not take tensors without memory."""
    return torch.optim.Optimizer([parameter for _, parameter in named_parameters], {})


def _bytes(parameter: Tensor) -> int:
    return parameter.numel() * parameter.element_size()
