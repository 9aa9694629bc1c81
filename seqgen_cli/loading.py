"""Trained models from their checkpoints, ready for text: `seqgen_cli.load`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqgen_cli import build
from seqgen_cli.build import Task
from seqgen_cli.classifying import CheckpointClassifier, open_classifier
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.errors import RequestError
from seqgen_cli.generating import TextGenerator
from seqgen_cli.inference import Translator
from seqgen_cli.precision import settle_precision
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.checkpoints import find

_log = logging.getLogger(__name__)

Checkpoints = str | Path | Sequence[str | Path]
"""A run folder (its best checkpoint), RUN:last or a checkpoint folder; several (a list, or joined by commas) make an ensemble."""


class CheckpointTranslator(Translator):
    """A Translator read from checkpoints. `folder` and `config` are the first one's."""

    folder: Path
    config: Any


class CheckpointGenerator(TextGenerator):
    """A TextGenerator read from checkpoints. `folder` and `config` are the first one's."""

    folder: Path
    config: Any


def open_checkpoints(
    ckpt: Checkpoints,
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 2048,
    max_source_tokens: int = 256,
) -> CheckpointTranslator:
    """A Translator from checkpoints, on the runtime's device.

    Args:
        ckpt: one model, or the models of an ensemble.
        trust: package or packages of the user's own that a checkpoint's config may name.
        decoder: how to search; a beam of 5 by default.

    Raises:
        RequestError: no such checkpoint, a model that does not translate, or models of different vocabularies.
        SeqgenError: every checkpoint of a run is damaged.
    """
    folder, restored = _restored(ckpt, trust, "translate")
    networks = [(one.model.to(runtime.device), one.output.to(runtime.device)) for one in restored]
    tokenizers = (restored[0].source_tokenizer, restored[0].target_tokenizer)
    settle_precision(runtime, networks)
    translator = CheckpointTranslator(networks, *tokenizers, decoder or BeamSearch(), runtime, batch_tokens, max_source_tokens)
    translator.folder, translator.config = folder, restored[0].config
    return translator


def open_generator(
    ckpt: Checkpoints,
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 16_384,
    max_length: int | None = None,
) -> CheckpointGenerator:
    """A TextGenerator from checkpoints of language models, on the runtime's device.

    Args:
        ckpt, trust: as of `open_checkpoints`. decoder: how to choose words; sampling by default.

    Raises:
        RequestError, SeqgenError: as of `open_checkpoints`.
    """
    folder, restored = _restored(ckpt, trust, "generate")
    networks = [(one.model.to(runtime.device), one.output.to(runtime.device)) for one in restored]
    settle_precision(runtime, networks)
    tokenizer = restored[0].target_tokenizer
    running = build.is_running_text(restored[0].config)
    generator = CheckpointGenerator(networks, tokenizer, decoder or Sampling(), runtime, batch_tokens, max_length, running)
    generator.folder, generator.config = folder, restored[0].config
    return generator


def _restored(ckpt: Checkpoints, trust: str | Sequence[str], task: Task) -> tuple[Path, list[build.Restored]]:
    """The first checkpoint's folder, and what each holds: models for this task, all over one vocabulary."""
    folders = [find(place, _log.warning) for place in _several(ckpt)]
    packages = [trust] if isinstance(trust, str) else list(trust)
    for folder in folders:
        build.check_task_of(folder, packages, task)
    restored = [build.from_checkpoint(folder, packages) for folder in folders]
    for folder, other in zip(folders, restored, strict=True):
        for side in ("source_tokenizer", "target_tokenizer"):
            mine, first = getattr(other, side), getattr(restored[0], side)
            if mine is not None and mine.fingerprint != first.fingerprint:
                raise RequestError(f"{folder} and {folders[0]} have different vocabularies, so they make no ensemble.")
    return folders[0], restored


def task_of(ckpt: Checkpoints, trust: str | Sequence[str] = ()) -> Task:
    """What the model of the (first) checkpoint is for."""
    return build.task_of_checkpoint(find(_several(ckpt)[0], _log.warning), [trust] if isinstance(trust, str) else trust)


def _several(ckpt: Checkpoints) -> list[str | Path]:
    if isinstance(ckpt, str) and not Path(ckpt).exists():
        return [*ckpt.split(",")]
    return [ckpt] if isinstance(ckpt, str | Path) else list(ckpt)


def load(
    ckpt: Checkpoints, overrides: Sequence[str] = (), device: str = "auto", trust: str | Sequence[str] = ()
) -> CheckpointTranslator | CheckpointClassifier | CheckpointGenerator:
    """A trained model, ready to translate: `seqgen_cli.load("runs/X").translate(["..."])[0].text`; or, where it is a
    classifier, to classify: `seqgen_cli.load("runs/X").classify(["..."])[0].label`; or, where it is a language model, to
    write: `seqgen_cli.load("runs/X").generate(["..."], n=3)[0].texts`.

    Args:
        ckpt, trust: as of `open_checkpoints`.
        overrides: settings of `seqgen translate` (or classify, or generate), e.g. ["decoding.beam_size=8"].
        device: auto, cpu, cuda, cuda:N or mps.
    """
    task = task_of(ckpt, trust)
    config = build.compose(task, [f"runtime.device={device}", *overrides])
    build.check(config)
    runtime: Runtime = build.make(config.runtime, "runtime")
    runtime.choose_kernels()
    if task == "classify":
        return open_classifier(ckpt, runtime, trust, config.batch_tokens)
    decoder = build.make(config.decoding, "decoding")
    if task == "generate":
        return open_generator(ckpt, runtime, trust, decoder, config.batch_tokens, config.max_length)
    return open_checkpoints(ckpt, runtime, trust, decoder, config.batch_tokens, config.max_source_tokens)
