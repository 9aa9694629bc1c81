"""Masks and orders made from true lengths. True at real tokens.

Shapes: B rows, S padded length.
"""

import torch
from torch import Tensor


def real_positions(lengths_B: Tensor, width: int) -> Tensor:
    """(B, S): True where the position is inside its row's true length."""
    return torch.arange(width, device=lengths_B.device) < lengths_B[:, None]


def reverse_rows(values_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    """Each row's real positions in reverse order, padding left where it is. Its own inverse."""
    rows, width, size = values_BSD.shape
    position_S = torch.arange(width, device=lengths_B.device)
    source_BS = torch.where(position_S < lengths_B[:, None], lengths_B[:, None] - 1 - position_S, position_S)
    first_B1 = torch.arange(rows, device=lengths_B.device)[:, None] * width
    # One flat index_select: its backward is several times cheaper than that of an index by two tensors.
    return values_BSD.reshape(-1, size).index_select(0, (first_B1 + source_BS).flatten()).view(rows, width, size)


def last_real(values_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    """(B, D): each row's value at its last real position."""
    rows, width, size = values_BSD.shape
    index_B = torch.arange(rows, device=lengths_B.device) * width + lengths_B - 1
    return values_BSD.reshape(-1, size).index_select(0, index_B)
