"""Dropout that leaves its mark, so that references can say where it acts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seqgen_cli.layers import dropout, multihead

Mark = Callable[[Tensor, float], Tensor]


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Mark:
    """In training, ours and torch's dropout multiply each channel by a factor of its own, which p shifts. So a model equals a
    reference that applies this function in some places only if it applies its own there, with that p, and nowhere else.

    Of attention weights, the channels are the keys.
    """

    def marked(value: Tensor, p: float) -> Tensor:
        return value * (1.5 + torch.cos(torch.arange(value.shape[-1], dtype=value.dtype) + 10 * p))

    def forward(module: nn.Module, value: Tensor) -> Tensor:
        return marked(value, module.p) if module.training and module.p else value

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        score = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            attn_mask = torch.ones(score.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            hidden = (
                torch.zeros_like(score).masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype is torch.bool else attn_mask
            )
            score = score + hidden
        weight = score.softmax(-1)
        return (marked(weight, dropout_p) if dropout_p else weight) @ value

    monkeypatch.setattr(dropout.Dropout, "forward", forward)
    monkeypatch.setattr(nn.Dropout, "forward", forward)
    monkeypatch.setattr(multihead, "scaled_dot_product_attention", attention)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    return marked
