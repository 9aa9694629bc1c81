"""seqgen prepare: fetch, clean, tokenise and store a data set, and say what came of it. `seqgen train` does it when needed."""

from __future__ import annotations

import logging
from typing import Any

from omegaconf import DictConfig

from seqgen_cli import build
from seqgen_cli.commands.tables import count, show
from seqgen_cli.data.dataset import Dataset
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.errors import RequestError

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Prepare, print the table of sizes, return the figures. What cleaning dropped is reported as it is found out."""
    build.check(config)
    runtime = build.start_runtime(config)
    prepared = build.prepared(config, runtime, report=_log.info)
    if not prepared.splits:
        raise RequestError("The data has no split to prepare.")
    rows = [[name, count(len(dataset)), *_sizes(dataset)] for name, dataset in prepared.splits.items()]
    if runtime.is_main:
        show("prepared data", _header(prepared), rows, [_vocabularies(prepared), f"kept in {runtime.cache_folder}"])
    return _figures(prepared)


def _noun(prepared: Prepared) -> str:
    """What people call an example of the data."""
    return "pair" if prepared.source_tokenizer else next(iter(prepared.splits.values())).noun


def _header(prepared: Prepared) -> list[str]:
    noun = _noun(prepared)
    sides = ("source tokens", "target tokens") if prepared.source_tokenizer else ("tokens",)
    return ["split", f"{noun}s", *(title for side in sides for title in (side, f"a {noun}", "longest"))]


def _sizes(dataset: Dataset) -> list[str]:
    """Tokens, mean and longest of each side, `</s>` included."""
    sides = [lengths for lengths in (dataset.source_lengths_n, dataset.target_lengths_n) if lengths is not None]
    return [text for n in sides for text in (count(int(n.sum())), f"{n.mean():.1f}", count(int(n.max())))]


def _vocabularies(prepared: Prepared) -> str:
    source, target = prepared.source_tokenizer, prepared.target_tokenizer
    if source is None:
        return f"vocabulary: {target.vocab_size:,}"
    if source is target:
        return f"joint vocabulary: {source.vocab_size:,}"
    return f"vocabularies: source {source.vocab_size:,}, target {target.vocab_size:,}"


def _figures(prepared: Prepared) -> dict[str, Any]:
    return {
        "fingerprint": prepared.fingerprint,
        "source_vocab_size": prepared.source_tokenizer and prepared.source_tokenizer.vocab_size,
        "target_vocab_size": prepared.target_tokenizer.vocab_size,
        **{f"{name}_{_noun(prepared)}s": len(dataset) for name, dataset in prepared.splits.items()},
        **{f"{name}_unknown": rate for name, rate in prepared.unknown_rates.items()},
        "report": prepared.report,
    }
