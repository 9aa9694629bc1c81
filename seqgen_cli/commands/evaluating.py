"""What evaluating a classifier and evaluating a language model share: the metrics, and the split as the checkpoint reads it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from seqgen_cli import build
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.errors import RequestError
from seqgen_cli.runtime import Runtime
from seqgen_cli.words import join_and

_log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


def metrics_of(config: DictConfig, trained: DictConfig, kind: type[Kind]) -> Kind:
    """The metrics chosen, or, where they are of another kind (those for translation stand in eval.yaml), the checkpoint's."""
    chosen = build.make(config.metrics, "metrics")
    found = chosen if isinstance(chosen, kind) else build.make(trained.metrics, "metrics")
    assert isinstance(found, kind)
    return found


def prepared_split(
    config: DictConfig, trained: DictConfig, tokenizers: tuple[Any, Any], runtime: Runtime, only: Sequence[str] | None = None
) -> tuple[DictConfig, Prepared]:
    """The data to evaluate on, tokenised by a checkpoint's tokenizers, and the checkpoint's config with those data.

    Args:
        only: splits to prepare; None: all.

    Raises:
        RequestError: the data have no split `config.split`.
    """
    whole = OmegaConf.create({**build.plain(trained), "data": build.plain(build.evaluation_data(trained, config))})
    prepared = build.prepared(whole, runtime, tokenizers, only, _log.info)
    if config.split not in prepared.splits:
        raise RequestError(f"The data has no split {config.split}; it has {join_and(sorted(prepared.splits))}.")
    return whole, prepared
