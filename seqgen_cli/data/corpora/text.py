"""Any text files on disk, parallel or of one side."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from seqgen_cli.data.corpora.base import SIDES, Mixture, Pair, Row, RunningText
from seqgen_cli.data.corpora.lines import aligned, content_hash, read_lines
from seqgen_cli.errors import RequestError, counted


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


class TextCorpus:
    """Any parallel text files, or files of one side; several corpora at once, each with its weight.

    A parallel corpus is named either by a prefix, `corpus/train` meaning corpus/train.ja and corpus/train.en (or the same
    with .gz), or by its two files, `{source: a.txt, target: b.txt}`; one without a source by the file itself, by a prefix,
    or as `{target: b.txt}`.

    Args:
        source_language, target_language: language tags ("ja", "zh_Hans"): the files' endings, and what metrics go by. Without
            a source language there is one side, and prefixes alone need the target's.
        train, valid, test: one corpus or a list of corpora, read one after the other; None = no such split.
        weights: one number, 0.001 to 1000, for each corpus of `train`: how many times an epoch passes over it. A fraction is
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
        weights: list[Annotated[float, Ge(0.001), Le(1000)]] | None = None,
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
        if parts and len(self._weights) != parts:
            raise RequestError(
                f"data.weights has {counted(len(self._weights), 'number')} where data.train has {parts}: give one to each corpus."
            )

    @property
    def split_names(self) -> list[str]:
        return list(self._files)

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
