"""Trained models from their checkpoints, ready for text: `seqgen_cli.load`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqgen_cli import build
from seqgen_cli.classifying import CheckpointClassifier, open_classifier
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.errors import RequestError
from seqgen_cli.inference import Translator
from seqgen_cli.models.base import Generator
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.checkpoints import find

_log = logging.getLogger(__name__)


class CheckpointTranslator(Translator):
    """A Translator read from checkpoints. `folder` and `config` are the first one's."""

    folder: Path
    config: Any


def open_checkpoints(
    ckpt: str | Path | Sequence[str | Path],
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 2048,
    max_source_tokens: int = 256,
) -> CheckpointTranslator:
    """A Translator from checkpoints, on the runtime's device.

    Args:
        ckpt: a run folder (its best checkpoint), RUN:last or a checkpoint folder; several (a list, or joined by commas) make
            an ensemble.
        trust: package or packages of the user's own that a checkpoint's config may name.
        decoder: how to search; a beam of 5 by default.

    Raises:
        RequestError: no such checkpoint, a model that does not generate, or models of different vocabularies.
        SeqgenError: every checkpoint of a run is damaged.
    """
    folders = [find(place, _log.warning) for place in _several(ckpt)]
    packages = [trust] if isinstance(trust, str) else list(trust)
    restored = [build.from_checkpoint(folder, packages) for folder in folders]
    first = restored[0]
    for folder, other in zip(folders, restored, strict=True):
        if not isinstance(other.model, Generator):
            raise RequestError(f"{folder} holds a model that does not generate: it cannot translate.")
        for side in ("source_tokenizer", "target_tokenizer"):
            if getattr(other, side).fingerprint != getattr(first, side).fingerprint:
                raise RequestError(f"{folder} and {folders[0]} have different vocabularies, so they make no ensemble.")
    networks = [(one.model.to(runtime.device), one.output.to(runtime.device)) for one in restored]
    tokenizers = (first.source_tokenizer, first.target_tokenizer)
    translator = CheckpointTranslator(networks, *tokenizers, decoder or BeamSearch(), runtime, batch_tokens, max_source_tokens)
    translator.folder, translator.config = folders[0], first.config
    return translator


def is_classifier(ckpt: str | Path | Sequence[str | Path], trust: str | Sequence[str] = ()) -> bool:
    """Whether the (first) checkpoint holds a classifier."""
    return build.classifies(find(_several(ckpt)[0], _log.warning), [trust] if isinstance(trust, str) else trust)


def _several(ckpt: str | Path | Sequence[str | Path]) -> list[str | Path]:
    if isinstance(ckpt, str) and not Path(ckpt).exists():
        return [*ckpt.split(",")]
    return [ckpt] if isinstance(ckpt, str | Path) else list(ckpt)


def load(
    ckpt: str | Path | Sequence[str | Path],
    overrides: Sequence[str] = (),
    device: str = "auto",
    trust: str | Sequence[str] = (),
) -> CheckpointTranslator | CheckpointClassifier:
    """A trained model, ready to translate: `seqgen_cli.load("runs/X").translate(["..."])[0].text`; or, where it is a
    classifier, to classify: `seqgen_cli.load("runs/X").classify(["..."])[0].label`.

    Args:
        ckpt, trust: as of `open_checkpoints`.
        overrides: settings of `seqgen translate` (or classify), e.g. ["decoding.beam_size=8"].
        device: auto, cpu, cuda, cuda:N or mps.
    """
    if is_classifier(ckpt, trust):
        config = build.compose("classify", [f"runtime.device={device}", *overrides])
        build.check(config)
        return open_classifier(ckpt, build.make(config.runtime, "runtime"), trust, config.batch_tokens)
    config = build.compose("translate", [f"runtime.device={device}", *overrides])
    build.check(config)
    decoder, runtime = build.make(config.decoding, "decoding"), build.make(config.runtime, "runtime")
    return open_checkpoints(ckpt, runtime, trust, decoder, config.batch_tokens, config.max_source_tokens)
