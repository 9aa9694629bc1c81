"""What evaluating a classifier and evaluating a language model share: the metrics, and the split as the checkpoint reads it."""

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from seqgen_cli.config import build
from seqgen_cli.config.compose import Config, as_config, merged, plain
from seqgen_cli.config.groups import resolve
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, join_and
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import task_for

_log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


def metrics_of(config: Config, trained: Config, kind: type[Kind]) -> Kind:
    """The metrics chosen, or, where they are of another kind (those for translation stand in eval.yaml), the checkpoint's."""
    chosen = build.make(config.metrics, "metrics")
    found = chosen if isinstance(chosen, kind) else build.make(trained.metrics, "metrics")
    assert isinstance(found, kind)
    return found


def prepared_split(
    config: Config, trained: Config, tokenizers: tuple[Any, Any], runtime: Runtime, only: Sequence[str] | None = None
) -> tuple[Config, Prepared]:
    """The data to evaluate on, tokenised by a checkpoint's tokenizers, and the checkpoint's config with those data.

    Args:
        only: splits to prepare; None: all.

    Raises:
        RequestError: the data have no split `config.split`.
    """
    whole = as_config({**plain(trained), "data": plain(evaluation_data(trained, config))})
    prepared = build.prepared(whole, runtime, tokenizers, only, _log.info)
    if config.split not in prepared.splits:
        raise RequestError(f"The data has no split {config.split}; it has {join_and(sorted(prepared.splits))}.")
    return whole, prepared


def evaluation_data(trained: Config, config: Config) -> Config:
    """What to evaluate on: the data chosen (`data=text ...`), or the checkpoint's with the keys given (`data.years=[2015]`).

    Raises:
        RequestError: a setting is wrong.
    """
    asked = config.get("data")
    node = asked if asked is not None and "_target_" in asked else merged(plain(trained.data), asked or {})
    choices = config.choices if node is asked else trained.get("choices", {})
    build.check(as_config({"data": node, "choices": choices}))
    if "model" in trained:
        classes = {"model": resolve(trained.model, "model"), "data": resolve(plain(node), "data")}
        named = {"model": trained.get("choices", {}).get("model"), "data": choices.get("data")}
        task_for(classes["model"]).check(classes, {"data": plain(node)}, named)
    return node
