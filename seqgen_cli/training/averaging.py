"""Averages the weights of a run's best checkpoints, and keeps the average where it is better than each."""

import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.weights import load_weights, read_weights
from seqgen_cli.training.session import Session

_log = logging.getLogger(__name__)


def average_best(session: Session, count: int) -> dict[str, Any]:
    """Average the weights of the `count` best checkpoints, measure it, and write checkpoints/average if it is a new best.

    Returns the average's figures as "average_<name>" and whether it was kept. The session's weights are the average afterwards.
    """
    folders = session.runtime.broadcast(finding.ranked(session.start.run / "checkpoints")[:count])
    networks: dict[str, nn.Module] = {"model": session.model, "output": session.output}
    load_weights(networks, mean_weights(folders), session.start.run)
    session.average = None
    figures = session.validation.likelihood() | session.validation.quality(session.start.run / "samples" / "average.txt")
    better = session.watch.see(figures, session.loop.update)
    if better and session.runtime.is_main:
        session.write_checkpoint(session.start.run / "checkpoints" / "average", figures, None)
    names = ", ".join(folder.name for folder in folders)
    metric = session.watch.metric
    _log.info("The average of %s has %s %.4g: %s.", names, metric, figures[metric], "kept" if better else "not kept")
    return {f"average_{name}": value for name, value in figures.items()} | {"average_kept": better}


def mean_weights(folders: list[Path]) -> dict[str, Tensor]:
    """The mean of the checkpoints' tensors, summed in float64; integer buffers as in the first."""
    first, *others = (read_weights(folder / "model.safetensors") for folder in folders)
    sums = {name: tensor.double() for name, tensor in first.items() if tensor.is_floating_point()}
    for weights in others:
        for name in sums:
            sums[name] += weights[name].double()
    return first | {name: (total / len(folders)).to(first[name].dtype) for name, total in sums.items()}
