"""seqgen translate: lines of text in, their translations out, in the same order."""

import logging
import sys
import time
from collections import Counter
from itertools import tee
from pathlib import Path
from typing import Any, TextIO

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.corpora.lines import check_aligned, open_text, read_lines
from seqgen_cli.tasks.lines import (
    check_files,
    decoded_lines,
    line_count,
    opened_input,
    opened_output,
    prompted,
    shows_progress,
    summary,
)
from seqgen_cli.tasks.translate.task import TASK
from seqgen_cli.tasks.translate.translator import Translation, Translator

_log = logging.getLogger(__name__)

_UNUSUAL = {
    "empty": "empty",
    "split": "over-long, translated in parts",
    "truncated": "with an output cut at the maximum length",
    "invalid": "not UTF-8, bad bytes replaced",
}


def run(config: Config) -> dict[str, Any]:
    """Translate config.input to config.output_file; return the number of lines, seconds, and counts of unusual lines.

    Each output is written as soon as its window is translated: what was interrupted keeps what it wrote.
    """
    check_files("translate", config)
    if config.prefix:  # missing or too short is found before the model is loaded
        open_text(Path(config.prefix)).close()
        check_aligned(Path(config.input or config.prefix), Path(config.prefix))
    asking = config.input is None and sys.stdin.isatty()
    counts: Counter[str] = Counter()
    with opened_input(config.input) as source:
        translator = _translator(config)
        lines, again = tee(decoded_lines(prompted(source) if asking else source, config.input, config.invalid_utf8, counts))
        start = time.perf_counter()
        with opened_output(config.output_file) as target:
            prefixes = read_lines(Path(config.prefix)) if config.prefix else None
            window, total = 1 if asking else config.window, line_count(config.input)
            stream = translator.stream(again, window, total, not asking and shows_progress(config.output_file), prefixes)
            for number, (line, translation) in enumerate(zip(lines, stream, strict=True), start=1):
                _count(translation, counts)
                _write(target, number, translation, translator.decoder.outputs)
                if config.plot is not None and translation.parts:
                    _plot(translator, line, translation.text, Path(config.plot) / f"line-{number:06d}.png")
    return summary("lines", counts, _UNUSUAL, start, _log)


def _translator(config: Config) -> Translator:
    translator = TASK.open(config, build.start_runtime(config))
    if config.plot is not None:
        translator.alignments([])  # a model without any is refused before work begins
    return translator


def _count(translation: Translation, counts: Counter[str]) -> None:
    counts["empty"] += translation.parts == 0
    counts["split"] += translation.parts > 1
    counts["truncated"] += translation.n_best[0].truncated


def _write(target: TextIO, number: int, translation: Translation, outputs: int) -> None:
    """The translation on its line; of several outputs, a table: line number, score, text."""
    if outputs == 1:
        target.write(f"{translation.text}\n")
    else:
        target.writelines(f"{number}\t{output.score:.6f}\t{output.text}\n" for output in translation.n_best)
    target.flush()


def _plot(translator: Translator, line: str, text: str, path: Path) -> None:
    from seqgen_cli.tasks.translate import plots  # matplotlib: few translations are drawn

    (alignment,) = translator.alignments([line], [text])
    plots.alignment_plot(path, alignment.source_pieces, alignment.target_pieces, alignment.weights_TS)
