"""Data ready to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Prepared:
    """Data ready to be read.

    Args:
        splits: "train", "valid" and "test", as far as the corpus has them: each a Dataset, or a LabelledDataset.
        source_tokenizer, target_tokenizer: TextTokenizers, one object when joint, the source's None where there is no
            source; for labelled texts the encoder's tokenizer, and the Labels in place of the target's.
        source_language, target_language: the corpus's.
        target_counts_V: int64, how often each target id occurs in training, `</s>` included, each pair counted once;
            None without a training split.
        fingerprint: a hash of all that a model can see of the data; equal only when training would be.
        report: what was done, in lines for people: rows dropped by each rule, sizes, unknown tokens.
        unknown_rates: of each split, the share of target tokens (`</s>` counted) that the vocabulary does not know.
    """

    splits: Mapping[str, Any]
    source_tokenizer: Any
    target_tokenizer: Any
    source_language: str | None
    target_language: str | None
    target_counts_V: np.ndarray | None
    fingerprint: str
    report: list[str]
    unknown_rates: Mapping[str, float] = field(default_factory=dict)
