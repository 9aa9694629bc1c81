"""Where a translation looked, as PNG files.

Shapes: T target pieces, S source pieces.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqgen_cli.report.drawing import font_families, new_figure, save_figure

_CELL = 0.32  # inches a piece: one label fits beside its neighbour


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
    figure = new_figure(1.5 + _CELL * len(source_pieces), 1.5 + _CELL * len(target_pieces))
    axes = figure.add_subplot()
    axes.imshow(weights_TS, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.xaxis.tick_top()
    # parse_math: a piece may hold a dollar sign, which is no formula.
    axes.set_xticks(range(len(source_pieces)), source_pieces, rotation=90, fontfamily=fonts, parse_math=False)
    axes.set_yticks(range(len(target_pieces)), target_pieces, fontfamily=fonts, parse_math=False)
    save_figure(figure, path)
