"""seqgen generate: text from a language model, after a prompt or from nothing, in the order of the prompts."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any, TextIO

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.config.listing import read_settings
from seqgen_cli.errors import RequestError
from seqgen_cli.report.tables import to_json
from seqgen_cli.tasks.generate.generator import Generation
from seqgen_cli.tasks.generate.task import TASK
from seqgen_cli.tasks.lines import (
    check_files,
    decoded_lines,
    given,
    line_count,
    opened_input,
    opened_output,
    shows_progress,
    summary,
)

_log = logging.getLogger(__name__)

_UNUSUAL = {
    "truncated": "cut at the greatest length, without an end of their own",
    "cut": "from a prompt too long for the model, which read its end",
    "invalid": "not UTF-8, bad bytes replaced",
}


def run(config: Config) -> dict[str, Any]:
    """Continue config.prompt, or the lines of config.input; return the number of texts, seconds, and counts of unusual ones.

    Each text is written as soon as its window is done: what was interrupted keeps what it wrote.
    """
    _check(config)
    counts: Counter[str] = Counter()
    reads = config.prompt is None and (config.input is not None or not sys.stdin.isatty())
    with opened_input(config.input) if reads else nullcontext() as source:
        generator = TASK.open(config, build.start_runtime(config))
        prompts: Iterable[str]
        if source is not None:
            prompts = _or_nothing(decoded_lines(source, config.input, config.invalid_utf8, counts), config.input)
        else:
            prompts = given(config.prompt) or [""]
        start = time.perf_counter()
        with opened_output(config.output_file) as target:
            total = line_count(config.input) if reads else None
            for generation in generator.stream(prompts, None, config.window, total, shows_progress(config.output_file)):
                _write(target, generation, config.jsonl)
                counts.update(texts=len(generation.n_best), cut=generation.cut * len(generation.n_best))
                counts.update(truncated=sum(text.truncated for text in generation.n_best))
    return summary("texts", counts, _UNUSUAL, start, _log)


def _check(config: Config) -> None:
    """Refuse what cannot be meant, before the model is loaded."""
    check_files("generate", config, "prompt")
    usual = read_settings(f"decoding/{config.choices['decoding']}") if "decoding" in config.choices else {}
    for key in ("max_length_factor", "max_length_offset"):
        if getattr(config.decoding, key, None) != usual.get(key):
            raise RequestError(f"decoding.{key} does not bound generated texts: use max_length, tokens after the prompt.")


def _or_nothing(lines: Iterator[str], path: str | None) -> Iterator[str]:
    """The lines; where standard input has none at all, a single empty prompt."""
    first = list(islice(lines, 1))
    return chain(first if first or path is not None else [""], lines)


def _write(target: TextIO, generation: Generation, as_json: bool) -> None:
    """Each text on its line, or as a JSON object."""
    for text in generation.n_best:
        row = {"prompt": generation.prompt, "text": text.text, "log_prob": text.log_prob}
        row |= {"tokens": text.tokens, "truncated": text.truncated}
        target.write((to_json(row) if as_json else text.text) + "\n")
    target.flush()
