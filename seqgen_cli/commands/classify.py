"""seqgen classify: texts in, their labels out, in the same order."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import tee
from typing import Any, TextIO

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.report.tables import to_json
from seqgen_cli.tasks.classify.classifier import Classification
from seqgen_cli.tasks.classify.task import TASK
from seqgen_cli.tasks.lines import (
    check_files,
    decoded_lines,
    given,
    line_count,
    opened_input,
    opened_output,
    prompted,
    shows_progress,
    summary,
)

_log = logging.getLogger(__name__)


def run(config: Config) -> dict[str, Any]:
    """Label config.text, or the lines of config.input; return the number of texts, seconds, and counts of unusual ones.

    A line of nothing but spaces gives an empty line (in JSON, a label null), so that lines keep their numbers.
    """
    check_files("classify", config, "text")
    asking = config.text is None and config.input is None and sys.stdin.isatty()
    counts: Counter[str] = Counter()
    with nullcontext() if config.text is not None else opened_input(config.input) as source:
        classifier = TASK.open(config, build.start_runtime(config))
        texts: Iterable[str]
        if source is None:
            texts = given(config.text)
        else:
            texts = decoded_lines(prompted(source) if asking else source, config.input, config.invalid_utf8, counts)
        mine, theirs = tee(texts)
        start = time.perf_counter()
        with opened_output(config.output_file) as target:
            window, progress = 1 if asking else config.window, not asking and shows_progress(config.output_file)
            stream = classifier.stream(theirs, window, line_count(config.input), progress)
            for text, found in zip(mine, stream, strict=True):
                _write(target, text, found, config.top, config.jsonl)
                counts.update(texts=1, empty=not found.ranking, cut=found.cut)
    unusual = {
        "empty": "empty, left without a label",
        "cut": f"cut to {classifier.tokenizer.max_length} word pieces (truncation {classifier.tokenizer.truncation})",
        "invalid": "not UTF-8, bad bytes replaced",
    }
    return summary("texts", counts, unusual, start, _log)


def _write(target: TextIO, text: str, found: Classification, top: int, as_json: bool) -> None:
    """Label and probability, pair after pair, separated by tabs; or a JSON object."""
    best = found.ranking[:top]
    if as_json:
        ranking = {label: round(probability, 6) for label, probability in best}
        row = {"text": text, "label": found.label, "probability": found.probability, "top": ranking, "cut": found.cut}
        target.write(to_json(row) + "\n")
    else:
        target.write("\t".join(f"{label}\t{probability:.6f}" for label, probability in best) + "\n")
    target.flush()
