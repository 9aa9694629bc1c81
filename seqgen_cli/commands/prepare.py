"""seqgen prepare: fetch, clean, tokenise and store a data set, and say what came of it. `seqgen train` does it when needed.

Of labelled texts it makes the word pieces, for which the encoder's tokenizer is enough; encoding them is left to `seqgen train`.
"""

from __future__ import annotations

import logging
import textwrap
from typing import Any

import numpy as np
from omegaconf import DictConfig

from seqgen_cli import build
from seqgen_cli.commands.tables import count, show
from seqgen_cli.data.dataset import Dataset
from seqgen_cli.data.labelled import LabelledDataset, Labels
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.errors import RequestError

_log = logging.getLogger(__name__)
_WIDTH = 60  # of the last column


def run(config: DictConfig) -> dict[str, Any]:
    """Prepare, print the table of sizes, return the figures. What cleaning dropped is reported as it is found out."""
    build.check(config)
    runtime = build.start_runtime(config)
    prepared = build.prepared(config, runtime, report=_log.info)
    if not prepared.splits:
        raise RequestError("The data has no split to prepare.")
    labels = prepared.target_tokenizer if isinstance(prepared.target_tokenizer, Labels) else None
    rows = [[name, count(len(dataset)), *_sizes(dataset)] for name, dataset in prepared.splits.items()]
    if labels:
        for row, dataset in zip(rows, prepared.splits.values(), strict=True):
            told = ", ".join(f"{number:,} {name}" for name, number in _classes(dataset, labels).items())
            row.append(textwrap.shorten(told, _WIDTH, placeholder=" ..."))
    if runtime.is_main:
        show("prepared data", _header(prepared, labels), rows, [_vocabularies(prepared), f"kept in {runtime.cache_folder}"])
    return _figures(prepared, labels)


def _noun(prepared: Prepared) -> str:
    """What people call an example of the data."""
    if isinstance(prepared.target_tokenizer, Labels):
        return "text"
    return "pair" if prepared.source_tokenizer else next(iter(prepared.splits.values())).noun


def _header(prepared: Prepared, labels: Labels | None) -> list[str]:
    noun = _noun(prepared)
    sides = ("source tokens", "target tokens") if prepared.source_tokenizer else ("tokens",)
    if labels:
        sides = ("word pieces",)
    header = ["split", f"{noun}s", *(title for side in sides for title in (side, f"a {noun}", "longest"))]
    return [*header, "of each class"] if labels else header


def _sizes(dataset: Dataset | LabelledDataset) -> list[str]:
    """Tokens, mean and longest of each side, `</s>` (or [CLS] and [SEP]) included."""
    sides = [lengths_n for lengths_n in (dataset.source_lengths_n, dataset.target_lengths_n) if lengths_n is not None]
    return [text for n in sides for text in (count(int(n.sum())), f"{n.mean():.1f}", count(int(n.max())))]


def _classes(dataset: LabelledDataset, labels: Labels) -> dict[str, int]:
    """How many texts of each class there are."""
    return dict(zip(labels.names, np.bincount(dataset.labels_n, minlength=labels.vocab_size).tolist(), strict=True))


def _vocabularies(prepared: Prepared) -> str:
    source, target = prepared.source_tokenizer, prepared.target_tokenizer
    if isinstance(target, Labels):
        return f"vocabulary: {source.vocab_size:,} word pieces; {target.vocab_size:,} classes"
    if source is None:
        return f"vocabulary: {target.vocab_size:,}"
    if source is target:
        return f"joint vocabulary: {source.vocab_size:,}"
    return f"vocabularies: source {source.vocab_size:,}, target {target.vocab_size:,}"


def _figures(prepared: Prepared, labels: Labels | None) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for name, dataset in prepared.splits.items():
        sizes[f"{name}_{_noun(prepared)}s"] = len(dataset)
        if labels:
            sizes[f"{name}_classes"] = _classes(dataset, labels)
    return {
        "fingerprint": prepared.fingerprint,
        "source_vocab_size": prepared.source_tokenizer and prepared.source_tokenizer.vocab_size,
        "target_vocab_size": prepared.target_tokenizer.vocab_size,
        **sizes,
        **{f"{name}_unknown": rate for name, rate in prepared.unknown_rates.items()},
        "report": prepared.report,
    }
