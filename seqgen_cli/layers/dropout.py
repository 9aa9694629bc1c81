"""Dropout (Srivastava et al. 2014): each element is zeroed with probability p, the rest scaled by 1 / (1 - p)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seqgen_cli.runtime.devices import is_host

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Dropout in training, the identity in evaluation.

    On CPU torch draws one number for each element serially, which cost a small Transformer 13 % of its time; here one
    64-bit draw serves four elements (4 times faster), p is rounded to a multiple of 2^-16 and the scale is that of the
    rounded p, so the mean is exact. On other devices this is torch's own.

    Args:
        p: probability of zeroing, 0 .. below 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, value: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or self.p == 0.0:
            return value
        if not is_host(value.device) or torch.compiler.is_compiling():
            return nn.functional.dropout(value, self.p, training=True)
        dropped = round(self.p * _LEVELS)
        draws = torch.empty((value.numel() + 3) // 4, dtype=torch.int64, device=value.device).random_(-(1 << 63), None)
        levels = draws.view(torch.int16)[: value.numel()].view(value.shape)
        keep = (levels >= dropped - _LEVELS // 2).to(value.dtype)
        return value * keep.mul_(_LEVELS / (_LEVELS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """No dropout anywhere in the module inside the block, with gradients as in training.

    Recurrent cells stay in training mode: they drop nothing themselves, and cuDNN has no backward for them in evaluation.
    """
    training = [part for part in module.modules() if part.training and not isinstance(part, nn.RNNBase)]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
