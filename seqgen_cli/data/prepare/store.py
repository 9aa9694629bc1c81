"""Folders in the cache that are either whole or absent, and ragged arrays kept in them.

A folder is built under another name, listed in a manifest with the size of each file, flushed, and renamed: a crash
leaves nothing that could be taken for whole. A lock makes a second process wait and use what the first one built; where a
file system has no locks, both build and the first rename wins.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout

from seqgen_cli.errors import RequestError, SeqgenError

MANIFEST = "manifest.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def key(*parts: object) -> str:
    """A short hash of JSON-able parts, for folder names."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def once(folder: Path, build: Callable[[Path], None], report: Callable[[str], None] = lambda line: None) -> Path:
    """Make sure that `folder` is there and whole, building it at most once among all processes.

    Args:
        folder: where the result stands. Its parent is the cache.
        build: fills an empty folder; called only when `folder` is absent or damaged.
        report: told about waiting and rebuilding.

    Raises:
        SeqgenError: the disk is full. RequestError: the cache cannot be written to.
    """
    if is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _Lock(folder, report):
            if not is_whole(folder):
                if folder.exists():
                    report(f"{folder} is damaged or unfinished; building it again.")
                    shutil.rmtree(folder)
                _build(folder, build)
    except OSError as error:
        raise explained(error, folder.parent) from error
    return folder


def is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there with its size."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    """Build next to the final place and rename. What an earlier crash left under this name is removed first."""
    for stale in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir()
        build(temporary)
        sizes = {path.relative_to(temporary).as_posix(): path.stat().st_size for path in temporary.rglob("*") if path.is_file()}
        (temporary / MANIFEST).write_text(json.dumps(sizes, indent=1))
        for path in temporary.rglob("*"):
            if path.is_file():
                flush(path)
        try:
            temporary.rename(folder)
        except OSError:
            if not is_whole(folder):  # otherwise another process was first: its result is as good
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush(path: Path) -> None:
    """See a file, or a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explained(error: OSError, cache: Path) -> SeqgenError:
    if error.errno in _FULL:
        return SeqgenError(f"No space is left for prepared data in {cache}. Free some, or set runtime.cache_folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return RequestError(f"Prepared data cannot be written to {cache}: {error.strerror}. Set runtime.cache_folder.")
    return SeqgenError(f"Preparing data in {cache} failed: {error}.")


class _Lock:
    """The lock of one cache folder; says so when it has to wait, and goes without where locks are not supported."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self._lock = FileLock(folder.parent / f".{folder.name}.lock")
        self._name, self._report = folder.name, report

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0.5)
        except Timeout:
            self._report(f"Waiting for another process that is preparing {self._name}.")
            self._lock.acquire()
        except NotImplementedError:
            return

    def __exit__(self, *raised: object) -> None:
        self._lock.release()


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array's bytes. (`ndarray.tofile` hides the error number of a full disk.)"""
    file.write(np.ascontiguousarray(array).data)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array's bytes to a file of its own."""
    with path.open("wb") as file:
        write_array(file, array)


class RaggedWriter:
    """Appends rows of one dtype to NAME.data, and where each row ends to NAME.offsets (int64, from 0).

    Plain writes, not memory maps: a full disk is then an error that can be reported, not a bus error.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._data, self._offsets = (folder / f"{name}.data").open("wb"), (folder / f"{name}.offsets").open("wb")
        write_array(self._offsets, np.zeros(1, np.int64))
        self._end = 0

    def append(self, flat: np.ndarray, lengths: np.ndarray) -> None:
        """Add rows given as one flat array and the length of each."""
        write_array(self._data, flat)
        ends = self._end + np.cumsum(lengths, dtype=np.int64)
        write_array(self._offsets, ends)
        self._end += int(lengths.sum())

    def close(self) -> None:
        self._data.close()
        self._offsets.close()


class Ragged:
    """Rows of unequal length in a memory-mapped file; opened at first use, and again in each process it is sent to."""

    def __init__(self, folder: Path, name: str, dtype: str) -> None:
        self._folder, self._name, self._dtype = folder, name, dtype
        self._open()

    def _open(self) -> None:
        self.offsets = _memory_map(self._folder / f"{self._name}.offsets", "int64")
        self.data = _memory_map(self._folder / f"{self._name}.data", self._dtype)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.data[self.offsets[row] : self.offsets[row + 1]]

    def lengths(self) -> np.ndarray:
        """Length of each row, int64."""
        return np.diff(self.offsets)

    def __getstate__(self) -> tuple[Path, str, str]:
        return self._folder, self._name, self._dtype

    def __setstate__(self, state: tuple[Path, str, str]) -> None:
        self._folder, self._name, self._dtype = state
        self._open()


class TextWriter:
    """Writes lines as UTF-8 rows of a ragged array."""

    def __init__(self, folder: Path, name: str) -> None:
        self._rows = RaggedWriter(folder, name)

    def append(self, lines: Iterable[str]) -> None:
        rows = [line.encode("utf-8") for line in lines]
        flat = np.frombuffer(b"".join(rows), np.uint8)
        self._rows.append(flat, np.fromiter(map(len, rows), np.int64, len(rows)))

    def __enter__(self) -> TextWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self._rows.close()


class Text(Sequence[str]):
    """Lines kept in a ragged array of UTF-8 bytes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._rows = Ragged(folder, name, "uint8")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        return self._rows[row].tobytes().decode("utf-8")


def _memory_map(path: Path, dtype: str) -> np.ndarray:
    """A read-only view of a file; an empty file (which cannot be mapped) gives an empty array.

    As a plain array, not as np.memmap, whose every slice costs 5 microseconds more.
    """
    return np.memmap(path, dtype, "r").view(np.ndarray) if path.stat().st_size else np.zeros(0, dtype)
