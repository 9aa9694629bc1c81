"""A split as one stream of tokens, read in blocks: every token is predicted once, however long the lines are.

Shapes: n blocks, B blocks of a batch, k = 1 side.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from seqgen_cli.data.batch import Batch, make_block_batch
from seqgen_cli.data.dataset import Side, Weighted


class BlockDataset(Weighted):
    """The lines of a split, each ending in `</s>`, one after the other; example i predicts tokens i * block .. (i+1) * block - 1
    of that stream, the last one what is left.

    A model reads of an example the token before its first, `<s>` at the beginning of the stream, and up to `context` more
    before that. Pickles without its contents; workers open the files anew.

    Args:
        name: "train", "valid" or "test".
        target: the lines and their ids.
        parts: lines of each corpus that the split is made of; weights: passes over each in an epoch. A block belongs to the
            corpus of its first token.
        block, context: in tokens.
    """

    noun = "block"  # what people call an example

    def __init__(self, name: str, target: Side, parts: Sequence[int], weights: Sequence[float], block: int, context: int) -> None:
        self._target, self._block, self._context = target, block, context
        # Where each line starts in the stream, and where the stream ends: a `</s>` for each line before.
        self._starts = target.tokens.offsets + np.arange(len(target.tokens.offsets))
        ends = self._starts[np.cumsum(parts)]
        super().__init__(name, np.diff(-(-ends // block), prepend=0).tolist(), weights)

    @property
    def source_lengths_n(self) -> None:
        return None

    @cached_property
    def target_lengths_n(self) -> np.ndarray:
        """(n,) int32: tokens predicted."""
        starts_n, ends_n = self._spans(np.arange(len(self)))
        return (ends_n - starts_n).astype(np.int32)

    @cached_property
    def lengths_nk(self) -> np.ndarray:
        """(n, 1) int32: tokens read, context included; what batching goes by."""
        starts_n, ends_n = self._spans(np.arange(len(self)))
        return (ends_n - starts_n + np.minimum(starts_n, self._context)).astype(np.int32)[:, None]

    def batch(self, indices: Sequence[int] | np.ndarray, epoch: int | None = None) -> Batch:
        """Collate blocks, numbered as by `examples_of_epoch`; they are the same in every epoch."""
        starts_B, ends_B = self._spans(self.examples(indices))
        context_B = np.minimum(starts_B, self._context)
        windows = [self._stream(*span) for span in zip(starts_B - context_B - 1, ends_B, strict=True)]
        return make_block_batch(indices, windows, context_B, self._target.tokenizer.pad)

    def target_characters(self, limit: int | None = None) -> int | None:
        """Characters of the lines; None of a part of the blocks, whose ends are not those of lines."""
        return sum(map(len, self._target.lines())) if limit is None else None

    def _spans(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first token that each of these blocks predicts, and the end of them."""
        starts = blocks * self._block
        return starts, np.minimum(starts + self._block, self._starts[-1])

    def _stream(self, start: int, end: int) -> np.ndarray:
        """Tokens start .. end - 1 of the stream; token -1 is `<s>`."""
        places = np.arange(max(0, start), end)
        lines = np.searchsorted(self._starts, places, side="right") - 1
        ids = np.full(len(places), self._target.tokenizer.eos, np.int64)
        inside = places < self._starts[lines + 1] - 1
        ids[inside] = self._target.tokens.data[(places - lines)[inside]]
        return np.concatenate([[self._target.tokenizer.bos], ids]) if start < 0 else ids
