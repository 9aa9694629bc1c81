"""What plots share: an empty figure, fonts that show Japanese, and PNG files.

Figures are made directly, without pyplot: no global state, no display, nothing to close.
"""

import importlib.util
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from seqgen_cli.errors import RequestError

_LATIN = "DejaVu Sans"


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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """As PNG; its folder is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
