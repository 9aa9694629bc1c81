"""Validation of a classifier while training, and the predictions that evaluation measures.

Shapes: N examples, C classes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqgen_cli.data.batching import Batching, evaluation_batches
from seqgen_cli.data.dataset import spread
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.metrics.classification import ClassificationMetrics
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.devices import wide
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.validation import Trained, Validation


def predict(
    model: Any,
    output: OutputLayer,
    dataset: LabelledDataset,
    batching: Batching,
    runtime: Runtime,
    limit: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """log p of each class for each example of a split, (N, C) float64, shared out over the ranks and put together again.

    Args:
        model, output: in evaluation mode, on the runtime's device.
        limit: the first so many examples. check: called between batches; may raise.
    """
    rows: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    for batch in evaluation_batches(dataset, batching, runtime.rank, runtime.world_size, limit):
        check()
        with torch.no_grad(), runtime.autocast():
            log_probs_BC = output.log_probs(model.hidden_states(batch.to(runtime.device)))
        rows.append(wide(log_probs_BC).cpu().numpy())
        numbers.append(batch.index_B.numpy())
    log_probs_NC = np.zeros((len(dataset) if limit is None else min(limit, len(dataset)), output.vocab_size))
    for their_numbers, their_rows in runtime.gather((numbers, rows)):
        for number, row in zip(their_numbers, their_rows, strict=True):
            log_probs_NC[number] = row
    return log_probs_NC


class ClassifierValidation(Validation):
    """Measures a live classifier on the validation split.

    Args:
        metrics: what is measured beside the mean negative log-likelihood.
        samples: texts written out with their class and its probability.
    """

    def __init__(self, trained: Trained, metrics: ClassificationMetrics, samples: int) -> None:
        super().__init__(trained)
        self.names: list[str] = self.prepared.target_tokenizer.names
        self.metrics = metrics
        self.shown = list(spread(len(self.dataset), samples))
        self._log_probs_NC = np.zeros((0, 0))

    def likelihood(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Mean negative log-likelihood, and the run's metrics without intervals."""
        with self.evaluating():
            networks = (self.model, self.output)
            self._log_probs_NC = predict(*networks, self.dataset, self.batching, self.runtime, check=check)
        labels_N = self.dataset.labels_n
        figures = self.metrics.compute(self._log_probs_NC, labels_N, bootstrap=0)
        nll = float(-self._log_probs_NC[np.arange(len(labels_N)), labels_N].mean())
        return {"nll": nll, **{name: figure.value for name, figure in figures.items() if name != "log_loss"}}

    def undefined(self) -> dict[str, str]:
        return self.metrics.undefined(self.dataset.labels_n, self.names)

    def quality(self, place: Path) -> dict[str, float]:
        """Write the samples of what `likelihood` measured last; nothing more is measured."""
        if self.runtime.is_main and len(self.shown):
            place.parent.mkdir(parents=True, exist_ok=True)
            blocks = []
            for index, text in zip(self.shown, self.dataset.source_lines(self.shown), strict=True):
                found = int(self._log_probs_NC[index].argmax())
                chance = float(np.exp(self._log_probs_NC[index, found]))
                blocks.append(
                    f"text:      {' '.join(text.split())}\nreference: {self.names[self.dataset.labels_n[index]]}\n"
                    f"output:    {self.names[found]} ({chance:.3f})\n"
                )
            place.write_text("\n".join(blocks), encoding="utf-8")
        return {}
