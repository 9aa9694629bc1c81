"""A run's training curves, as PNG files."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqgen_cli.report.drawing import _figure, _save

_PASSED_OVER = {"epoch", "seconds", "skipped"}  # the first two only grow with the updates; the last is nearly always 0
_AXES = {"update": "updates", "tokens": "target tokens read", "texts": "texts read"}


def curves(metrics_jsonl: Path, folder: Path) -> list[Path]:
    """Draw every quantity of a run's log against updates and against what was read; returns the PNG files.

    Args:
        metrics_jsonl: one JSON object a line, each with `update`, and `tokens` or `texts` read so far where it is known; what is
            not a number is passed over, and so are epoch, seconds and skipped updates.
        folder: where the pictures go; made if absent. One file a quantity, e.g. `loss.png`, `valid_perplexity.png`.
    """
    records = [json.loads(line) for line in metrics_jsonl.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = {name for record in records for name, value in record.items() if _is_number(value)} - set(_AXES) - _PASSED_OVER
    drawn = []
    for name in sorted(names):
        against = {axis: _points(records, axis, name) for axis in _AXES}
        against = {axis: points for axis, points in against.items() if len(points)}
        if against:
            drawn.append(folder / f"{name.replace('/', '_')}.png")
            _draw_curve(name, against, drawn[-1])
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _points(records: Sequence[dict[str, float]], axis: str, name: str) -> np.ndarray:
    """(points, 2): the records that hold numbers for both, in the order logged."""
    pairs = [(r[axis], r[name]) for r in records if _is_number(r.get(axis)) and _is_number(r.get(name))]
    return np.array(pairs, dtype=float).reshape(-1, 2)


def _draw_curve(name: str, against: dict[str, np.ndarray], path: Path) -> None:
    """One panel for each axis, with a shared scale of `name`."""
    figure = _figure(5.0 * len(against), 3.5)
    panels = figure.subplots(1, len(against), sharey=True, squeeze=False)[0]
    for panel, (axis, points) in zip(panels, against.items(), strict=True):
        panel.plot(points[:, 0], points[:, 1], marker="." if len(points) < 50 else None, linewidth=1)
        panel.set_xlabel(_AXES[axis])
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(name, parse_math=False)
    _save(figure, path)
