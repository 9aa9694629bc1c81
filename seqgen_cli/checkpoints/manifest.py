"""What a checkpoint says of itself, and whether its files are what it says."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from seqgen_cli.errors import RequestError, SeqgenError

FORMAT = 1
_REQUIRED = ("model.safetensors", "config.yaml")
PICKLES = ("model.bin", "pytorch_model.bin", "model.pt", "model.pth")


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


def verify(folder: Path) -> Manifest:
    """Read a checkpoint's manifest and check every file against it.

    Raises:
        RequestError: it has another format, or holds pickled weights.
        SeqgenError: it is damaged; the message names the file.
    """
    weights = folder / "model.safetensors"
    if not weights.exists():
        for name in PICKLES:
            if (folder / name).exists():
                raise _refuse_pickle(folder / name)
    manifest = read_manifest(folder)
    for name, digest in {**dict.fromkeys(_REQUIRED, ""), **manifest.files}.items():
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        if sha256(folder / name) != digest:
            raise _damaged(folder, f"{name}: SHA-256 differs from its manifest")
    with weights.open("rb") as file:
        start = file.read(9)
    # torch.save's archive, or a bare pickle. A safetensors file may begin with the same bytes (it begins with the length of
    # its header, 8 bytes), but its header then opens a brace.
    if start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
        raise _refuse_pickle(weights)
    return manifest


def read_manifest(folder: Path) -> Manifest:
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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
