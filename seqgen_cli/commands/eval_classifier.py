"""seqgen eval on a classifier's checkpoint: its metrics with intervals, its confusions, and plots."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from seqgen_cli import build
from seqgen_cli.classifier_plots import draw
from seqgen_cli.classifying import CheckpointClassifier, open_classifier
from seqgen_cli.commands.classifier_validation import predict
from seqgen_cli.commands.encoding import encode_once
from seqgen_cli.commands.tables import count, show
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.base import Figure
from seqgen_cli.metrics.classification import ClassificationMetrics, confusion
from seqgen_cli.words import join_and

_log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Measure, print the table, write plots and predictions into the run's folder, return the figures."""
    runtime = build.start_runtime(config)
    classifier = open_classifier(config.ckpt, runtime, config.trust)
    metrics = _metrics(config, classifier)
    dataset = _dataset(config, classifier)
    batching = build.make(classifier.config.batching, "batching")
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
    title = f"{classifier.folder}: {config.split}, {len(labels_N):,} texts"
    interval = f"{metrics.confidence * 100:g} % interval" if metrics.bootstrap else ""
    rows = [[figure.name, f"{figure.value:.4f}", _interval(figure)] for figure in figures.values()]
    show(title, ["", "value", interval], [*rows, ["texts a second", count(len(labels_N) / seconds), ""]])
    show("Confusions", ["true \\ predicted", *names], [[name, *map(str, row)] for name, row in zip(names, table_CC, strict=True)])
    if place:
        print(f"plots and predictions: {place}")
    flat = {key: value for figure in figures.values() for key, value in _flat(figure).items()}
    return {"texts": len(labels_N), **flat, "confusion": table_CC.tolist(), "seconds": seconds}


def _metrics(config: DictConfig, classifier: CheckpointClassifier) -> ClassificationMetrics:
    """The metrics chosen, or, where they are for translation, those of the checkpoint."""
    chosen = build.make(config.metrics, "metrics")
    found = chosen if isinstance(chosen, ClassificationMetrics) else build.make(classifier.config.metrics, "metrics")
    assert isinstance(found, ClassificationMetrics)
    return found


def _dataset(config: DictConfig, classifier: CheckpointClassifier) -> LabelledDataset:
    """The split, tokenised by the checkpoint's tokenizer, with features kept as its data say."""
    runtime = classifier.runtime
    data = build.evaluation_data(classifier.config, config)
    whole = OmegaConf.create({**build.plain(classifier.config), "data": build.plain(data)})
    tokenizers: Any = (classifier.tokenizer, classifier.labels)
    prepared = build.prepared(whole, runtime, tokenizers, report=_log.info)
    if config.split not in prepared.splits:
        raise RequestError(f"The data has no split {config.split}; it has {join_and(sorted(prepared.splits))}.")
    if config.limit is None:
        encode_once(whole, classifier.model, runtime, prepared, [config.split])
    dataset: Any = prepared.splits[config.split]
    return dataset


def _write(
    config: DictConfig,
    classifier: CheckpointClassifier,
    metrics: ClassificationMetrics,
    log_probs_NC: np.ndarray,
    labels_N: np.ndarray,
) -> Path | None:
    """Plots, and each text's true class and probabilities, in the run's folder; None where it cannot be written."""
    folder = classifier.folder
    run = folder.parents[1] if folder.parent.name == "checkpoints" else folder.parent
    place = run / "eval" / f"{config.split}-{folder.name}"
    names = classifier.labels.names
    try:
        place.mkdir(parents=True, exist_ok=True)
        draw(place, log_probs_NC, labels_N, names, metrics.bins)
        with (place / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for label, log_probs_C in zip(labels_N, log_probs_NC, strict=True):
                probabilities = {name: round(float(np.exp(value)), 6) for name, value in zip(names, log_probs_C, strict=True)}
                file.write(json.dumps({"label": names[label], "probabilities": probabilities}, ensure_ascii=False) + "\n")
    except OSError as error:
        _log.warning(f"{place} cannot be written ({error.strerror}), so plots and predictions are not kept.")
        return None
    return place


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"[{figure.low:.4f}, {figure.high:.4f}]"


def _flat(figure: Figure) -> dict[str, float]:
    if figure.low is None or figure.high is None:
        return {figure.name: figure.value}
    return {figure.name: figure.value, f"{figure.name}_low": figure.low, f"{figure.name}_high": figure.high}
