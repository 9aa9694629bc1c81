"""seqgen eval on a classifier's checkpoint: its metrics with intervals, its confusions, and plots."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.errors import counted
from seqgen_cli.metrics.classification import ClassificationMetrics, confusion
from seqgen_cli.report.tables import count, show, to_json
from seqgen_cli.tasks.classify.classifier import TextClassifier, open_classifier
from seqgen_cli.tasks.classify.encoding import encode_once
from seqgen_cli.tasks.classify.validation import predict
from seqgen_cli.tasks.evaluation import flat, metrics_of, prepared_split, run_of, show_figures

_log = logging.getLogger(__name__)


def evaluate(config: Config) -> dict[str, Any]:
    """Measure, print the table, write plots and predictions into the run's folder, return the figures."""
    assert config.ckpt is not None
    runtime = build.start_runtime(config)
    classifier = open_classifier(config.ckpt, runtime, config.trust)
    metrics = metrics_of(config, classifier.config, ClassificationMetrics)
    dataset = _dataset(config, classifier)
    batching = classifier.config.batching
    start = time.perf_counter()
    log_probs_NC = predict(classifier.model, classifier.output, dataset, batching, runtime, config.limit)
    seconds = time.perf_counter() - start
    if not runtime.is_main:
        return {}
    labels_N = dataset.labels_n[: len(log_probs_NC)].astype(np.int64)
    figures = metrics.compute(log_probs_NC, labels_N)
    names = classifier.labels.names
    table_CC = confusion(log_probs_NC.argmax(-1), labels_N, len(names))
    place = _write(config, classifier, metrics, log_probs_NC, labels_N)
    title = f"{classifier.folder}: {config.split}, {counted(len(labels_N), 'text')}"
    notes = [f"{name} is not defined here: {why}." for name, why in metrics.undefined(labels_N, names).items()]
    show_figures(title, figures, metrics, ".4f", [["texts a second", count(len(labels_N) / seconds), ""]], notes)
    show("Confusions", ["true \\ predicted", *names], [[name, *map(str, row)] for name, row in zip(names, table_CC, strict=True)])
    if place:
        print(f"plots and predictions: {place}")
    return {"texts": len(labels_N), **flat(figures), "confusion": table_CC.tolist(), "seconds": seconds}


def _dataset(config: Config, classifier: TextClassifier) -> LabelledDataset:
    """The split, tokenised by the checkpoint's tokenizer, with features kept as its data say."""
    runtime, tokenizers = classifier.runtime, (classifier.tokenizer, classifier.labels)
    whole, prepared = prepared_split(config, classifier.config, tokenizers)
    if config.limit is None:
        encode_once(whole, classifier.model, runtime, prepared, [config.split])
    dataset: Any = prepared.splits[config.split]
    return dataset


def _write(
    config: Config,
    classifier: TextClassifier,
    metrics: ClassificationMetrics,
    log_probs_NC: np.ndarray,
    labels_N: np.ndarray,
) -> Path | None:
    """Plots, and each text's true class and probabilities, in the run's folder; None where it cannot be written."""
    from seqgen_cli.tasks.classify.plots import draw  # matplotlib: every command looks at every task, and few draw

    place = run_of(classifier.folder) / "eval" / f"{config.split}-{classifier.folder.name}"
    names = classifier.labels.names
    try:
        place.mkdir(parents=True, exist_ok=True)
        draw(place, log_probs_NC, labels_N, names, metrics.bins)
        with (place / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for label, log_probs_C in zip(labels_N, log_probs_NC, strict=True):
                probabilities = {name: round(float(np.exp(value)), 6) for name, value in zip(names, log_probs_C, strict=True)}
                file.write(to_json({"label": names[label], "probabilities": probabilities}) + "\n")
    except OSError as error:
        _log.warning(f"{place} cannot be written ({error.strerror}), so plots and predictions are not kept.")
        return None
    return place
