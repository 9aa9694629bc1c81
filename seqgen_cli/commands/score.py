"""seqgen score: how probable given translations are, a line of a table for each pair of lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig

from seqgen_cli import build, inference
from seqgen_cli.data.cleaning import chunks
from seqgen_cli.data.corpora import Pair, aligned, check_aligned, open_text, read_lines
from seqgen_cli.errors import RequestError
from seqgen_cli.inference import Translator
from seqgen_cli.metrics.perplexity import Likelihood, perplexity

_WINDOW = 4096  # pairs read, batched by length and scored at once; memory does not grow with the files

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Write log p (natural), tokens (`</s>` included) and perplexity of each pair, tab-separated; return the totals."""
    build.check(config)
    if config.ckpt is None or config.source is None or config.target is None:
        raise RequestError("seqgen score needs --ckpt RUN, --source FILE and --target FILE.")
    for path in (config.source, config.target):  # missing files are found before the model is loaded
        open_text(Path(path)).close()
    check_aligned(Path(config.source), Path(config.target))
    pairs = aligned(read_lines(Path(config.source)), read_lines(Path(config.target)), config.source, config.target)
    translator = inference.open_checkpoints(config.ckpt, build.start_runtime(config), config.trust)
    with _opened(config.output_file) as file:
        total = Likelihood.total([_score(translator, window, file) for window in chunks(pairs, _WINDOW)])
    _log.info(
        f"{total.tokens:,} tokens: log p {-total.nll:.4f}, perplexity {total.perplexity:.4f}, "
        f"NLL per character {total.nll_per_character:.4f} nats."
    )
    return {"log_prob": -total.nll, **total.figures()}


def _opened(path: str | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if path is None else Path(path).open("w", encoding="utf-8")


def _score(translator: Translator, pairs: Sequence[Pair], file: TextIO) -> Likelihood:
    """Write the pairs' lines; their sum."""
    scores = translator.score([source for source, _ in pairs], [target for _, target in pairs])
    for score in scores:
        file.write(f"{score.log_prob:.6f}\t{score.tokens}\t{perplexity(-score.log_prob, score.tokens):.6g}\n")
    return Likelihood.of(
        [score.log_prob for score in scores], [score.tokens for score in scores], [target for _, target in pairs]
    )
