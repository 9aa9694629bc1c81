"""What a run, a dry run and a benchmark set up alike: networks, their precision and gradients, and the loop."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, counted
from seqgen_cli.layers.rows import make_dense
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.devices import Precision
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.precision import settle_precision
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.trainer import Trainer


def make_loop(
    config: Config,
    objective: Any,
    output: OutputLayer,
    stream: Iterable[Batch],
    total_updates: int | None,
    trainer: Trainer | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Loop:
    """The loop over an objective's updates, by the config's optimizer and schedule.

    Args:
        total_updates: of the run; None where its budget does not say.
        trainer: how many batches make an update, and how its gradient is clipped; None: one, not clipped.
        report: told what the user should know of the output layer's gradients.
    """
    runtime, averaged = config.runtime, trainer is not None and trainer.ema_decay is not None
    for line in keep_dense(output, config.optimizer, averaged, runtime):
        report(line)
    updates = objective.updates(config.optimizer.make)
    schedule = config.schedule(total_updates=total_updates)
    if trainer is None:
        return Loop(updates, stream, runtime, schedule, seed=config.seed)
    accumulate, clip_norm = trainer.accumulate, trainer.clip_norm
    return Loop(updates, stream, runtime, schedule, seed=config.seed, accumulate=accumulate, clip_norm=clip_norm)


def settle_for_training(config: Config, model: Any, output: OutputLayer, train: Any, kept: Precision | None = None) -> None:
    """Settle the precision on a batch of the training split, that in the middle of the first epoch; or as `kept`."""

    @cache
    def middle() -> np.ndarray:
        plan = config.batching.plan(train.lengths_nk, config.seed, 0)
        return np.asarray(plan[len(plan) // 2])

    settle_precision(config.runtime, [(model, output)], lambda rows: train.batch(middle()[:rows]), kept)


def keep_dense(output: OutputLayer, optimizer: Any, averaged: bool, runtime: Runtime) -> list[str]:
    """Give the layer dense gradients where row-sparse ones do not serve; what to tell the user, if anything."""
    reasons = [
        output.dense_because,
        "trainer.ema_decay averages every row" if averaged else None,
        getattr(optimizer, "row_sparse", "the optimizer has no form by rows"),
        "NCCL adds up no sparse gradients" if runtime.world_size > 1 and not devices.adds_sparse(runtime.device) else None,
    ]
    reason = next((reason for reason in reasons if reason), None)
    if reason is None or not (make_dense(output) or output.dense_because):
        return []
    return [f"The output layer's updates touch every row, not only those a batch uses: {reason}."]


def _check_lengths(name: str, dataset: Any, longest: int | None) -> None:
    """Refuse now what the model would refuse at the batch that holds it.

    Args:
        longest: most tokens that the model reads; None: any number.
    """
    if longest is None:
        return
    lengths_n = dataset.lengths_nk.max(1)
    too_long = np.flatnonzero(lengths_n > longest)
    if not len(too_long):
        return
    most, noun = int(lengths_n.max()), getattr(dataset, "noun", "example")
    if noun == "block":
        way = f"choose data.block and data.context with a sum of at most {longest}"
    elif name == "train":
        way = f"set cleaning.max_length={longest - 1}, which leaves such lines out"
    else:
        way = f"shorten them (the first is line {too_long[0] + 1:,})"
    raise RequestError(
        f"{name}: {counted(len(too_long), noun)} of more than the {longest} tokens that the model reads, the longest of {most}. "
        f"Use model.max_positions={most} or more, model.positions=sinusoidal or rotary, or {way}."
    )


def make_networks(config: Config, prepared: Prepared) -> tuple[Any, OutputLayer, Any]:
    """Model, output layer and objective with fresh weights, on the default device."""
    source, target = prepared.source_tokenizer, prepared.target_tokenizer
    sizes = (source and source.vocab_size, target.vocab_size)
    model, output = build.network(config, *sizes, counts_V=prepared.target_counts_V)
    for name in ("train", "valid"):
        _check_lengths(name, prepared.splits[name], getattr(model, "longest", None))
    of_target = (prepared.target_tokenizer, prepared.target_language, prepared.target_counts_V)
    return model, output, build.objective(config, model, output, *of_target)
