"""Classification metrics against scikit-learn and by hand; bootstrap weights against repeated examples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from seqgen_cli.metrics.classification import ClassificationMetrics, confusion, reliability_points, roc_points

NAMES = ["accuracy", "f1", "roc_auc", "average_precision", "log_loss"]


def example(classes: int, count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities better than chance, many of them tied, and labels."""
    random = np.random.default_rng(seed)
    labels_N = random.integers(0, classes, count)
    score_NC = random.integers(0, 6, (count, classes)).astype(float)
    score_NC[np.arange(count), labels_N] += 1.25
    return score_NC - np.log(np.exp(score_NC).sum(-1, keepdims=True)), labels_N


def tied(classes: int, count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six distributions and labels that know little of them: each class's scores are equal among its own and other examples."""
    random = np.random.default_rng(seed)
    score_6C = random.normal(size=(6, classes))
    which_N = random.integers(0, 6, count)
    likely_N = score_6C.argmax(-1)[which_N]
    labels_N = np.where(random.random(count) < 0.4, likely_N, random.integers(0, classes, count))
    return (score_6C - np.log(np.exp(score_6C).sum(-1, keepdims=True)))[which_N], labels_N


def reference(log_probs_NC: np.ndarray, labels_N: np.ndarray, weights_N: np.ndarray | None = None) -> dict[str, float]:
    metrics = pytest.importorskip("sklearn.metrics")
    classes = log_probs_NC.shape[1]
    predicted_N, rest = log_probs_NC.argmax(-1), {"sample_weight": weights_N}
    each = [1] if classes == 2 else range(classes)
    return {
        "accuracy": metrics.accuracy_score(labels_N, predicted_N, **rest),
        "f1": metrics.f1_score(labels_N, predicted_N, average="binary" if classes == 2 else "macro", **rest),
        "roc_auc": np.mean([metrics.roc_auc_score(labels_N == c, log_probs_NC[:, c], **rest) for c in each]),
        "average_precision": np.mean([metrics.average_precision_score(labels_N == c, log_probs_NC[:, c], **rest) for c in each]),
        "log_loss": metrics.log_loss(labels_N, np.exp(log_probs_NC), **rest),
    }


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("made", [example, tied])
def test_values_are_scikit_learns(classes: int, made: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> None:
    log_probs_NC, labels_N = made(classes)
    figures = ClassificationMetrics().compute(log_probs_NC, labels_N, bootstrap=0)
    for name, value in reference(log_probs_NC, labels_N).items():
        assert figures[name].value == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("made", [example, tied])
def test_a_weight_is_a_repeated_example(made: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    log_probs_NC, labels_N = made(2, count=60)
    settings = ClassificationMetrics()
    times_N = np.random.default_rng(1).integers(0, 4, 60)
    repeated = settings.compute(log_probs_NC.repeat(times_N, axis=0), labels_N.repeat(times_N), bootstrap=0)
    for name in settings.names:
        weighted = settings._metric(name, log_probs_NC, labels_N)(times_N[None].astype(float))
        assert weighted[0] == pytest.approx(repeated[name].value, abs=1e-12), name


@pytest.mark.parametrize("classes", [2, 3])
def test_what_means_nothing_is_nan_and_named_with_its_reason(classes: int) -> None:
    """Every way of labelling four examples; no warning of numpy's either (pyproject.toml makes them errors)."""
    log_probs_NC = np.log(np.random.default_rng(2).dirichlet(np.ones(classes), size=4))
    settings, names = ClassificationMetrics(bootstrap=20), ["a", "b", "c"][:classes]
    for labels in product(range(classes), repeat=4):
        labels_N = np.array(labels)
        figures, undefined = settings.compute(log_probs_NC, labels_N), settings.undefined(labels_N, names)
        for name in ("roc_auc", "average_precision"):
            assert np.isnan(figures[name].value) == (name in undefined), (labels, name)
        assert ("f1" in undefined) == (classes == 2 and 1 not in labels)
        alone = f"all texts are of class {names[labels[0]]}" if len(set(labels)) == 1 else None
        assert undefined.get("roc_auc") in (alone, *(f"no text is of class {name}" for name in names), None)


def test_macro_f1_is_of_the_classes_that_are_there_or_predicted() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    log_probs_NC = np.log([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    labels_N = np.array([0, 1, 1])
    value = ClassificationMetrics().compute(log_probs_NC, labels_N, bootstrap=0)["f1"].value
    assert value == pytest.approx(metrics.f1_score(labels_N, [0, 1, 0], average="macro"))
    nobody = ClassificationMetrics().compute(log_probs_NC[:1, :2], labels_N[:1], bootstrap=0)["f1"]
    assert np.isnan(nobody.value) and nobody.interval() == ""


def test_the_interval_of_accuracy_is_the_binomials() -> None:
    """The bootstrap of a mean of zeros and ones has standard error sqrt(p (1 - p) / N)."""
    labels_N = np.zeros(2000, dtype=np.int64)
    right_N = np.arange(2000) % 10 != 0
    log_probs_NC = np.log(np.where(right_N[:, None], [0.8, 0.2], [0.3, 0.7]))
    figure = ClassificationMetrics(names=["accuracy"]).compute(log_probs_NC, labels_N)["accuracy"]
    error = 1.96 * np.sqrt(0.9 * 0.1 / 2000)
    assert figure.value == pytest.approx(0.9)
    assert figure.low == pytest.approx(0.9 - error, abs=0.15 * error) and figure.high == pytest.approx(
        0.9 + error, abs=0.15 * error
    )


def test_resamples_that_lack_a_class_are_passed_over() -> None:
    """One example of three that ranks above all others: wherever it is drawn with another, the ranking is perfect."""
    log_probs_NC = np.log(np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]))
    for figure in ClassificationMetrics(names=["roc_auc"]).compute(log_probs_NC, np.array([1, 0, 0])).values():
        assert (figure.value, figure.low, figure.high) == (1.0, 1.0, 1.0)


def test_calibration_error_by_hand() -> None:
    """Two bins: confidence 0.6 of which half is right, weight 3/4 (off by 0.1), and 0.9 always right (off by 0.1)."""
    log_probs_NC = np.log(np.array([[0.6, 0.4]] * 6 + [[0.1, 0.9]] * 2))
    labels_N = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    figure = ClassificationMetrics(names=["calibration_error"], bins=10).compute(log_probs_NC, labels_N, bootstrap=0)
    assert figure["calibration_error"].value == pytest.approx(0.75 * 0.1 + 0.25 * 0.1)
    mean_B, accuracy_B, count_B = reliability_points(np.exp(log_probs_NC.max(-1)), log_probs_NC.argmax(-1) == labels_N, 10)
    assert mean_B == pytest.approx([0.6, 0.9]) and accuracy_B == pytest.approx([0.5, 1.0]) and list(count_B) == [6, 2]


def test_confusion_and_roc_points() -> None:
    """The true class down, the predicted one across."""
    assert confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    sklearn = pytest.importorskip("sklearn.metrics")
    log_probs_NC, labels_N = tied(2)
    theirs = sklearn.roc_curve(labels_N, log_probs_NC[:, 1], drop_intermediate=False)
    for own, other in zip(roc_points(log_probs_NC[:, 1], labels_N == 1), theirs[:2], strict=True):
        assert own == pytest.approx(other, abs=1e-12)
    false_G, true_G = roc_points(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    assert false_G.tolist() == [0, 0, 0.5, 1] and true_G.tolist() == [0, 0.5, 1, 1]
