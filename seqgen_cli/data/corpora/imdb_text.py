"""The reviews of the Large Movie Review Dataset as plain text, for language models: one review a line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from seqgen_cli.data.corpora.base import Row, RunningText
from seqgen_cli.data.corpora.imdb import Archive
from seqgen_cli.data.corpora.labelled import limited
from seqgen_cli.data.corpora.lines import content_hash
from seqgen_cli.errors import RequestError


@dataclass(frozen=True)
class ImdbText:
    """The reviews of data=imdb, in the same splits, without their classes; white space and line breaks are one space.

    Args:
        archive, url, sha256, expected_reviews, cache_folder: see data.imdb.Archive.
        valid_share: part of the labelled training reviews that validates.
        unlabelled: whether the reviews without a class, 50,000 in the official archive, train too, after the others.
        limit: the most reviews of each split, drawn by `split_seed`; None: all.
        split_seed: names the random cut into training and validation, and what `limit` keeps.
        block, context: of a RunningText.

    Raises:
        RequestError: the archive is missing, is none, or lacks what is asked for.
    """

    source_language: ClassVar[None] = None
    target_language: ClassVar[str] = "en"

    archive: str | None = None
    url: str = ""
    sha256: str | None = None
    valid_share: Annotated[float, Gt(0), Lt(1)] = 0.1
    expected_reviews: Annotated[int, Ge(1)] | None = 25_000
    unlabelled: bool = False
    limit: Annotated[int, Ge(1)] | None = None
    split_seed: Annotated[int, Ge(0)] = 1
    block: Annotated[int, Ge(1)] | None = 128
    context: Annotated[int, Ge(0)] = 32
    cache_folder: Path = Path("cache")

    @property
    def running(self) -> RunningText:
        return RunningText(self.block, self.context)

    def fingerprint(self) -> str:
        settings = [self.valid_share, self.unlabelled, self.limit, self.split_seed]
        return content_hash([self._archive.path], {"corpus": "imdb_text", "settings": settings})

    def splits(self) -> Mapping[str, Iterable[Row]]:
        whole = self._archive.splits(self.valid_share, self.split_seed)
        if self.unlabelled:
            if not self._archive.reviews["unsup"]:
                raise RequestError(f"{self._archive.path} has no unlabelled reviews (train/unsup): set data.unlabelled=false.")
            whole["train"] += self._archive.reviews["unsup"]
        kept = {split: limited(examples, self.limit, self.split_seed, split) for split, examples in whole.items()}
        return {split: [(" ".join(text.split()),) for text, _ in examples] for split, examples in kept.items()}

    @cached_property
    def _archive(self) -> Archive:
        return Archive(self.archive, self.url, self.sha256, self.expected_reviews, self.cache_folder, self.unlabelled)
