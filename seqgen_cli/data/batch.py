"""What a model reads: one mini-batch of token ids, padded on the right, with its true lengths.

Shapes: B examples, S source length, T target length, N real target positions of the batch, E feature size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Token ids of B examples; absent parts are None (a language model has no source, a classifier no target).

    index_B: which example of its data set each row is, so that order can be restored and noise drawn per example; in training
        its number in the epoch, which differs between copies of one example (Weighted.examples_of_epoch).
    source_BS, source_lengths_B: source ids, each ending in `</s>`; the true lengths, `</s>` included.
    inputs_BT, targets_BT, target_lengths_B: `<s> y1 ..` and `y1 .. </s>`.
    valid_N: flat indices into B x T of the target positions to predict, in row order: all real ones, or, where a text is
        read in blocks, those after a row's context. Made on the host, so that no shape on the device depends on data;
        what is not in it costs no vocabulary work.
    labels_B: the class of each example. features_BSE: cached encoder outputs in place of source ids.
    Masks come from lengths, never from comparing ids.
    """

    index_B: Tensor
    source_BS: Tensor | None = None
    source_lengths_B: Tensor | None = None
    inputs_BT: Tensor | None = None
    targets_BT: Tensor | None = None
    target_lengths_B: Tensor | None = None
    valid_N: Tensor | None = None
    labels_B: Tensor | None = None
    features_BSE: Tensor | None = None

    def __len__(self) -> int:
        return self.index_B.shape[0]

    @property
    def targets_N(self) -> Tensor:
        """What the output layer predicts: the label of each example, or the ids at the real target positions."""
        if self.labels_B is not None:
            return self.labels_B
        assert self.targets_BT is not None and self.valid_N is not None
        return self.targets_BT.flatten()[self.valid_N]

    @property
    def examples_N(self) -> Tensor:
        """Example index of each prediction, (N,)."""
        if self.labels_B is not None:
            return self.index_B
        assert self.targets_BT is not None and self.valid_N is not None
        return self.index_B[self.valid_N // self.targets_BT.shape[1]]

    @property
    def positions_N(self) -> Tensor:
        """Position in its sequence of each prediction, (N,), from 0."""
        if self.labels_B is not None:
            return torch.zeros_like(self.index_B)
        assert self.targets_BT is not None and self.valid_N is not None
        return self.valid_N % self.targets_BT.shape[1]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; copies from pinned memory do not block."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part.to(device, non_blocking=True) for name, part in moved.items() if part is not None})

    def pin_memory(self) -> Batch:
        """The same batch in page-locked host memory (called by torch's DataLoader)."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part.pin_memory() for name, part in parts.items() if part is not None})


def pad(rows: Sequence[np.ndarray], pad_id: int, min_length: int = 1) -> tuple[Tensor, Tensor]:
    """Stack ragged rows of ids into (B, longest) int64, padded on the right, and their lengths (B,)."""
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    width = max(min_length, int(lengths.max(initial=0)))
    padded = np.full((len(rows), width), pad_id, dtype=np.int64)
    padded[np.arange(width) < lengths[:, None]] = np.concatenate(rows) if len(rows) else []
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def make_batch(
    index: Sequence[int] | np.ndarray,
    sources: Sequence[np.ndarray] | None,
    targets: Sequence[np.ndarray] | None,
    *,
    source_pad: int,
    target_pad: int,
    bos: int,
    eos: int,
    source_eos: int,
) -> Batch:
    """Collate ragged token ids (without `<s>` and `</s>`) into a Batch: `</s>` is appended to both sides here.

    Args:
        index: example index of each row.
        sources, targets: ids of each row, or None where the side is absent.
        source_pad, target_pad: filler ids; no result depends on them.
        bos, eos: the target's `<s>` and `</s>`; source_eos: the source's `</s>`.
    """
    index_B = torch.as_tensor(np.asarray(index, dtype=np.int64))
    source_BS = source_lengths_B = inputs_BT = targets_BT = target_lengths_B = valid_N = None
    if sources is not None:
        source_BS, source_lengths_B = pad([np.append(row, source_eos) for row in sources], source_pad)
    if targets is not None:
        targets_BT, target_lengths_B = pad([np.append(row, eos) for row in targets], target_pad)
        inputs_BT = torch.cat([torch.full_like(targets_BT[:, :1], bos), targets_BT[:, :-1]], dim=1)
        valid_N = _positions(torch.zeros_like(target_lengths_B), target_lengths_B, targets_BT.shape[1])
    return Batch(index_B, source_BS, source_lengths_B, inputs_BT, targets_BT, target_lengths_B, valid_N)


def make_block_batch(
    index: Sequence[int] | np.ndarray, windows: Sequence[np.ndarray], contexts: Sequence[int], pad_id: int
) -> Batch:
    """Collate windows of a stream of tokens into a Batch without a source.

    Args:
        index: example index of each row.
        windows: of each row the token before its first target, then its targets.
        contexts: how many of its targets are context: read by later positions, and not predicted.
        pad_id: filler; no result depends on it.
    """
    targets_BT, lengths_B = pad([window[1:] for window in windows], pad_id)
    inputs_BT, _ = pad([window[:-1] for window in windows], pad_id)
    valid_N = _positions(torch.as_tensor(np.asarray(contexts, dtype=np.int64)), lengths_B, targets_BT.shape[1])
    index_B = torch.as_tensor(np.asarray(index, dtype=np.int64))
    return Batch(index_B, inputs_BT=inputs_BT, targets_BT=targets_BT, target_lengths_B=lengths_B, valid_N=valid_N)


def _positions(starts_B: Tensor, ends_B: Tensor, width: int) -> Tensor:
    """Flat indices into B x width of each row's positions from its start to before its end."""
    position_T = torch.arange(width)
    return ((position_T >= starts_B[:, None]) & (position_T < ends_B[:, None])).flatten().nonzero().squeeze(1)
