"""Multi-head attention (Vaswani et al. 2017): head_m = softmax(Q_m K_m^T / sqrt(C)) V_m, all heads mapped by W_o.

Shapes: B memory rows, R = B * m decoder rows, T queries, S keys, D hidden, H heads, C = D / H channels of one head.
Masks are True where a query may look.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seqgen_cli.layers.positions import Rotation


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of one layer, (rows, H, S, C) each."""

    keys: Tensor
    values: Tensor

    def select(self, index: Tensor) -> KeysValues:
        return KeysValues(self.keys.index_select(0, index), self.values.index_select(0, index))

    def followed_by(self, new: KeysValues) -> KeysValues:
        """The same with the keys and values of later positions behind.

        A copy, so a state can be continued several ways and gradients pass. Measured on CPU, buffers written in place
        saved 10 % of greedy decoding and nothing of beam search, whose reordering copies them anyway.
        """
        return KeysValues(torch.cat([self.keys, new.keys], dim=2), torch.cat([self.values, new.values], dim=2))


def _projection(inputs: int, outputs: int, hidden_size: int) -> nn.Linear:
    """A linear map drawn from U(-a, a), a = sqrt(6 / 4D), zero bias: Glorot's bound for a fused (3D, D) matrix.

    Half the variance of a single (D, D) matrix at Glorot's bound, for queries, keys and values alike, however fused.
    """
    linear = nn.Linear(inputs, outputs)
    bound = (6 / (4 * hidden_size)) ** 0.5
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
    return linear


def _output_projection(hidden_size: int) -> nn.Linear:
    linear = nn.Linear(hidden_size, hidden_size)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _heads(projected: Tensor, parts: int, heads: int) -> list[Tensor]:
    """(rows, T, parts * D) -> `parts` tensors (rows, H, T, C).

    Cut along the last dimension first: the backward then joins the parts' gradients in place of copying them about.
    """
    return [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in projected.chunk(parts, dim=-1)]


class SelfAttention(nn.Module):
    """Attention of a sequence over itself; with `past`, over what was decoded before as well.

    Args:
        hidden_size: D. heads: H, a divisor of D. dropout: of the attention weights.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = _projection(hidden_size, 3 * hidden_size, hidden_size)
        self.output = _output_projection(hidden_size)

    def forward(
        self,
        hidden_RTD: Tensor,
        mask: Tensor | None,
        causal: bool = False,
        past: KeysValues | None = None,
        rotation: Rotation | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """(R, T, D) -> (R, T, D), and the keys and values of the past and these T positions.

        Args:
            mask: broadcast to (R, H, T, past + T), or None. causal: position t reads only 0 .. t (no past, no mask).
            rotation: of the T positions (rotary); cached keys are rotated already.
        """
        rows, length, size = hidden_RTD.shape
        query_RHTC, key_RHTC, value_RHTC = _heads(self.query_key_value(hidden_RTD), 3, self.heads)
        if rotation is not None:
            query_RHTC, key_RHTC = rotation(query_RHTC), rotation(key_RHTC)
        seen = KeysValues(key_RHTC, value_RHTC)
        if past is not None:
            seen = past.followed_by(seen)
        dropout = self.dropout if self.training else 0.0
        heads_RHTC = scaled_dot_product_attention(query_RHTC, seen.keys, seen.values, mask, dropout, is_causal=causal)
        return self.output(heads_RHTC.transpose(1, 2).reshape(rows, length, size)), seen


class CrossAttention(nn.Module):
    """Attention of decoder rows over an encoded source whose keys and values are computed once.

    Args:
        hidden_size: D. heads: H, a divisor of D. dropout: of the attention weights.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = _projection(hidden_size, hidden_size, hidden_size)
        self.key_value = _projection(hidden_size, 2 * hidden_size, hidden_size)
        self.output = _output_projection(hidden_size)

    def keys_values(self, encoded_BSD: Tensor) -> KeysValues:
        key_BHSC, value_BHSC = _heads(self.key_value(encoded_BSD), 2, self.heads)
        return KeysValues(key_BHSC, value_BHSC)

    def forward(self, hidden_RTD: Tensor, source: KeysValues, mask_B11S: Tensor) -> Tensor:
        """(R, T, D) -> (R, T, D); decoder row i reads source row i // m."""
        dropout = self.dropout if self.training else 0.0
        query_BHQC = self._queries(hidden_RTD, source)
        heads_BHQC = scaled_dot_product_attention(query_BHQC, source.keys, source.values, mask_B11S, dropout)
        return self.output(heads_BHQC.transpose(1, 2).reshape(hidden_RTD.shape))

    def weights(self, hidden_RTD: Tensor, source: KeysValues, mask_B11S: Tensor) -> Tensor:
        """The attention weights, mean over the heads: (R, T, S), zero where the mask is False."""
        query_BHQC = self._queries(hidden_RTD, source)
        score_BHQS = query_BHQC @ source.keys.transpose(-1, -2) * query_BHQC.shape[-1] ** -0.5
        weight_BHQS = score_BHQS.masked_fill(~mask_B11S, float("-inf")).softmax(-1)
        rows, length, _ = hidden_RTD.shape
        return weight_BHQS.mean(1).view(rows, length, -1)

    def _queries(self, hidden_RTD: Tensor, source: KeysValues) -> Tensor:
        """(B, H, m * T, C): the m decoder rows of a sentence side by side, so the source is never repeated."""
        rows, size = source.keys.shape[0], hidden_RTD.shape[-1]
        return self.query(hidden_RTD).view(rows, -1, self.heads, size // self.heads).transpose(1, 2)
