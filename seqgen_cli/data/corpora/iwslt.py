"""IWSLT 2017 Japanese-English TED talks, read in place from the campaign's archive (tgz or zip).

Nothing is unpacked: members are read as streams, so no name in an archive can write anywhere.
"""

import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Literal

from annotated_types import Ge

from seqgen_cli.data.corpora.base import Pair
from seqgen_cli.data.corpora.download import download
from seqgen_cli.data.corpora.lines import aligned, content_hash, decoded
from seqgen_cli.errors import RequestError

TEST_SETS = tuple(f"tst{year}" for year in range(2010, 2016))
TestSet = Literal["tst2010", "tst2011", "tst2012", "tst2013", "tst2014", "tst2015"]
_TAG_LINE = re.compile(r"\s*</?[a-z]+(?:\s[^>]*)?>")  # <url>, <title>, <talkid>, <reviewer href="...">, </doc> ...
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)(?:</seg>|(?=<seg\b)|(?=</doc>))", re.DOTALL | re.IGNORECASE)
_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9a-f]{1,6}));", re.IGNORECASE)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class IwsltJaEn:
    """The IWSLT 2017 archive: train.tags to train, dev2010 to validate, tst2010 .. tst2015 to test.

    Args:
        direction: languages translated from and into.
        test: test sets joined, in the order given; "all" = every one.
        archive: path of the archive; None = download.
        url: where to download from.
        sha256: what the download must have, if given.
        expected_pairs: training pairs that there must be; None = any number.
        cache_folder: where the download is kept.

    Raises:
        RequestError: the archive is missing, is none, or lacks a file; there are more or fewer training pairs.
    """

    def __init__(
        self,
        direction: Literal["ja-en", "en-ja"] = "ja-en",
        test: TestSet | Literal["all"] | list[TestSet] = "all",
        archive: str | None = None,
        url: str = "",
        sha256: str | None = None,
        expected_pairs: Annotated[int, Ge(1)] | None = 223_108,
        cache_folder: Path = Path("cache"),
    ) -> None:
        languages = direction.split("-")
        self.source_language: str | None = languages[0]
        self.target_language: str | None = languages[1]
        self._tests: list[str] = [*TEST_SETS] if test == "all" else [test] if isinstance(test, str) else [*test]
        self._archive, self._url, self._sha256 = archive, url, sha256
        self._expected, self._cache = expected_pairs, Path(cache_folder)

    def fingerprint(self) -> str:
        settings = {"corpus": "iwslt", "direction": f"{self.source_language}-{self.target_language}", "tests": self._tests}
        return content_hash([self._path], {**settings, "expected": self._expected})

    def splits(self) -> Mapping[str, Iterable[Pair]]:
        train = _Split(self._path, ["train.tags"], self._languages, self._expected)
        valid = _Split(self._path, ["dev2010"], self._languages)
        return {
            "train": train,
            "valid": valid,
            **({"test": _Split(self._path, self._tests, self._languages)} if self._tests else {}),
        }

    @property
    def _languages(self) -> tuple[str, str]:
        assert self.source_language and self.target_language
        return self.source_language, self.target_language

    @cached_property
    def _path(self) -> Path:
        """The archive, fetched if need be."""
        if self._archive is None:
            return download(self._url, self._cache / "downloads", self._sha256)
        if not Path(self._archive).is_file():
            raise RequestError(f"data.archive={self._archive} does not exist (looked for it in {Path.cwd()}).")
        return Path(self._archive)


@dataclass(frozen=True)
class _Split:
    """Some of the archive's sets, read one after the other."""

    archive: Path
    sets: list[str]
    languages: tuple[str, str]
    expected: int | None = None

    def __iter__(self) -> Iterator[Pair]:
        count = 0
        for pair in chain.from_iterable(self._pairs(name) for name in self.sets):
            count += 1
            yield pair
        if self.expected is not None and count != self.expected:
            raise RequestError(
                f"{self.archive} has {count:,} training pairs, not the {self.expected:,} of IWSLT 2017: "
                "fetch it again, or set data.expected_pairs=null to use what it has."
            )

    def _pairs(self, name: str) -> Iterator[Pair]:
        """The pairs of one set; each side is read through its own handle, so that no stream is ever rewound."""
        members = [_member_pattern(name, language) for language in self.languages]
        read = _sentences if name == "train.tags" else _segments
        source_member, target_member = (_open_member(self.archive, member) for member in members)
        with source_member as (source, source_name), target_member as (target, target_name):
            yield from aligned(read(source, source_name), read(target, target_name), source_name, target_name)


def _member_pattern(name: str, language: str) -> re.Pattern[str]:
    """Matches the file name of a set's side, in an archive packed for either direction."""
    direction = r"\.(?:ja-en|en-ja)\."
    if name == "train.tags":
        return re.compile(rf"(?:.*/)?train\.tags{direction}{language}")
    return re.compile(rf"(?:.*/)?IWSLT17\.TED\.{name}{direction}{language}\.xml")


def _sentences(file: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of a train.tags file that are no tag lines (<url>, <title>, <talkid> ...)."""
    return (line.strip() for line in decoded(file, name) if not _TAG_LINE.match(line))


def _segments(file: Iterable[bytes], name: str) -> Iterator[str]:
    """What stands in <seg> elements, white space collapsed and entities resolved.

    These files are not quite XML: an ampersand may stand bare and an end tag may be missing, so no XML parser reads them all.
    """
    text = "\n".join(decoded(file, name))
    return (" ".join(_ENTITY.sub(_character, segment).split()) for segment in _SEGMENT.findall(text))


def _character(entity: re.Match[str]) -> str:
    named, decimal, hexadecimal = entity.groups()
    if named:
        return _NAMED[named.lower()]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else entity[0]


@contextmanager
def _open_member(archive: Path, pattern: re.Pattern[str]) -> Iterator[tuple[IO[bytes], str]]:
    """The first regular file of the archive whose path matches, as a stream, and its name for messages."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    if pattern.fullmatch(name):
                        with packed.open(name) as file:
                            yield file, f"{archive}: {name}"
                        return
        else:
            with tarfile.open(archive) as tape:
                for member in tape:
                    if member.isfile() and pattern.fullmatch(member.name):
                        extracted = tape.extractfile(member)
                        assert extracted is not None
                        yield extracted, f"{archive}: {member.name}"
                        return
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise RequestError(f"{archive} is not a whole tgz or zip archive ({error}): fetch it again.") from None
    raise RequestError(f"{archive} holds no file like {_readable(pattern)}: is it the Japanese-English archive of IWSLT 2017?")


def _readable(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.removeprefix("(?:.*/)?").replace("(?:ja-en|en-ja)", "ja-en").replace("\\", "")
