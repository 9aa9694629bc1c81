"""Lines of UTF-8 files, plain or gzipped: read, counted, paired off."""

import gzip
import hashlib
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import IO

from seqgen_cli.data.corpora.base import Pair
from seqgen_cli.errors import RequestError, counted


def aligned(sources: Iterable[str], targets: Iterable[str], source_name: str, target_name: str) -> Iterator[Pair]:
    """Pair lines off; RequestError with both counts when one side ends first, or when both are empty."""
    sources, targets = iter(sources), iter(targets)
    count = 0
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            rest = 1 + sum(1 for _ in (targets if source is None else sources))
            longer = count + rest
            lines = (count, longer) if source is None else (longer, count)
            raise _ragged(source_name, target_name, *lines)
        count += 1
        yield source, target
    if not count:
        raise RequestError(f"{source_name} and {target_name} are empty: a corpus needs at least one pair of lines.")


def check_aligned(source: Path, target: Path) -> None:
    """Count the lines of two files before any work on them; what can be read only once (a pipe) is left alone.

    Raises:
        RequestError: their numbers differ, or one cannot be read.
    """
    if source.is_file() and target.is_file():
        lines = count_lines(source), count_lines(target)
        if lines[0] != lines[1]:
            raise _ragged(str(source), str(target), *lines)


def count_lines(path: Path) -> int:
    """Lines of a plain or gzipped file; the last may lack its end."""
    count, last = 0, b"\n"
    with open_text(path) as file:
        for block in _undamaged(iter(lambda: file.read(1 << 20), b""), str(path)):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _ragged(source_name: str, target_name: str, source_lines: int, target_lines: int) -> RequestError:
    return RequestError(
        f"{source_name} has {counted(source_lines, 'line')} but {target_name} has {target_lines:,}: "
        "each line of one needs its line in the other."
    )


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file without their ends; \\r\\n and a byte order mark are accepted; only \\n ends a line."""
    with open_text(path) as file:
        yield from decoded(file, str(path))


def decoded(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Decode lines of bytes; RequestError names the file and the line that is not UTF-8, or the file that is damaged."""
    for number, line in enumerate(_undamaged(file, name), 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(
                f"{name}, line {number:,}: not valid UTF-8 (byte 0x{line[error.start]:02x} at position {error.start}). "
                "Convert the file to UTF-8 first."
            ) from None
        yield text.removesuffix("\n").removesuffix("\r")


def _undamaged(file: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The same lines; what a damaged compressed file raises becomes a RequestError."""
    try:
        yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError) as error:
        raise RequestError(f"{name} is damaged or cut short ({error}): fetch it again.") from None


def open_text(path: Path) -> IO[bytes]:
    """Open a plain or gzipped file for reading bytes; RequestError when it cannot be."""
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist (looked for it in {Path.cwd()}).") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.") from None


def content_hash(paths: Iterable[Path], settings: Mapping[str, object]) -> str:
    """SHA-256 of settings and of the files' bytes, read in pieces; file names and places do not count."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise RequestError(f"{path} does not exist (looked for it in {Path.cwd()}).") from None
        except OSError as error:
            raise RequestError(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest()
