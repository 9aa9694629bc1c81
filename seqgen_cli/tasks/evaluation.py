"""What evaluations share: the metrics, the split as the checkpoint reads it, and how figures are shown."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seqgen_cli.config import build
from seqgen_cli.config.compose import Config, as_config, merged, plain
from seqgen_cli.config.groups import resolve
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, join_and
from seqgen_cli.metrics.base import Figure
from seqgen_cli.report.tables import show
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


def show_figures(
    title: str,
    figures: Mapping[str, Figure],
    metrics: Any,
    form: str,
    further: Sequence[Sequence[str]] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print the figures with their intervals, and further rows under them.

    Args:
        metrics: what measured them. form: of numbers, ".2f".
    """
    interval = f"{metrics.confidence * 100:g} % interval" if metrics.bootstrap else ""
    rows = [[figure.name, f"{figure.value:{form}}", figure.interval(form)] for figure in figures.values()]
    show(title, ["", "value", interval], [*rows, *further], notes)


def flat(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """For --json: bleu, bleu_low, bleu_high, bleu_signature ..., as far as each figure has them."""
    found: dict[str, Any] = {}
    for name, figure in figures.items():
        ends = {} if figure.low is None else {f"{name}_low": figure.low, f"{name}_high": figure.high}
        found |= {name: figure.value, **ends, **({f"{name}_signature": figure.signature} if figure.signature else {})}
    return found


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint is of."""
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint.parent
