"""What evaluations share: the metrics, the split as the checkpoint reads it, and how figures are shown."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.config.signatures import parameters
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, join_and
from seqgen_cli.metrics.base import Figure
from seqgen_cli.report.tables import number, show

_log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


def metrics_of(config: Config, trained: Config, kind: type[Kind]) -> Kind:
    """The metrics chosen, or, where they are of another kind (those for translation stand in eval.yaml), the checkpoint's."""
    chosen = config.metrics
    found = chosen if isinstance(chosen, kind) else trained.metrics
    assert isinstance(found, kind)
    return found


def prepared_split(
    config: Config, trained: Config, tokenizers: tuple[Any, Any], only: Sequence[str] | None = None
) -> tuple[Config, Prepared]:
    """The data to evaluate on, tokenised by a checkpoint's tokenizers, and the checkpoint's config with those data.

    Args:
        only: splits to prepare; None: all.

    Raises:
        RequestError: the data have no split `config.split`.
    """
    whole = evaluation_config(trained, config)
    prepared = build.prepared(whole, tokenizers, only, _log.info)
    if config.split not in prepared.splits:
        raise RequestError(f"The data has no split {config.split}; it has {join_and(sorted(prepared.splits))}.")
    return whole, prepared


def evaluation_config(trained: Config, config: Config) -> Config:
    """The checkpoint's config on this machine, with the data to evaluate on: those chosen (`data=text ...`), or its own with
    the keys given (`data.years=[2015]`). Files of splits that are not evaluated need not be there.

    Raises:
        RequestError: a setting is wrong, or the model cannot read such data.
    """
    chosen = "data" in config.chosen
    data = dict(config.values.get("data") or {})
    others = {"train", "valid", "test"} - {config.split}
    kept = data if chosen else {**trained.values["data"], **data}
    if config.split != "train" and kept.get(config.split):  # a split with files of its own needs no other's
        declared = parameters((config if chosen else trained).data.cls)
        data |= {name: None for name in others if name in declared and declared[name].default is None}
    choices = {**trained.choices, **({"data": config.choices.get("data")} if chosen else {})}
    whole = trained.changed({"data": data, "runtime": config.values["runtime"], "choices": choices})
    classes = {"data": whole.data.cls}
    if "model" in whole:
        classes |= {"model": whole.model.cls}
        whole.task.check(classes, {"data": whole.values["data"]}, choices)
    return whole


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
    rows = [[figure.name, number(figure.value, form), figure.interval(form)] for figure in figures.values()]
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
