"""The Large Movie Review Dataset (Maas et al. 2011), read in place from its archive: 25,000 reviews to train, 25,000 to test.

Nothing is unpacked: members are read as a stream, so no name in an archive can write anywhere.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from seqgen_cli.data.corpora.download import download
from seqgen_cli.data.corpora.labelled import Example, LabelledData, shuffled
from seqgen_cli.data.corpora.lines import content_hash
from seqgen_cli.errors import RequestError

_MEMBER = re.compile(r"(?:.*/)?(train|test)/(pos|neg|unsup)/(\d+_\d+)\.txt")
_NAMES = {"neg": "negative", "pos": "positive"}
_LINE_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)


@dataclass(frozen=True)
class Imdb(LabelledData):
    """The archive's training reviews cut into train and valid, and its test reviews.

    Args (besides those of LabelledData):
        archive, url, sha256, expected_reviews, cache_folder: see Archive.
        valid_share: part of the training reviews that validates.

    Raises:
        RequestError: the archive is missing, is none, or holds another number of reviews.
    """

    archive: str | None = None
    url: str = ""
    sha256: str | None = None
    valid_share: Annotated[float, Gt(0), Lt(1)] = 0.3
    expected_reviews: Annotated[int, Ge(1)] | None = 25_000
    cache_folder: Path = Path("cache")

    def fingerprint(self) -> str:
        settings = {"corpus": "imdb", "limit": self.limit, "split_seed": self.split_seed, "valid_share": self.valid_share}
        return content_hash([self._archive.path], settings)

    def class_names(self) -> Sequence[str]:
        return list(_NAMES.values())

    def labelled_splits(self) -> Mapping[str, Sequence[Example]]:
        whole = self._archive.splits(self.valid_share, self.split_seed)
        return {split: self.limited(examples, split) for split, examples in whole.items()}

    @cached_property
    def _archive(self) -> Archive:
        return Archive(self.archive, self.url, self.sha256, self.expected_reviews, self.cache_folder)


@dataclass(frozen=True)
class Archive:
    """The data set's archive.

    Args:
        archive: its path, or that of any tar in its layout, however packed; None = download it once.
        url, sha256: where from, and what the download must be.
        expected_reviews: labelled reviews it must hold for training, and for testing; None = any number.
        cache_folder: where the download is kept.
        unlabelled: whether to read the reviews without a class too.
    """

    archive: str | None
    url: str
    sha256: str | None
    expected_reviews: int | None
    cache_folder: Path
    unlabelled: bool = False

    @cached_property
    def path(self) -> Path:
        """The archive, fetched if need be."""
        if self.archive is None:
            return download(self.url, self.cache_folder / "downloads", self.sha256)
        if not Path(self.archive).is_file():
            raise RequestError(f"data.archive={self.archive} does not exist (looked for it in {Path.cwd()}).")
        return Path(self.archive)

    def splits(self, valid_share: float, split_seed: int) -> dict[str, list[Example]]:
        """The labelled reviews: train cut into train and valid, and test."""
        train, test = self.reviews["train"], self.reviews["test"]
        order = shuffled(len(train), split_seed, "valid")
        cut = round(len(train) * (1 - valid_share))
        return {"train": [train[i] for i in order[:cut]], "valid": [train[i] for i in order[cut:]], "test": test}

    @cached_property
    def reviews(self) -> dict[str, list[Example]]:
        """Each part's reviews, sorted by their names: the order in which an archive was packed does not count. Those
        without a class, if there are any and they are wanted, are the part "unsup"."""
        found: dict[str, list[tuple[str, str, Example]]] = {"train": [], "test": [], "unsup": []}
        for part, kind, name, text in _members(self.path, [*_NAMES, "unsup"] if self.unlabelled else list(_NAMES)):
            found[kind if kind == "unsup" else part].append((kind, name, (text, _NAMES.get(kind, ""))))
        for part in ("train", "test"):
            count, wanted = len(found[part]), self.expected_reviews
            if not count or (wanted is not None and count != wanted):
                told = "aclImdb_v1.tar.gz" if wanted is None else f"aclImdb_v1.tar.gz, which has {wanted:,}"
                raise RequestError(
                    f"{self.path} holds {count:,} labelled reviews to {part}: is it {told}? "
                    "It must hold aclImdb/{train,test}/{pos,neg}/ID_RATING.txt; data.expected_reviews=null takes any number."
                )
        return {part: [example for _, _, example in sorted(examples)] for part, examples in found.items()}


def _members(archive: Path, kinds: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Part, kind, name and text of each review of these kinds in the archive."""
    try:
        with tarfile.open(archive) as tape:
            for member in tape:
                place = _MEMBER.fullmatch(member.name)
                if place and place[2] in kinds and member.isfile():
                    file = tape.extractfile(member)
                    assert file is not None
                    text = file.read().decode("utf-8")
                    yield place[1], place[2], place[3], _LINE_BREAK.sub("\n", text).strip()
    except UnicodeDecodeError:
        raise RequestError(f"{archive}: {member.name} is not UTF-8.") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RequestError(f"{archive} is not a whole tar archive ({error}): fetch it again.") from None
