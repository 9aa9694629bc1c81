"""seqgen classify: texts in, their labels out, in the same order."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import tee
from pathlib import Path
from typing import Any, TextIO

from seqgen_cli.config import build
from seqgen_cli.config.compose import Config
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.classify.classifier import Classification, open_classifier
from seqgen_cli.tasks.lines import decoded_lines, line_count, opened_input, opened_output, prompted

_log = logging.getLogger(__name__)


def run(config: Config) -> dict[str, Any]:
    """Label config.text, or the lines of config.input; return the number of texts, seconds, and counts of unusual ones.

    A line of nothing but spaces gives an empty line (in JSON, a label null), so that lines keep their numbers.
    """
    build.check(config)
    if config.ckpt is None:
        raise RequestError("seqgen classify needs --ckpt RUN: a run folder such as runs/X, or a checkpoint.")
    if config.text is not None and config.input is not None:
        raise RequestError("Give either --text TEXT or --input FILE.")
    if config.input and config.output_file and Path(config.input).resolve() == Path(config.output_file).resolve():
        raise RequestError(f"The output {config.output_file} is the input itself: give another file.")
    asking = config.text is None and config.input is None and sys.stdin.isatty()
    counts: Counter[str] = Counter()
    with nullcontext() if config.text is not None else opened_input(config.input) as source:
        classifier = open_classifier(config.ckpt, build.start_runtime(config), config.trust, config.batch_tokens)
        texts: Iterable[str]
        if source is None:
            texts = [config.text] if isinstance(config.text, str) else list(config.text)
        else:
            texts = decoded_lines(prompted(source) if asking else source, config.input, config.invalid_utf8, counts)
        mine, theirs = tee(texts)
        start = time.perf_counter()
        with opened_output(config.output_file) as target:
            stream = classifier.stream(theirs, 1 if asking else config.window, line_count(config.input), progress=not asking)
            for text, found in zip(mine, stream, strict=True):
                _write(target, text, found, config.top, config.jsonl)
                counts.update(texts=1, empty=not found.ranking, cut=found.cut)
        seconds = time.perf_counter() - start
    unusual = {
        "empty": "empty, left without a label",
        "cut": f"cut to {classifier.tokenizer.max_length} word pieces (truncation {classifier.tokenizer.truncation})",
        "invalid": "not UTF-8, bad bytes replaced",
    }
    told = "".join(f"; {counts[name]:,} {what}" for name, what in unusual.items() if counts[name])
    _log.info(f"{counts['texts']:,} texts in {seconds:.1f} s ({counts['texts'] / max(seconds, 1e-9):,.1f} a second){told}.")
    return {"texts": counts["texts"], "seconds": seconds, **{name: counts[name] for name in unusual}}


def _write(target: TextIO, text: str, found: Classification, top: int, as_json: bool) -> None:
    """Label and probability, pair after pair, separated by tabs; or a JSON object."""
    best = found.ranking[:top]
    if as_json:
        ranking = {label: round(probability, 6) for label, probability in best}
        row = {"text": text, "label": found.label, "probability": found.probability, "top": ranking, "cut": found.cut}
        target.write(json.dumps(row, ensure_ascii=False) + "\n")
    else:
        target.write("\t".join(f"{label}\t{probability:.6f}" for label, probability in best) + "\n")
    target.flush()
