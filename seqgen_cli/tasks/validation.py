"""Validation while training: exact likelihood over the whole validation set, and what the model makes of part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqgen_cli.data.batching import Batching, evaluation_batches
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.metrics.perplexity import perplexity
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.process import Runtime


@dataclass(frozen=True)
class Trained:
    """What is validated: networks in training, and the data beside them.

    prepared: its "valid" split is measured on. batching: how the split is cut into batches.
    """

    prepared: Prepared
    model: Any
    output: OutputLayer
    objective: Any
    batching: Batching
    runtime: Runtime


class Validation:
    """Measures the likelihood of the validation split; every example once over all ranks."""

    def __init__(self, trained: Trained) -> None:
        self.prepared, self.dataset = trained.prepared, trained.prepared.splits["valid"]
        self.model, self.output, self.objective = trained.model, trained.output, trained.objective
        self.batching, self.runtime = trained.batching, trained.runtime

    def likelihood(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Figures from the objective's exact sums: nll and whatever else it measures, each per prediction, and perplexity.

        Args:
            check: called between batches; may raise.
        """
        sums: dict[str, list[torch.Tensor]] = {}
        with self.evaluating():
            for batch in evaluation_batches(self.dataset, self.batching, self.runtime.rank, self.runtime.world_size):
                check()
                with self.runtime.autocast():
                    parts = self.objective.evaluate(batch.to(self.runtime.device))
                for name, value in parts.items():
                    sums.setdefault(name, []).append(value)
        totals: dict[str, float] = {}
        # Added up on the host, exactly, once all are computed.
        for of_rank in self.runtime.gather({name: math.fsum(torch.stack(values).tolist()) for name, values in sums.items()}):
            for name, value in of_rank.items():
                totals[name] = totals.get(name, 0.0) + value
        tokens = totals.pop("tokens")
        figures = with_deviations({"accuracy" if name == "correct" else name: value / tokens for name, value in totals.items()})
        if "nll" in totals:
            figures["perplexity"] = perplexity(totals["nll"], int(tokens))
        return figures

    def undefined(self) -> dict[str, str]:
        """Figures that the split leaves without a meaning, each with the reason."""
        return {}

    def quality(self, place: Path) -> dict[str, float]:
        """Write samples to `place`, and measure what takes more than likelihood: here nothing."""
        return {}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode and no gradient inside the block; training mode after it."""
        self.objective.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.objective.train()


def with_deviations(means: dict[str, float]) -> dict[str, float]:
    """The means, with each "x" and "x_squared" as "x" and its standard deviation "x_std"."""
    found = dict(means)
    for name in [name for name in means if name.endswith("_squared")]:
        base = name.removesuffix("_squared")
        found[f"{base}_std"] = max(0.0, found.pop(name) - means[base] ** 2) ** 0.5
    return found
