"""Batches drawn at random, of unlike length: a choice of `batching` for accuracy.py."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge


@dataclass(frozen=True)
class RandomBatches:
    """`sentences` examples a batch in random order (as they stand, without a seed); the last one may have fewer."""

    sentences: Annotated[int, Ge(1)] = 128

    def plan(self, lengths_nk: np.ndarray, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
        count = len(lengths_nk)
        order = np.arange(count) if seed is None else np.random.default_rng([seed, epoch]).permutation(count)
        return np.split(order, range(self.sentences, count, self.sentences))
