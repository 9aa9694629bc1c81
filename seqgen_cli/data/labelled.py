"""A split of texts with a class each, as a classifier reads it: token ids or kept features, and labels.

Shapes: B texts, S word pieces, E encoder size, n examples.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from seqgen_cli.data.batch import Batch, pad
from seqgen_cli.data.prepare.features import Encode, FeatureStore, Rows, check_room, key_of
from seqgen_cli.data.prepare.store import Ragged, Text


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
