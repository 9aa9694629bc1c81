"""Pictures of how a classifier does: ROC curve, confusion matrix, reliability diagram, as PNG files.

Shapes: N examples, C classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqgen_cli.metrics.classification import confusion, reliability_points, roc_points
from seqgen_cli.report.drawing import font_families


def draw(folder: Path, log_probs_NC: np.ndarray, labels_N: np.ndarray, names: Sequence[str], bins: int) -> list[Path]:
    """Draw roc.png, confusion.png and reliability.png into a folder that is there; returns the files.

    Args:
        log_probs_NC: natural log p of each class. labels_N: the true classes. names: theirs.
        bins: of confidence, in the reliability diagram.
    """
    fonts = font_families("".join(names))
    predicted_N = log_probs_NC.argmax(-1)
    confidence_N = np.exp(log_probs_NC.max(-1))
    figures = {
        "roc": _roc(log_probs_NC, labels_N, names, fonts),
        "confusion": _confusion(confusion(predicted_N, labels_N, len(names)), names, fonts),
        "reliability": _reliability(confidence_N, predicted_N == labels_N, bins),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120, bbox_inches="tight")
    return paths


def _figure(width: float = 4.5, height: float = 4.5) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _roc(log_probs_NC: np.ndarray, labels_N: np.ndarray, names: Sequence[str], fonts: list[str]) -> Figure:
    """One curve for two classes, else one for each class against the rest."""
    figure = _figure()
    axes = figure.add_subplot()
    for c in [1] if len(names) == 2 else range(len(names)):
        axes.plot(*roc_points(log_probs_NC[:, c], labels_N == c), label=names[c])
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.legend(prop={"family": fonts}, loc="lower right")
    return figure


def _confusion(table_CC: np.ndarray, names: Sequence[str], fonts: list[str]) -> Figure:
    """Counts, shaded by their share of the true class."""
    side = max(3.5, 0.7 * len(names) + 2)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    share_CC = table_CC / np.maximum(1, table_CC.sum(-1, keepdims=True))
    axes.imshow(share_CC, cmap="Blues", vmin=0.0, vmax=1.0)
    for (true, predicted), number in np.ndenumerate(table_CC):
        color = "white" if share_CC[true, predicted] > 0.5 else "black"
        axes.text(predicted, true, f"{number:,}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, fontfamily=fonts, rotation=45 if len(names) > 4 else 0, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontfamily=fonts, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def _reliability(confidence_N: np.ndarray, correct_N: np.ndarray, bins: int) -> Figure:
    """Accuracy over confidence; the size of a point is its share of the examples."""
    mean_B, accuracy_B, count_B = reliability_points(confidence_N, correct_N, bins)
    figure = _figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot(mean_B, accuracy_B)
    axes.scatter(mean_B, accuracy_B, s=10 + 300 * count_B / count_B.sum())
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    return figure
