"""seqgen score: how probable given translations are, or the texts of a language model; a line of a table for each."""

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from seqgen_cli.config.checked import Config
from seqgen_cli.data.corpora.lines import open_text
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.perplexity import Likelihood, perplexity
from seqgen_cli.report.tables import number
from seqgen_cli.tasks import ensemble, loading

_log = logging.getLogger(__name__)


def run(config: Config) -> dict[str, Any]:
    """Write log p (natural), tokens (`</s>` included) and perplexity of each pair, tab-separated; return the totals."""
    if config.ckpt is None or config.target is None:
        raise RequestError("seqgen score needs --ckpt RUN, --source FILE and --target FILE (a language model: --target alone).")
    for path in filter(None, (config.source, config.target)):  # missing files are found before the model is loaded
        open_text(Path(path)).close()
    scored = loading.task_of(config.ckpt, config.trust).scored(config)
    with _opened(config.output_file) as file:
        total = Likelihood.total([_write(scores, texts, file) for scores, texts in scored])
    _log.info(
        f"{total.tokens:,} tokens: log p {-total.nll:.4f}, perplexity {total.perplexity:.4f}, "
        f"NLL per character {number(total.nll_per_character, '.4f')} nats."
    )
    return {"log_prob": -total.nll, **total.figures()}


def _opened(path: str | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if path is None else Path(path).open("w", encoding="utf-8")


def _write(scores: Sequence[ensemble.Likelihood], texts: Sequence[str], file: TextIO) -> Likelihood:
    """Write a line for each text; their sum."""
    for score in scores:
        file.write(f"{score.log_prob:.6f}\t{score.tokens}\t{perplexity(-score.log_prob, score.tokens):.6g}\n")
    return Likelihood.of([score.log_prob for score in scores], [score.tokens for score in scores], texts)
