"""Pictures show what they were given: the pixels' darkness is the weight, and every character has a glyph."""

import importlib.util
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.image import imread

from seqgen_cli.errors import RequestError
from seqgen_cli.report import drawing
from seqgen_cli.tasks.translate import plots as translation_plots
from seqgen_cli.tasks.translate.plots import alignment_plot
from seqgen_cli.training import journal

SOURCE = ["▁駅", "は", "どこ", "ですか", "。", "</s>"]
TARGET = ["▁Where", "▁is", "$5", "?"]


def test_every_character_has_a_glyph_in_the_fonts_chosen():
    text = "".join(SOURCE + TARGET) + "ｶﾀカナー漢字「」～￥"
    fonts = [FT2Font(font_manager.findfont(family, fallback_to_default=False)) for family in drawing.font_families(text)]
    missing = [character for character in text if not any(font.get_char_index(ord(character)) for font in fonts)]
    assert missing == []


def test_alignment_is_drawn_without_missing_glyphs_and_dark_where_the_weight_is(tmp_path):
    weights_TS = np.zeros((4, 6))
    weights_TS[[0, 1, 2, 3], [2, 3, 0, 4]] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        alignment_plot(tmp_path / "new" / "a.png", SOURCE, TARGET, weights_TS)
        alignment_plot(tmp_path / "new" / "b.png", SOURCE, TARGET, 1.0 - weights_TS)
    black, white = (imread(tmp_path / "new" / name)[..., :3].mean() for name in ("a.png", "b.png"))
    assert black > white + 0.1  # 4 of 24 cells against 20 of 24


def test_the_first_pieces_meet_in_the_upper_left_corner(tmp_path):
    for place, name in ((0, "first.png"), (-1, "last.png")):
        weights_TS = np.zeros((4, 6))
        weights_TS[place, place] = 1.0
        alignment_plot(tmp_path / name, SOURCE, TARGET, weights_TS)
    first, last = (imread(tmp_path / name)[..., :3].mean(-1) for name in ("first.png", "last.png"))
    assert (np.argwhere(first < last - 0.5).max(0) < np.argwhere(last < first - 0.5).min(0)).all()


def test_labels_differ_when_the_words_differ(tmp_path):
    """A font without the glyphs would draw the same box for every character."""
    weights_TS = np.full((1, 2), 0.5)
    alignment_plot(tmp_path / "a.png", ["駅", "雨"], ["x"], weights_TS)
    alignment_plot(tmp_path / "b.png", ["雨", "駅"], ["x"], weights_TS)
    assert not np.array_equal(imread(tmp_path / "a.png"), imread(tmp_path / "b.png"))


def test_a_piece_that_looks_like_a_formula_is_drawn_as_text(tmp_path, monkeypatch):
    figures, save = [], drawing.save_figure
    monkeypatch.setattr(translation_plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    pieces = ["$\\unknown$", "x"]  # as a formula it could not be parsed
    alignment_plot(tmp_path / "a.png", pieces, ["x"], np.full((1, 2), 0.5))
    alignment_plot(tmp_path / "b.png", ["x"], pieces, np.full((2, 1), 0.5))
    for figure, (across, down) in zip(figures, [(pieces, ["x"]), (["x"], pieces)], strict=True):
        (axes,) = figure.axes
        for labels, wanted in ((axes.get_xticklabels(), across), (axes.get_yticklabels(), down)):
            assert [label.get_text() for label in labels] == wanted
            assert not any(label.get_parse_math() for label in labels)


def test_japanese_without_its_font_is_refused_and_latin_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    drawing._japanese_family.cache_clear()
    try:
        with pytest.raises(RequestError, match="pip install matplotlib-fontja"):
            alignment_plot(tmp_path / "a.png", SOURCE, TARGET, np.zeros((4, 6)))
        alignment_plot(tmp_path / "b.png", ["▁the"], TARGET, np.zeros((4, 1)))
    finally:
        drawing._japanese_family.cache_clear()
    assert not (tmp_path / "a.png").exists()
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_curves_draw_each_quantity_once(tmp_path):
    log = tmp_path / "metrics.jsonl"
    records = [{"update": i, "tokens": 100 * i, "loss": 5 / (1 + i), "time": "12:00", "seconds": 2.0 * i} for i in range(1, 80)]
    records.append({"update": 79, "tokens": 7900, "valid_perplexity": 3.5, "valid_bleu": 20.1, "valid_ter": None})
    log.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    drawn = journal.curves(log, tmp_path / "plots")
    assert [path.name for path in drawn] == ["loss.png", "valid_bleu.png", "valid_perplexity.png"]
    assert sorted((tmp_path / "plots").iterdir()) == drawn
    assert all(imread(path).std() > 0.01 for path in drawn)  # not an empty page


def test_points_pair_each_value_with_its_own_axis_value():
    records = [{"update": 1, "loss": 4.0}, {"update": 2, "lr": 0.1}, {"update": 3, "loss": 2.0, "tokens": 9}]
    assert journal._points(records, "update", "loss").tolist() == [[1, 4.0], [3, 2.0]]
    assert journal._points(records, "tokens", "loss").tolist() == [[9, 2.0]]


def test_drawing_leaves_pyplot_alone():
    code = "from sys import *; from seqgen_cli.report.drawing import *; font_families('駅'); exit('matplotlib.pyplot' in modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
