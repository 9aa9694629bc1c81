"""What comes of a command: the sentence for its failure, and the files of its figures."""

import errno
import json
from pathlib import Path
from typing import Any

from seqgen_cli.errors import RequestError, SeqgenError

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "no such file or folder",
}


def sentence(error: BaseException) -> str:
    """What to tell the user of a failure."""
    if isinstance(error, SeqgenError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return (
            "out of memory. Use smaller batches (batching.*) with trainer.accumulate, a smaller model, or runtime.precision=bf16."
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{_DISK[error.errno]}."
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return f"unexpected {type(error).__name__}: {first} (--debug shows where)"


def file_to_write(flag: str, name: str | None) -> Path | None:
    """The file that a flag asks to write, refused before any work where that cannot be."""
    if name is not None and not Path(name).absolute().parent.is_dir():
        raise RequestError(f"{flag} {name}: its folder does not exist.")
    return Path(name) if name is not None else None


def write_figures(place: Path, figures: Any) -> None:
    """Write the figures as JSON; a reader never sees half a file."""
    temporary = place.with_name(f".{place.name}.part")
    temporary.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(place)
