"""Pictures of a run: training curves and alignments, as PNG files.

Shapes: T target pieces, S source pieces.

Figures are made directly, without pyplot: no global state, no display, nothing to close.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from seqgen_cli.errors import RequestError

_PASSED_OVER = {"epoch", "seconds", "skipped"}  # the first two only grow with the updates; the last is nearly always 0
_AXES = {"update": "updates", "tokens": "target tokens read", "texts": "texts read"}
_LATIN = "DejaVu Sans"
_CELL = 0.32  # inches a piece: one label fits beside its neighbour


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


def alignment_plot(path: Path, source_pieces: Sequence[str], target_pieces: Sequence[str], weights_TS: np.ndarray) -> None:
    """Draw how much each target piece looked at each source piece, dark for 1, to a PNG file.

    Args:
        path: the file; its folder is made if absent.
        source_pieces, target_pieces: the S labels across and the T labels down.
        weights_TS: attention, each row a distribution over the source.

    Raises:
        RequestError: a piece is Japanese and no font that shows it is installed.
    """
    if weights_TS.shape != (len(target_pieces), len(source_pieces)):
        raise ValueError(f"weights are {weights_TS.shape}, pieces {(len(target_pieces), len(source_pieces))}")
    fonts = font_families("".join([*source_pieces, *target_pieces]))
    figure = _figure(1.5 + _CELL * len(source_pieces), 1.5 + _CELL * len(target_pieces))
    axes = figure.add_subplot()
    axes.imshow(weights_TS, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.xaxis.tick_top()
    # parse_math: a piece may hold a dollar sign, which is no formula.
    axes.set_xticks(range(len(source_pieces)), source_pieces, rotation=90, fontfamily=fonts, parse_math=False)
    axes.set_yticks(range(len(target_pieces)), target_pieces, fontfamily=fonts, parse_math=False)
    _save(figure, path)


def font_families(text: str) -> list[str]:
    """The fonts that together show `text`, tried in this order for each character.

    Raises:
        RequestError: a character is beyond the Latin font and the Japanese one is not installed.
    """
    latin = FT2Font(font_manager.findfont(_LATIN))
    if all(latin.get_char_index(ord(character)) for character in text):
        return [_LATIN]
    japanese = _japanese_family()
    if japanese is None:
        raise RequestError("No font here shows Japanese, so this plot cannot be drawn; pip install matplotlib-fontja.")
    return [_LATIN, japanese]


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


@cache
def _japanese_family() -> str | None:
    """IPAexGothic from the package matplotlib-fontja, made known to matplotlib; None where it is not installed."""
    # Found, not imported: importing the package changes matplotlib's default font for the whole process.
    package = importlib.util.find_spec("matplotlib_fontja")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "fonts", "ipaexg.ttf")
    if not path.is_file():
        return None
    font_manager.fontManager.addfont(path)
    return FT2Font(str(path)).family_name


def _figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
