"""Where text comes from: the Corpus protocol, and parallel text files on disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import IO, Annotated, Protocol, runtime_checkable

from annotated_types import Ge

from seqgen_cli.errors import RequestError

Pair = tuple[str, str]
"""One example: a source line and a target line, without line ends."""
Row = tuple[str, ...]
"""One example of any corpus: a Pair, or the target line alone."""
SIDES = ("source", "target")


@dataclass(frozen=True)
class RunningText:
    """How a corpus without a source is read whose lines are no sentences: no line is too long for training.

    Args:
        block: None: one example a line. Otherwise the lines of a split, each ending in `</s>`, are one stream, and an
            example is the next so many tokens of it.
        context: tokens before a block that are read and not scored.
    """

    block: int | None
    context: int


@runtime_checkable
class Corpus(Protocol):
    """Named splits of aligned lines, read as a stream: no corpus need fit in memory.

    A corpus of one side has no source_language, and its rows are target lines alone. It may have an attribute
    `running`, a RunningText or None.
    """

    source_language: str | None
    target_language: str | None

    def fingerprint(self) -> str:
        """A hash of everything that decides which lines `splits` yields: the files' bytes and the settings."""
        ...

    def splits(self) -> Mapping[str, Iterable[Row]]:
        """The rows of each split there is ("train", "valid", "test"); each may be iterated more than once."""
        ...


def sides_of(corpus: Corpus) -> tuple[str, ...]:
    """What a row of the corpus holds."""
    return SIDES[1:] if corpus.source_language is None else SIDES


def running_text(corpus: Corpus) -> RunningText | None:
    """The corpus's own `running`, if it has one."""
    return getattr(corpus, "running", None)


class TargetSide:
    """The target side of a corpus, for a model that reads no source."""

    source_language: str | None = None

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.target_language = corpus.target_language
        self.running = running_text(corpus)

    def fingerprint(self) -> str:
        return f"target side of {self._corpus.fingerprint()}"

    def splits(self) -> Mapping[str, Iterable[Row]]:
        return {name: self._of(rows) for name, rows in self._corpus.splits().items()}

    @staticmethod
    def _of(rows: Iterable[Row]) -> Iterable[Row]:
        if isinstance(rows, Mixture):
            return Mixture([_Targets(part) for part in rows.parts], rows.weights)
        return _Targets(rows)


@dataclass(frozen=True)
class _Targets:
    rows: Iterable[Row]

    def __iter__(self) -> Iterator[Row]:
        return (row[-1:] for row in self.rows)


class Mixture:
    """Several corpora read as one split, one after the other, each with the share of it that an epoch sees.

    Args:
        parts: the corpora, in order.
        weights: passes over each corpus in an epoch: 2 = every row twice; 0.5 = half of the rows, and the other
            half in the next epoch.
    """

    def __init__(self, parts: Sequence[Iterable[Row]], weights: Sequence[float]) -> None:
        self.parts = list(parts)
        self.weights = [float(weight) for weight in weights]

    def __iter__(self) -> Iterator[Row]:
        for part in self.parts:
            yield from part


@dataclass(frozen=True)
class ParallelFiles:
    """Two UTF-8 files aligned line by line (plain or .gz). Iterating yields pairs.

    Raises (while iterating):
        RequestError: a file is missing or not UTF-8, the line counts differ, or there is no line at all.
    """

    source: Path
    target: Path

    def __iter__(self) -> Iterator[Pair]:
        return aligned(read_lines(self.source), read_lines(self.target), str(self.source), str(self.target))

    @property
    def paths(self) -> list[Path]:
        return [self.source, self.target]


@dataclass(frozen=True)
class TargetFile:
    """One UTF-8 file (plain or .gz). Iterating yields its lines as rows of one side.

    Raises (while iterating):
        RequestError: it is missing, not UTF-8 or empty.
    """

    path: Path

    def __iter__(self) -> Iterator[Row]:
        empty = True
        for line in read_lines(self.path):
            empty = False
            yield (line,)
        if empty:
            raise RequestError(f"{self.path} is empty: a corpus needs at least one line.")

    @property
    def paths(self) -> list[Path]:
        return [self.path]


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
        f"{source_name} has {source_lines:,} lines but {target_name} has {target_lines:,}: "
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


class TextCorpus:
    """Any parallel text files, or files of one side; several corpora at once, each with its weight.

    A parallel corpus is named either by a prefix, `corpus/train` meaning corpus/train.ja and corpus/train.en (or the same
    with .gz), or by its two files, `{source: a.txt, target: b.txt}`; one without a source by the file itself, by a prefix,
    or as `{target: b.txt}`.

    Args:
        source_language, target_language: language codes ("ja", "en"): the files' endings, and what metrics go by. Without
            a source language there is one side, and prefixes alone need the target's.
        train, valid, test: one corpus or a list of corpora, read one after the other; None = no such split.
        weights: one number above 0 for each corpus of `train`: how many times an epoch passes over it. A fraction is
            taken without repetition: 0.3 shows three tenths of the examples, the next epoch the next three tenths.
            None = 1 each.
        block, context: of a RunningText; without a source only.
        reads_source: False leaves the source side unread.

    Raises:
        RequestError: a setting is missing or of another form, or a file does not exist.
    """

    def __init__(
        self,
        source_language: str | None = None,
        target_language: str | None = None,
        train: str | list[str | dict[str, str]] | dict[str, str] | None = None,
        valid: str | list[str | dict[str, str]] | dict[str, str] | None = None,
        test: str | list[str | dict[str, str]] | dict[str, str] | None = None,
        weights: list[float] | None = None,
        block: Annotated[int, Ge(1)] | None = None,
        context: Annotated[int, Ge(0)] = 0,
        reads_source: bool = True,
    ) -> None:
        self.source_language: str | None = source_language if reads_source else None
        self.target_language: str | None = target_language
        if self.source_language and not target_language:
            raise RequestError("data=text needs data.target_language beside data.source_language, for example ja and en.")
        self.running = None if block is None else RunningText(block, context)
        named = {"train": train, "valid": valid, "test": test}
        self._files = {name: self._locate(name, value) for name, value in named.items() if value}
        if not self._files:
            endings = " and ".join(f"corpus/train.{language}" for language in self._languages) or "the text in that file"
            raise RequestError(
                "data=text has no files: set data.train, data.valid and data.test, "
                f"for example data.train=corpus/train for {endings}."
            )
        parts = len(self._files.get("train", ()))
        self._weights = [1.0] * parts if weights is None else list(weights)
        if len(self._weights) != parts:
            raise RequestError(f"data.weights has {len(self._weights)} numbers for {parts} corpora in data.train: give one each.")
        if any(not 0 < weight < float("inf") for weight in self._weights):
            raise RequestError(f"data.weights={self._weights}: every weight must be above 0; leave a corpus out to ignore it.")

    def fingerprint(self) -> str:
        """Hash of the files' bytes. Weights and blocks do not count: they change how often and how lines are seen."""
        parts = {name: len(files) for name, files in self._files.items()}
        paths = [path for files in self._files.values() for each in files for path in each.paths]
        one_side = {} if self.source_language else {"sides": 1}
        return content_hash(paths, {"corpus": "text", "parts": parts, **one_side})

    def splits(self) -> Mapping[str, Iterable[Row]]:
        return {
            name: Mixture(files, self._weights if name == "train" else [1.0] * len(files)) for name, files in self._files.items()
        }

    @property
    def _languages(self) -> list[str]:
        return [language for language in (self.source_language, self.target_language) if language]

    def _locate(self, split: str, value: str | dict[str, str] | list[str | dict[str, str]]) -> list[ParallelFiles | TargetFile]:
        entries = [value] if isinstance(value, str | Mapping) else value
        return [self._part(split, entry) for entry in entries]

    def _part(self, split: str, entry: str | Mapping[str, str]) -> ParallelFiles | TargetFile:
        """The files of one corpus."""
        found: ParallelFiles | TargetFile
        if self.source_language is None:
            found = TargetFile(self._target(split, entry))
        elif isinstance(entry, str):
            found = ParallelFiles(*(_with_ending(entry, language) for language in self._languages))
        elif isinstance(entry, Mapping) and set(entry) == set(SIDES):
            found = ParallelFiles(*(Path(entry[side]) for side in SIDES))
        else:
            raise RequestError(f"data.{split}: {entry!r} is neither a prefix (corpus/train) nor {{source: FILE, target: FILE}}.")
        for path in found.paths:
            if not path.is_file():
                raise RequestError(f"data.{split}: {path} does not exist (looked for it in {Path.cwd()}).")
        return found

    def _target(self, split: str, entry: str | Mapping[str, str]) -> Path:
        """The file of a corpus without a source."""
        if isinstance(entry, Mapping) and "target" in entry and set(entry) <= set(SIDES):
            return Path(entry["target"])
        if not isinstance(entry, str):
            raise RequestError(f"data.{split}: {entry!r} is no file, no prefix (corpus/train) and not {{target: FILE}}.")
        if Path(entry).is_file():
            return Path(entry)
        if self.target_language is None:
            raise RequestError(
                f"data.{split}: there is no file {entry} (looked for it in {Path.cwd()}). A prefix of files needs "
                "data.source_language and data.target_language, for example ja and en; without a source, the latter."
            )
        return _with_ending(entry, self.target_language)


def _with_ending(prefix: str, language: str) -> Path:
    plain, packed = Path(f"{prefix}.{language}"), Path(f"{prefix}.{language}.gz")
    return packed if packed.is_file() and not plain.is_file() else plain
