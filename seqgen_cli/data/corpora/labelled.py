"""Texts with a class each: what their corpora promise, and the settings that they share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from annotated_types import Ge, Gt

from seqgen_cli.data.prepare.features import FeatureType

Example = tuple[str, str]
"""A text and the name of its class."""


@runtime_checkable
class LabelledCorpus(Protocol):
    """Named splits of texts, each with the name of its class.

    It may have two attributes that reading the files gives: `notes`, what people should know of how they were read, line by
    line; and `found_names`, all the classes there are in training, of which a split drawn from it may lack some.
    """

    def fingerprint(self) -> str:
        """A hash of everything that decides which examples `labelled_splits` yields."""
        ...

    def class_names(self) -> Sequence[str] | None:
        """The classes in order, where they are known before anything is read; None: those found in training."""
        ...

    def labelled_splits(self) -> Mapping[str, Iterable[Example]]:
        """The examples of each split there is ("train", "valid", "test"); each may be iterated more than once."""
        ...


@dataclass(frozen=True)
class LabelledData:
    """Settings that every labelled corpus shares.

    Args:
        limit: the most examples of each split, drawn by `split_seed`; None: all.
        split_seed: names the random cut into training and validation, and what `limit` keeps.
        features: where the outputs of a frozen encoder are kept, so that each text is encoded once.
        features_dtype: how they are kept; see data/prepare/features.py for the error of each.
        features_limit: the most they may take, GB; a split beyond it is encoded anew every epoch.
    """

    limit: Annotated[int, Ge(1)] | None = None
    split_seed: Annotated[int, Ge(0)] = 1
    features: Literal["disk", "memory", "none"] = "disk"
    features_dtype: FeatureType = "fp16"
    features_limit: Annotated[float, Gt(0)] = 20.0

    def limited(self, examples: Sequence[Example], split: str) -> Sequence[Example]:
        """At most `limit` of the examples, drawn at random."""
        return limited(examples, self.limit, self.split_seed, split)


def limited(examples: Sequence[Example], limit: int | None, split_seed: int, split: str) -> Sequence[Example]:
    """At most `limit` of a split's examples, drawn at random."""
    if limit is None or limit >= len(examples):
        return examples
    return [examples[index] for index in shuffled(len(examples), split_seed, f"limit {split}")[:limit]]


def shuffled(count: int, seed: int, purpose: str) -> np.ndarray:
    """0 .. count - 1 in a random order that depends on the seed and on what it is for."""
    return np.random.default_rng([seed, *purpose.encode()]).permutation(count)
