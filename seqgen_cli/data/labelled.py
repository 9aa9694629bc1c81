"""Texts with a class each: what their corpora promise, their class names, and a split as a classifier reads it.

Shapes: B texts, S word pieces, E encoder size, C classes, n examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge, Gt

from seqgen_cli.data.batch import Batch, pad
from seqgen_cli.data.features import Encode, FeatureStore, FeatureType, Rows, check_room, key_of
from seqgen_cli.data.store import Ragged, Text
from seqgen_cli.errors import SeqgenError

Example = tuple[str, str]
"""A text and the name of its class."""


@runtime_checkable
class LabelledCorpus(Protocol):
    """Named splits of texts, each with the name of its class."""

    def fingerprint(self) -> str:
        """A hash of everything that decides which examples `labelled_splits` yields."""
        ...

    def class_names(self) -> Sequence[str] | None:
        """The classes in order, or None: those found in training, sorted."""
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
        features_dtype: how they are kept; see data/features.py for the error of each.
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


class Labels:
    """The classes of a corpus, in order; stands where a generator's target tokenizer does.

    Args:
        names: two or more, all different.

    Raises:
        SeqgenError: fewer, or twice the same.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) < 2 or len(set(names)) < len(names):
            raise SeqgenError(f"A classifier needs two or more different classes, not {list(names)}.")
        self.names = list(names)
        self.vocab_size = len(self.names)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()

    def save(self, folder: Path, name: str) -> None:
        """Write FOLDER/NAME.json."""
        (folder / f"{name}.json").write_text(json.dumps(self.names, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, name: str) -> Labels:
        """Read FOLDER/NAME.json."""
        path = folder / f"{name}.json"
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SeqgenError(f"The class names {path} cannot be read ({error}).") from error
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise SeqgenError(f"{path} is not a list of class names.")
        return cls(names)


class LabelledDataset:
    """A split of labelled texts, read from the cache; with features attached, batches hold them in place of ids.

    Args:
        name: "train", "valid" or "test".
        folder: of prepare_labelled. labels_n: (n,) class of each text. text: as stored. pad_id: filler.
    """

    epochs_alike = True

    def __init__(self, name: str, folder: Path, text: Text, labels_n: np.ndarray, pad_id: int) -> None:
        self.name = name
        self.tokens = Ragged(folder, f"{name}.ids", "int32")
        self.labels_n = labels_n
        self._text, self._pad = text, pad_id
        self._features: FeatureStore | None = None

    def __len__(self) -> int:
        return len(self.labels_n)

    @cached_property
    def source_lengths_n(self) -> np.ndarray:
        """(n,) int32: word pieces, [CLS] and [SEP] included."""
        return self.tokens.lengths().astype(np.int32)

    @property
    def target_lengths_n(self) -> None:
        return None

    @property
    def lengths_nk(self) -> np.ndarray:
        """(n, 1): what batching goes by."""
        return self.source_lengths_n[:, None]

    def examples_of_epoch(self, epoch: int, seed: int) -> np.ndarray:
        """Every example, in every epoch."""
        return np.arange(len(self))

    def batch(self, indices: Sequence[int] | np.ndarray, epoch: int | None = None) -> Batch:
        """Collate examples: ids and lengths (or, where all of them are encoded, features and lengths), and the class of each."""
        rows = [self.tokens[int(index)] for index in indices]
        index_B = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        labels_B = torch.from_numpy(self.labels_n[np.asarray(indices)].astype(np.int64))
        keys = [key_of(row) for row in rows] if self._features is not None else []
        if self._features is not None and all(key in self._features for key in keys):
            lengths_B = torch.tensor([len(row) for row in rows])
            features_BSE = self._features.read(keys)
            return Batch(index_B, source_lengths_B=lengths_B, labels_B=labels_B, features_BSE=features_BSE)
        source_BS, lengths_B = pad(rows, self._pad)
        return Batch(index_B, source_BS, lengths_B, labels_B=labels_B)

    def source_lines(self, indices: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """The text of some examples, or of all, in order."""
        return [self._text[int(index)] for index in (range(len(self)) if indices is None else indices)]

    def attach(
        self,
        store: FeatureStore,
        encode: Encode,
        limit_gb: float,
        report: Callable[[str], None] = lambda line: None,
        indices: Sequence[int] | None = None,
    ) -> None:
        """Encode what `store` does not hold yet, and read features from it from now on, unless they exceed the limit.

        Args:
            limit_gb: the most that the features of all examples may take in the store.
            indices: encode these examples only; None: all.
        """
        total = store.tokens * store.width + store.missing_bytes(self.tokens)
        if total > limit_gb * 1e9:
            report(
                f"{self.name}: features would take {total / 1e9:.1f} GB, above data.features_limit={limit_gb:g}, so these texts "
                "are encoded anew every epoch. data.features_dtype=int8 takes half of fp16."
            )
            return
        rows: Rows = self.tokens if indices is None else [self.tokens[int(index)] for index in indices]
        check_room(store.folder, store.missing_bytes(rows))
        store.encode(rows, encode, self.name, report)
        self._features = store
