"""How well a classifier does: accuracy, F1, ROC-AUC, average precision, log loss, calibration error, with bootstrap intervals.

Every metric is a function of how often each example counts, so a resample only changes weights: what can be sorted is sorted
once for all resamples.

Shapes: N examples, C classes, R resamples, G groups of equal scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from seqgen_cli.errors import RequestError
from seqgen_cli.hints import NEUTRAL
from seqgen_cli.metrics.base import Figure

Name = Literal["accuracy", "f1", "roc_auc", "average_precision", "log_loss", "calibration_error"]
NAMES: tuple[Name, ...] = ("accuracy", "f1", "roc_auc", "average_precision", "log_loss", "calibration_error")
_WEIGHTS_AT_ONCE = 1 << 21  # numbers of a block of resamples: 16 MB

Metric = Callable[[np.ndarray], np.ndarray]
"""Weights (R, N) -> values (R,)."""


@dataclass(frozen=True)
class ClassificationMetrics:
    """Which metrics to compute, and how.

    F1, ROC-AUC and average precision are those of the second class where there are two, else the mean over the classes of
    each against the rest. The calibration error is the mean distance between confidence and accuracy over bins of
    confidence, weighted by their examples (Guo et al. 2017).

    Args:
        names: the metrics, in the order they are shown.
        bins: of confidence, of equal width.
        bootstrap: resamples for the confidence interval; 0: no interval.
        confidence: share of the resamples that the interval holds.
        seed: of the resampling.
    """

    task: ClassVar[str] = "classify"
    """What these are figures of."""

    names: Annotated[list[Name], NEUTRAL] = field(default_factory=lambda: list(NAMES))
    bins: Annotated[int, Ge(1), NEUTRAL] = 15
    bootstrap: Annotated[int, Ge(0), NEUTRAL] = 1000
    confidence: Annotated[float, Gt(0), Lt(1), NEUTRAL] = 0.95
    seed: Annotated[int, Ge(0), NEUTRAL] = 12345

    def compute(self, log_probs_NC: np.ndarray, labels_N: np.ndarray, bootstrap: int | None = None) -> dict[str, Figure]:
        """One Figure for each name; nan for what means nothing on these labels (see `undefined`).

        Args:
            log_probs_NC: natural log p of each class. labels_N: the true classes.
            bootstrap: resamples, in place of the setting.

        Raises:
            RequestError: there is nothing to measure.
        """
        if not len(labels_N):
            raise RequestError("There is nothing to measure: no examples.")
        metrics: dict[str, Metric] = {
            name: self._metric(name, np.asarray(log_probs_NC, np.float64), labels_N) for name in self.names
        }
        whole_1N = np.ones((1, len(labels_N)))
        values = {name: float(metric(whole_1N)[0]) for name, metric in metrics.items()}
        resamples = self.bootstrap if bootstrap is None else bootstrap
        if not resamples:
            return {name: Figure(name, value) for name, value in values.items()}
        ends = self._intervals(metrics, len(labels_N), resamples)
        return {name: Figure(name, value, *ends[name]) for name, value in values.items()}

    def undefined(self, labels_N: np.ndarray, classes: Sequence[str]) -> dict[str, str]:
        """The metrics that mean nothing on these labels, each with the reason.

        Args:
            classes: the names of all classes.
        """
        count_C = np.bincount(labels_N, minlength=len(classes))
        ranked = [classes[1]] if len(classes) == 2 else classes
        missing = [name for name, count in zip(classes, count_C, strict=True) if not count and name in ranked]
        alone = [name for name, count in zip(classes, count_C, strict=True) if count == len(labels_N)]
        why = f"no text is of class {missing[0]}" if missing else f"all texts are of class {alone[0]}" if alone else ""
        hurt = {"roc_auc": bool(missing or alone), "average_precision": bool(missing), "f1": bool(missing) and len(classes) == 2}
        return {name: why for name in self.names if hurt.get(name)}

    def _intervals(self, metrics: dict[str, Metric], count: int, resamples: int) -> dict[str, tuple[float, float]]:
        random = np.random.default_rng(self.seed)
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
        block = max(1, _WEIGHTS_AT_ONCE // count)
        for start in range(0, resamples, block):
            rows = min(block, resamples - start)
            weights_RN = random.multinomial(count, np.full(count, 1 / count), size=rows).astype(np.float64)
            for name, metric in metrics.items():
                drawn[name].append(metric(weights_RN))
        tail = (1 - self.confidence) / 2
        return {name: _quantiles(np.concatenate(parts), [tail, 1 - tail]) for name, parts in drawn.items()}

    def _metric(self, name: str, log_probs_NC: np.ndarray, labels_N: np.ndarray) -> Metric:
        predicted_N = log_probs_NC.argmax(-1)
        if name == "accuracy":
            return _mean_of(predicted_N == labels_N)
        if name == "log_loss":
            return _mean_of(-log_probs_NC[np.arange(len(labels_N)), labels_N])
        if name == "calibration_error":
            return _calibration_error(np.exp(log_probs_NC.max(-1)), predicted_N == labels_N, self.bins)
        classes = [1] if log_probs_NC.shape[1] == 2 else range(log_probs_NC.shape[1])
        if name == "f1":
            each = [_f1(predicted_N == c, labels_N == c) for c in classes]
        else:
            ranked = _roc_auc if name == "roc_auc" else _average_precision
            each = [ranked(log_probs_NC[:, c], labels_N == c) for c in classes]
        return lambda weights_RN: _mean_of_classes(np.stack([metric(weights_RN) for metric in each]), name == "f1")


def _quantiles(value_R: np.ndarray, at: Sequence[float]) -> tuple[float, float]:
    """Of the resamples in which the metric means something; nan where it does in none."""
    defined_R = value_R[~np.isnan(value_R)]
    low, high = np.quantile(defined_R, at) if len(defined_R) else (np.nan, np.nan)
    return float(low), float(high)


def confusion(predicted_N: np.ndarray, labels_N: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) counts: true class down, predicted class across."""
    return np.bincount(labels_N * classes + predicted_N, minlength=classes**2).reshape(classes, classes)


def _mean_of(value_N: np.ndarray) -> Metric:
    return lambda weights_RN: weights_RN @ value_N.astype(np.float64) / weights_RN.sum(-1)


def _mean_of_classes(value_CR: np.ndarray, of_defined: bool) -> np.ndarray:
    """The mean over classes; nan with one that is nan, or where all are, if it is of the defined ones alone."""
    counts_CR = ~np.isnan(value_CR) if of_defined else np.ones_like(value_CR, bool)
    with np.errstate(invalid="ignore"):
        return np.where(counts_CR, value_CR, 0.0).sum(0) / counts_CR.sum(0)


def _f1(predicted_N: np.ndarray, true_N: np.ndarray) -> Metric:
    """2 TP / (2 TP + FP + FN); nan where the class is neither there nor predicted."""
    both_N, either_N = (predicted_N & true_N).astype(np.float64), predicted_N.astype(np.float64) + true_N

    def metric(weights_RN: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return 2 * (weights_RN @ both_N) / (weights_RN @ either_N)

    return metric


def _calibration_error(confidence_N: np.ndarray, correct_N: np.ndarray, bins: int) -> Metric:
    bin_N = np.minimum((confidence_N * bins).astype(np.int64), bins - 1)
    gap_NB = (confidence_N - correct_N)[:, None] * (bin_N[:, None] == np.arange(bins))
    return lambda weights_RN: np.abs(weights_RN @ gap_NB).sum(-1) / weights_RN.sum(-1)


class _Ranking:
    """Examples by falling score, equal scores in one group; how much of either kind a weighting puts into each group."""

    def __init__(self, score_N: np.ndarray, true_N: np.ndarray) -> None:
        self.order_N = np.argsort(-score_N, kind="stable")
        ranked_N = score_N[self.order_N]
        self.starts_G = np.flatnonzero(np.r_[True, ranked_N[1:] != ranked_N[:-1]])
        self.true_N = true_N[self.order_N].astype(np.float64)

    def sums(self, weights_RN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R, G) weight of true and of other examples in each group."""
        weights_RN = weights_RN[:, self.order_N]
        true_RG = np.add.reduceat(weights_RN * self.true_N, self.starts_G, axis=1)
        return true_RG, np.add.reduceat(weights_RN, self.starts_G, axis=1) - true_RG


def _roc_auc(score_N: np.ndarray, true_N: np.ndarray) -> Metric:
    """The probability that a true example scores above another, ties counting half; nan without one of either kind."""
    ranking = _Ranking(score_N, true_N)

    def metric(weights_RN: np.ndarray) -> np.ndarray:
        true_RG, other_RG = ranking.sums(weights_RN)
        trues_R, others_R = true_RG.sum(-1), other_RG.sum(-1)
        below_RG = others_R[:, None] - other_RG.cumsum(-1) + other_RG / 2
        with np.errstate(invalid="ignore"):
            return (true_RG * below_RG).sum(-1) / (trues_R * others_R)

    return metric


def _average_precision(score_N: np.ndarray, true_N: np.ndarray) -> Metric:
    """Sum over thresholds of precision times the recall gained there; nan without a true example."""
    ranking = _Ranking(score_N, true_N)

    def metric(weights_RN: np.ndarray) -> np.ndarray:
        true_RG, other_RG = ranking.sums(weights_RN)
        found_RG = true_RG.cumsum(-1)
        precision_RG = found_RG / np.maximum(found_RG + other_RG.cumsum(-1), 1e-300)
        with np.errstate(invalid="ignore"):
            return (true_RG * precision_RG).sum(-1) / true_RG.sum(-1)

    return metric


def roc_points(score_N: np.ndarray, true_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-positive and true-positive rates at every threshold, from (0, 0) to (1, 1)."""
    true_1G, other_1G = _Ranking(score_N, true_N).sums(np.ones((1, len(score_N))))
    rates = [np.r_[0.0, each_1G[0].cumsum() / max(1.0, each_1G.sum())] for each_1G in (other_1G, true_1G)]
    return rates[0], rates[1]


def reliability_points(confidence_N: np.ndarray, correct_N: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and number of examples of each bin that has any."""
    bin_N = np.minimum((confidence_N * bins).astype(np.int64), bins - 1)
    count_B = np.bincount(bin_N, minlength=bins)
    filled = count_B > 0
    means = [np.bincount(bin_N, weights=each_N, minlength=bins)[filled] / count_B[filled] for each_N in (confidence_N, correct_N)]
    return means[0], means[1], count_B[filled]
