"""Trained models from their checkpoints, ready for text: `seqgen_cli.load`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seqgen_cli.checkpoints.finding import find
from seqgen_cli.checkpoints.restored import check_task_of, from_checkpoint, task_of_checkpoint
from seqgen_cli.config.checked import Config
from seqgen_cli.config.compose import compose, plain
from seqgen_cli.config.door import checked
from seqgen_cli.errors import RequestError
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task
from seqgen_cli.tasks.precision import settle_precision, stand_in

_log = logging.getLogger(__name__)

Checkpoints = str | Path | Sequence[str | Path]
"""A run folder (its best checkpoint), RUN:last or a checkpoint folder; several (a list, or joined by commas) make an ensemble."""


@dataclass(frozen=True)
class Opened:
    """What checkpoints hold, on the runtime's device and in its precision; folder, config and tokenizers are the first's."""

    folder: Path
    config: Config
    networks: list[tuple[Any, OutputLayer]]
    source_tokenizer: Any
    target_tokenizer: Any


def opened(task: str, ckpt: Checkpoints, runtime: Runtime, trust: str | Sequence[str] = (), labelled: bool = False) -> Opened:
    """Open checkpoints of models for the task of this name, all over one vocabulary.

    Args:
        ckpt: one model, or the models of an ensemble.
        trust: package or packages of the user's own that a checkpoint's config may name.
        labelled: its models predict a class of each text, not the words of one.

    Raises:
        RequestError: no such checkpoint, a model for another task, or models of different vocabularies.
        SeqgenError: every checkpoint of a run is damaged.
    """
    folders, packages = [find(place, _log.warning) for place in several(ckpt)], _packages(trust)
    for folder in folders:
        check_task_of(folder, packages, task)
    restored = [from_checkpoint(folder, packages) for folder in folders]
    first = restored[0]
    for folder, other in zip(folders, restored, strict=True):
        for mine, its in ((other.source_tokenizer, first.source_tokenizer), (other.target_tokenizer, first.target_tokenizer)):
            if mine is not None and mine.fingerprint != its.fingerprint:
                raise RequestError(f"{folder} and {folders[0]} have different vocabularies, so they make no ensemble.")
    networks = [(one.model.to(runtime.device), one.output.to(runtime.device)) for one in restored]
    settle_precision(runtime, networks, partial(stand_in, *networks[0], labelled=labelled))
    return Opened(folders[0], first.config, networks, first.source_tokenizer, first.target_tokenizer)


def task_of(ckpt: Checkpoints, trust: str | Sequence[str] = ()) -> Task:
    """What the model of the (first) checkpoint is for."""
    return task_of_checkpoint(find(several(ckpt)[0], _log.warning), _packages(trust))


def several(ckpt: Checkpoints) -> list[str | Path]:
    """Each of the checkpoints."""
    if isinstance(ckpt, str) and not Path(ckpt).exists():
        return [*ckpt.split(",")]
    return [ckpt] if isinstance(ckpt, str | Path) else list(ckpt)


def _packages(trust: str | Sequence[str]) -> list[str]:
    return [trust] if isinstance(trust, str) else list(trust)


def load(ckpt: Checkpoints, overrides: Sequence[str] = (), device: str = "auto", trust: str | Sequence[str] = ()) -> Any:
    """A trained model, ready to translate: `seqgen_cli.load("runs/X").translate(["..."])[0].text`; or, where it is a
    classifier, to classify: `seqgen_cli.load("runs/X").classify(["..."])[0].label`; or, where it is a language model, to
    write: `seqgen_cli.load("runs/X").generate(["..."], n=3)[0].texts`.

    Args:
        ckpt: one model, or the models of an ensemble.
        overrides: settings of `seqgen translate` (or classify, or generate), e.g. ["decoding.beam_size=8"].
        device: auto, cpu, cuda, cuda:N or mps.
        trust: package or packages of the user's own that a checkpoint's config may name.
    """
    task = task_of(ckpt, trust)
    values = plain(compose(task.command, [f"runtime.device={device}", *overrides]))
    given = {"ckpt": [str(place) for place in several(ckpt)], "trust": _packages(trust)}
    config = checked({**values, **given}, task.command)
    config.runtime.choose_kernels()
    return task.open(config, config.runtime)
