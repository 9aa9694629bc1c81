"""seqgen score: how probable given translations are, or the texts of a language model; a line of a table for each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig

from seqgen_cli import build, ensemble, loading
from seqgen_cli.data.cleaning import chunks
from seqgen_cli.data.corpora import aligned, check_aligned, open_text, read_lines
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.perplexity import Likelihood, perplexity

_WINDOW = 4096  # pairs read, batched by length and scored at once; memory does not grow with the files

Scored = tuple[list[ensemble.Likelihood], list[str]]
"""The likelihoods of some texts, and the texts."""

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Write log p (natural), tokens (`</s>` included) and perplexity of each pair, tab-separated; return the totals."""
    build.check(config)
    if config.ckpt is None or config.target is None:
        raise RequestError("seqgen score needs --ckpt RUN, --source FILE and --target FILE (a language model: --target alone).")
    for path in filter(None, (config.source, config.target)):  # missing files are found before the model is loaded
        open_text(Path(path)).close()
    scored = _texts(config) if loading.task_of(config.ckpt, config.trust) == "generate" else _pairs(config)
    with _opened(config.output_file) as file:
        total = Likelihood.total([_write(scores, texts, file) for scores, texts in scored])
    _log.info(
        f"{total.tokens:,} tokens: log p {-total.nll:.4f}, perplexity {total.perplexity:.4f}, "
        f"NLL per character {total.nll_per_character:.4f} nats."
    )
    return {"log_prob": -total.nll, **total.figures()}


def _opened(path: str | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if path is None else Path(path).open("w", encoding="utf-8")


def _pairs(config: DictConfig) -> Iterator[Scored]:
    """Windows of translations, scored given their sources."""
    if config.source is None:
        raise RequestError("seqgen score needs --source FILE: the model reads a source.")
    check_aligned(Path(config.source), Path(config.target))
    pairs = aligned(read_lines(Path(config.source)), read_lines(Path(config.target)), config.source, config.target)
    translator = loading.open_checkpoints(config.ckpt, build.start_runtime(config), config.trust)
    sides = (([source for source, _ in window], [target for _, target in window]) for window in chunks(pairs, _WINDOW))
    return ((translator.score(sources, targets), targets) for sources, targets in sides)


def _texts(config: DictConfig) -> Iterator[Scored]:
    """Windows of texts, scored by a language model."""
    if config.source is not None:
        raise RequestError(f"{config.ckpt} holds a language model, which reads no source: leave --source out.")
    generator = loading.open_generator(config.ckpt, build.start_runtime(config), config.trust)
    return ((generator.score(texts), texts) for texts in chunks(read_lines(Path(config.target)), _WINDOW))


def _write(scores: Sequence[ensemble.Likelihood], texts: Sequence[str], file: TextIO) -> Likelihood:
    """Write a line for each text; their sum."""
    for score in scores:
        file.write(f"{score.log_prob:.6f}\t{score.tokens}\t{perplexity(-score.log_prob, score.tokens):.6g}\n")
    return Likelihood.of([score.log_prob for score in scores], [score.tokens for score in scores], texts)
