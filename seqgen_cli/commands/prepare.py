"""seqgen prepare: fetch, clean, tokenise and store a data set, and say what came of it. `seqgen train` does it when needed.

Of labelled texts it makes the word pieces, for which the encoder's tokenizer is enough; encoding them is left to `seqgen train`.
"""

import logging
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError
from seqgen_cli.report.tables import count, show

_log = logging.getLogger(__name__)
_WIDTH = 60  # of the last column


def run(config: Config) -> dict[str, Any]:
    """Prepare, print the table of sizes, return the figures. What cleaning dropped is reported as it is found out."""
    runtime = build.start_runtime(config)
    prepared = build.prepared(config, report=_log.info)
    if not prepared.splits:
        raise RequestError("The data has no split to prepare.")
    task = config.task
    noun = task.noun(next(iter(prepared.splits.values())))
    classes = {name: told for name in prepared.splits if (told := task.tally(prepared, name))}
    if runtime.is_main:
        rows = [_row(task.lengths(dataset), name, len(dataset), classes.get(name)) for name, dataset in prepared.splits.items()]
        sides = task.lengths(next(iter(prepared.splits.values())))
        header = ["split", f"{noun}s", *(title for side in sides for title in (side, f"a {noun}", "longest"))]
        header += ["of each class"] if classes else []
        show("prepared data", header, rows, [task.vocabularies(prepared), f"kept in {runtime.cache_folder}"])
    return _figures(prepared, noun, classes)


def _row(sides: Mapping[str, np.ndarray], name: str, examples: int, classes: Mapping[str, int] | None) -> list[str]:
    """Of a split: tokens, mean and longest of each side, `</s>` (or [CLS] and [SEP]) included, and its classes."""
    lengths = [text for n in sides.values() for text in (count(int(n.sum())), f"{n.mean():.1f}", count(int(n.max())))]
    told = ", ".join(f"{number:,} {label}" for label, number in (classes or {}).items())
    return [name, count(examples), *lengths, *([textwrap.shorten(told, _WIDTH, placeholder=" ...")] if classes else [])]


def _figures(prepared: Prepared, noun: str, classes: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for name, dataset in prepared.splits.items():
        sizes[f"{name}_{noun}s"] = len(dataset)
        if name in classes:
            sizes[f"{name}_classes"] = classes[name]
    return {
        "fingerprint": prepared.fingerprint,
        "source_vocab_size": prepared.source_tokenizer and prepared.source_tokenizer.vocab_size,
        "target_vocab_size": prepared.target_tokenizer.vocab_size,
        **sizes,
        **{f"{name}_unknown": rate for name, rate in prepared.unknown_rates.items()},
        **{f"{name}_changed": trip.changed / max(1, trip.tried) for name, trip in prepared.round_trips.items()},
        **{f"{name}_bleu_ceiling": trip.bleu for name, trip in prepared.round_trips.items()},
        "report": prepared.report,
    }
