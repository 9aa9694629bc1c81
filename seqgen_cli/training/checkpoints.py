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

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from seqgen_cli.errors import RequestError, SeqgenError

FORMAT = 1
_REQUIRED = ("model.safetensors", "config.yaml")
_PICKLES = ("model.bin", "pytorch_model.bin", "model.pt", "model.pth")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    Args:
        step: updates made.
        metrics: validation figures at this step; empty where it was not evaluated.
        best_metric, higher_is_better: what ranks the run's checkpoints.
        files: SHA-256 of each file, by its path inside the checkpoint.
        format: of the checkpoint.
    """

    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    best_metric: str = "nll"
    higher_is_better: bool = False
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def merit(self) -> float:
        """Larger is better; minus infinity where the metric was not measured."""
        value = self.metrics.get(self.best_metric)
        if value is None or value != value:
            return float("-inf")
        return value if self.higher_is_better else -value


def network_weights(model: nn.Module, output: nn.Module) -> dict[str, Tensor]:
    """The weights for inference under "model.*" and "output.*"; a shared tensor once, under its first name."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in nn.ModuleDict({"model": model, "output": output}).state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            weights[name] = tensor.detach()
    return weights


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
        files = {path.relative_to(temporary).as_posix(): _sha256(path) for path in paths}
        text = json.dumps(asdict(manifest) | {"files": files}, indent=1, ensure_ascii=False)
        (temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
        for path in [*paths, temporary / "manifest.json", temporary / "tokenizers", temporary]:
            _flush(path)
        remove(folder)
        temporary.rename(folder)
        _flush(folder.parent)
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
    known = [(folder, manifest) for folder, manifest in _manifests(checkpoints) if manifest and folder.name.startswith("step-")]
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


def verify(folder: Path) -> Manifest:
    """Read a checkpoint's manifest and check every file against it.

    Raises:
        RequestError: it has another format, or holds pickled weights.
        SeqgenError: it is damaged; the message names the file.
    """
    weights = folder / "model.safetensors"
    if not weights.exists():
        for name in _PICKLES:
            if (folder / name).exists():
                raise _refuse_pickle(folder / name)
    manifest = _read_manifest(folder)
    for name, digest in {**dict.fromkeys(_REQUIRED, ""), **manifest.files}.items():
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        if _sha256(folder / name) != digest:
            raise _damaged(folder, f"{name}: SHA-256 differs from its manifest")
    with weights.open("rb") as file:
        start = file.read(9)
    # torch.save's archive, or a bare pickle. A safetensors file may begin with the same bytes (it begins with the length of
    # its header, 8 bytes), but its header then opens a brace.
    if start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
        raise _refuse_pickle(weights)
    return manifest


def find(place: str | Path, report: Callable[[str], None], last: bool = False) -> Path:
    """The checkpoint that `place` names, verified.

    Args:
        place: a run folder (its best checkpoint, or its last where none was evaluated), `RUN:last`, or a checkpoint folder.
        report: told of a damaged checkpoint and which one is used in its place.
        last: take a run's latest checkpoint, as `:last` does.

    Raises:
        RequestError: there is no such run or checkpoint, or it is of another format.
        SeqgenError: every checkpoint is damaged.
    """
    text = str(place)
    folder = Path(text.removesuffix(":last")) if not Path(text).exists() else Path(text)
    last = last or text != str(folder)
    if (folder / "checkpoints").is_dir():
        return _first_good(_ordered(folder / "checkpoints", last), report)
    if not folder.is_dir() or not any((folder / name).exists() for name in ("manifest.json", "model.safetensors", *_PICKLES)):
        what = "is neither a run nor a checkpoint" if folder.exists() else "does not exist"
        raise RequestError(f"{folder} {what}. Give a run folder (runs/...), RUN:last, or a folder checkpoints/step-N of a run.")
    siblings = _ordered(folder.parent, last=True) if folder.parent.name == "checkpoints" else []
    names = [sibling.name for sibling in siblings]
    return _first_good([folder, *siblings[names.index(folder.name) + 1 :]] if folder.name in names else [folder], report)


def ranked(checkpoints: Path) -> list[Path]:
    """A run's evaluated steps, the best first."""
    pairs = [(folder, manifest) for folder, manifest in _manifests(checkpoints) if manifest and folder.name.startswith("step-")]
    evaluated = [pair for pair in pairs if pair[1].merit > float("-inf")]
    return [folder for folder, _ in sorted(evaluated, key=_rank, reverse=True)]


def has_any(run: Path) -> bool:
    """Whether the run has a checkpoint to go on from."""
    return any((run / "checkpoints").glob("step-*"))


def read_state(folder: Path) -> dict[str, Any]:
    """The contents of training.pt, on the CPU.

    Raises:
        SeqgenError: it cannot be read; anything but tensors and plain types is refused.
    """
    try:
        return torch.load(folder / "training.pt", map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RequestError(
            f"{folder} holds weights only; training cannot go on from it. Start from them with init_from=."
        ) from error
    except Exception as error:  # torch names many reasons, none of which a user can act on
        raise SeqgenError(
            f"{folder}/training.pt cannot be read as tensors and plain types ({str(error).splitlines()[0]})."
        ) from error


def _ordered(checkpoints: Path, last: bool) -> list[Path]:
    """Checkpoints from the one wanted down; those whose manifest cannot be read stand first, so that they are reported."""
    pairs = list(_manifests(checkpoints))
    unreadable = [folder for folder, manifest in pairs if manifest is None]
    known = [(folder, manifest) for folder, manifest in pairs if manifest is not None]
    if last:
        steps = [pair for pair in known if pair[0].name.startswith("step-")]
        return unreadable + [folder for folder, _ in sorted(steps, key=lambda pair: pair[1].step, reverse=True)]
    return unreadable + [folder for folder, _ in sorted(known, key=_rank, reverse=True)]


def _rank(pair: tuple[Path, Manifest]) -> tuple[float, int]:
    return (pair[1].merit, pair[1].step)


def _manifests(checkpoints: Path) -> Iterator[tuple[Path, Manifest | None]]:
    for folder in sorted(checkpoints.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            try:
                yield folder, _read_manifest(folder)
            except RequestError:
                raise
            except SeqgenError:
                yield folder, None


def _first_good(candidates: list[Path], report: Callable[[str], None]) -> Path:
    problem = ""
    for folder in candidates:
        try:
            verify(folder)
        except RequestError:
            raise
        except SeqgenError as error:
            if problem:
                report(f"{problem}.")
            problem = str(error)
            continue
        if problem:
            report(f"{problem}; using {folder.name}.")
        return folder
    raise SeqgenError(f"{problem}, and there is no other to use." if problem else "The run has no checkpoint yet.")


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["format"]
        manifest = Manifest(**values) if version == FORMAT else None
    except FileNotFoundError as error:
        raise _damaged(folder, "manifest.json is missing") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, "manifest.json cannot be read") from error
    if manifest is None:
        raise RequestError(
            f"{folder} has checkpoint format {version}; this seqgen reads format {FORMAT}. Use the seqgen that wrote it."
        )
    return manifest


def _damaged(folder: Path, reason: str) -> SeqgenError:
    return SeqgenError(f"{folder} is damaged ({reason})")


def _refuse_pickle(path: Path) -> RequestError:
    return RequestError(
        f"{path} is a pickle, which can run any code when it is opened; seqgen reads weights as safetensors only."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
