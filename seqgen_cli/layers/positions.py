"""Where a token stands: sinusoidal (Vaswani et al. 2017), learned, and rotary (Su et al. 2021) positions.

Shapes: R rows, H heads, T positions, D hidden, C channels of one head.
"""

import math

import torch
from torch import Tensor, nn

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.embeddings import word_embedding

_BASE = 10000.0


def _angles(start: int, length: int, size: int, like: Tensor) -> Tensor:
    """(T, size / 2): position / 10000^(2 i / size), at least in float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    position_T = torch.arange(start, start + length, dtype=dtype, device=like.device)
    exponent = torch.arange(0, size, 2, dtype=dtype, device=like.device) / size
    return position_T[:, None] * _BASE**-exponent


def sinusoidal(start: int, length: int, size: int, like: Tensor) -> Tensor:
    """(T, D): PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(the same), in the dtype and device of `like`."""
    angles = _angles(start, length, size, like)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


class SinusoidalPositions(nn.Module):
    """Adds the sinusoidal code of each position; no length is too long.

    Args:
        size: D, even.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, embedded_RTD: Tensor, start: int) -> Tensor:
        """The first of the T inputs stands at position `start`, counted from 0."""
        return embedded_RTD + sinusoidal(start, embedded_RTD.shape[1], self.size, embedded_RTD)


class LearnedPositions(nn.Module):
    """Adds a learned vector for each position: a second word embedding, sqrt(D) P_pos with P drawn from N(0, 1/D).

    Args:
        size: D. max_positions: how many positions there are.

    Raises:
        RequestError: in forward, a sequence is longer than `max_positions`.
    """

    def __init__(self, size: int, max_positions: int) -> None:
        super().__init__()
        self.table = word_embedding(max_positions, size)

    def forward(self, embedded_RTD: Tensor, start: int) -> Tensor:
        """The first of the T inputs stands at position `start`, counted from 0."""
        end = start + embedded_RTD.shape[1]
        if end > self.table.num_embeddings:
            raise RequestError(
                f"A sequence of {end} tokens is longer than model.max_positions={self.table.num_embeddings}. "
                "Raise model.max_positions, shorten the text, or train with model.positions=sinusoidal or rotary."
            )
        return embedded_RTD + self.table.weight[start:end] * math.sqrt(self.table.embedding_dim)


class NoPositions(nn.Module):
    """Adds nothing: rotary positions enter in the attention."""

    def forward(self, embedded_RTD: Tensor, start: int) -> Tensor:
        return embedded_RTD


def make_positions(kind: str, size: int, max_positions: int) -> nn.Module:
    """What is added to embeddings for positions of this kind: sinusoidal, learned, or rotary (nothing)."""
    if kind == "sinusoidal":
        return SinusoidalPositions(size)
    return LearnedPositions(size, max_positions) if kind == "learned" else NoPositions()


class Rotation:
    """The rotations of T consecutive positions: channels (2i, 2i+1) turn by angle position / 10000^(2i/C).

    The product of a rotated query and a rotated key then depends on their distance only.
    """

    def __init__(self, start: int, length: int, size: int, like: Tensor) -> None:
        angles_TC = _angles(start, length, size, like).repeat_interleave(2, dim=-1)
        self.cos_TC = angles_TC.cos().to(like.dtype)
        self.sin_TC = angles_TC.sin().to(like.dtype)

    def __call__(self, heads_RHTC: Tensor) -> Tensor:
        even, odd = heads_RHTC[..., 0::2], heads_RHTC[..., 1::2]
        turned_RHTC = torch.stack([-odd, even], dim=-1).flatten(-2)
        return heads_RHTC * self.cos_TC + turned_RHTC * self.sin_TC


def rotation_of(hidden_RTD: Tensor, start: int, size: int | None) -> Rotation | None:
    """The rotation of hidden vectors from position `start` on; none where heads have no channels that turn."""
    return None if size is None else Rotation(start, hidden_RTD.shape[1], size, hidden_RTD)
