"""Checkpoints on disk: written whole or not at all, self-contained, verified before use (docs/checkpoints.md).

    <run>/checkpoints/step-N/
        model.safetensors   weights for inference, keys "model.*" and "output.*"; averaged ones where trainer.ema_decay is set
        training.pt         what resuming needs beyond them: tensors and plain types
        config.yaml         the run's resolved config
        tokenizers/         of both sides
        manifest.json       format, step, validation metrics, SHA-256 of each other file

A checkpoint is written to a temporary folder, flushed to the disk and renamed. Which ones are best is read from their
manifests, so no other file can disagree with what is there.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from seqgen_cli.checkpoints.finding import manifests, ranked
from seqgen_cli.checkpoints.manifest import Manifest, sha256
from seqgen_cli.data.prepare.store import flush
from seqgen_cli.errors import SeqgenError


def write(
    folder: Path,
    manifest: Manifest,
    *,
    weights: dict[str, Tensor],
    state: dict[str, Any] | None,
    config: dict[str, Any],
    save_tokenizers: Callable[[Path], None],
) -> Path:
    """Write a checkpoint to `folder` (`<run>/checkpoints/step-N`), which it replaces if it exists.

    Args:
        manifest: without `files`, which are added here.
        weights: from `network_weights`.
        state: what resuming needs; None for one that is not to be resumed from.
        config: plain data.
        save_tokenizers: writes them into the folder it is given.

    Raises:
        SeqgenError: the disk is full or cannot be written; nothing is left behind.
    """
    temporary = folder.with_name(f".writing-{folder.name}")
    try:
        _remove(temporary)
        (temporary / "tokenizers").mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary / "model.safetensors")
        if state is not None:
            with (temporary / "training.pt").open("wb") as file:
                torch.save(state, file)
        (temporary / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
        save_tokenizers(temporary / "tokenizers")
        paths = sorted(path for path in temporary.rglob("*") if path.is_file())
        files = {path.relative_to(temporary).as_posix(): sha256(path) for path in paths}
        text = json.dumps(asdict(manifest) | {"files": files}, indent=1, ensure_ascii=False)
        (temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
        for path in [*paths, temporary / "manifest.json", temporary / "tokenizers", temporary]:
            flush(path)
        remove(folder)
        temporary.rename(folder)
        flush(folder.parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise SeqgenError(
            f"The checkpoint {folder} could not be written ({reason}). Earlier checkpoints are intact: "
            "free some space and repeat the command to go on from the last."
        ) from error
    return folder


def keep(checkpoints: Path, last: int, best: int) -> None:
    """Remove all but the `last` latest and the `best` best checkpoints, and what an interrupted write left."""
    for leftover in checkpoints.glob(".writing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    known = [(folder, manifest) for folder, manifest in manifests(checkpoints) if manifest and folder.name.startswith("step-")]
    latest = sorted(known, key=lambda pair: pair[1].step)[-last:]
    kept = {folder for folder, _ in latest} | set(ranked(checkpoints)[:best])
    for folder, _ in known:
        if folder not in kept:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a checkpoint; interrupted anywhere, it is either whole or gone."""
    if folder.exists():
        leaving = folder.with_name(f".writing-{folder.name}-old")
        _remove(leaving)
        folder.rename(leaving)
        shutil.rmtree(leaving)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
