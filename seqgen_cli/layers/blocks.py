"""The layers of a Transformer: attention and feed-forward sublayers, each with its residual connection and LayerNorm.

Shapes: B sentences, R = B * m decoder rows, S source length, T target length, P positions decoded before, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.multihead import CrossAttention, KeysValues, SelfAttention
from seqgen_cli.layers.positions import Rotation, make_positions, rotation_of


@dataclass(frozen=True)
class LayerSettings:
    """The settings of every Transformer: of its layers, and of what is known of positions.

    Args:
        hidden_size: D. ffn_size: of the feed-forward networks. heads: a divisor of D.
        norm: LayerNorm before each sublayer (pre) or after its residual connection (post, the paper's).
        positions: added to the embeddings (sinusoidal, learned) or turning queries and keys of self-attention (rotary).
        max_positions: the longest sequence that learned positions allow, in tokens.
        activation: of the feed-forward networks.
        dropout: of embeddings and of each sublayer's output. attention_dropout: of attention weights.
        activation_dropout: inside the feed-forward networks.

    Raises:
        RequestError: sizes that do not fit one another.
    """

    hidden_size: Annotated[int, Ge(2)]
    ffn_size: Annotated[int, Ge(1)]
    heads: Annotated[int, Ge(1)]
    norm: Literal["pre", "post"]
    positions: Literal["sinusoidal", "learned", "rotary"]
    max_positions: Annotated[int, Ge(1)]
    activation: Literal["relu", "gelu"]
    dropout: Annotated[float, Ge(0), Lt(1)]
    attention_dropout: Annotated[float, Ge(0), Lt(1)]
    activation_dropout: Annotated[float, Ge(0), Lt(1)]

    def __post_init__(self) -> None:
        size, heads = self.hidden_size, self.heads
        if size % heads:
            raise RequestError(f"model.hidden_size={size} cannot be divided among model.heads={heads}: choose a multiple.")
        if self.positions == "sinusoidal" and size % 2:
            raise RequestError(f"model.positions=sinusoidal needs an even model.hidden_size, not {size}.")
        if self.positions == "rotary" and (size // heads) % 2:
            raise RequestError(f"model.positions=rotary needs an even number of channels for each head, not {size} / {heads}.")

    @property
    def longest(self) -> int | None:
        """The most tokens of a sequence; None: any number."""
        return self.max_positions if self.positions == "learned" else None

    @property
    def rotary_size(self) -> int | None:
        """Channels of a head, where they are turned."""
        return self.hidden_size // self.heads if self.positions == "rotary" else None

    def added_positions(self) -> nn.Module:
        """What is added to the embeddings."""
        return make_positions(self.positions, self.hidden_size, self.max_positions)

    def last_norm(self) -> nn.Module:
        """What stands after the last layer: pre-norm leaves that without a LayerNorm."""
        return nn.LayerNorm(self.hidden_size) if self.norm == "pre" else nn.Identity()

    def feed_forward(self) -> nn.Sequential:
        """FFN(z) = W_2 f(W_1 z + b_1) + b_2, f = ReLU or GELU. Weights at Glorot's bound, zero biases."""
        activation = nn.ReLU() if self.activation == "relu" else nn.GELU()
        first, second = nn.Linear(self.hidden_size, self.ffn_size), nn.Linear(self.ffn_size, self.hidden_size)
        for linear in (first, second):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        return nn.Sequential(first, activation, Dropout(self.activation_dropout), second)


class Residual(nn.Module):
    """One sublayer f with its residual connection: x + f(norm(x)) (pre) or norm(x + f(x)) (post), dropout on f's output."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.hidden_size)
        self.dropout = Dropout(settings.dropout)
        self.pre = settings.norm == "pre"

    def read(self, hidden_RTD: Tensor) -> Tensor:
        """What f reads."""
        return self.norm(hidden_RTD) if self.pre else hidden_RTD

    def add(self, hidden_RTD: Tensor, update_RTD: Tensor) -> Tensor:
        """The sublayer's result, given f's output."""
        result_RTD = hidden_RTD + self.dropout(update_RTD)
        return result_RTD if self.pre else self.norm(result_RTD)

    def forward(self, hidden_RTD: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        return self.add(hidden_RTD, f(self.read(hidden_RTD)))


@dataclass(frozen=True)
class TransformerState:
    """Self-attention keys and values of each decoder layer over the positions decoded so far."""

    layers: tuple[KeysValues, ...]

    @property
    def length(self) -> int:
        return self.layers[0].keys.shape[2]

    def select(self, index_R: Tensor) -> TransformerState:
        return TransformerState(tuple(layer.select(index_R) for layer in self.layers))


def causal_mask(before: int, length: int, device: torch.device) -> Tensor | None:
    """(T, P + T): what each of T positions after P others may look at.

    None where attention needs no mask: without a past (plain causal attention), or for a single position (which may see
    everything).
    """
    if before == 0 or length == 1:
        return None
    position = torch.arange(before + length, device=device)
    return position <= position[before:, None]


def decoder_input(
    embedded_RTE: Tensor, state: TransformerState | None, positions: nn.Module, dropout: nn.Module, rotary_size: int | None
) -> tuple[Tensor, Tensor | None, Rotation | None]:
    """What the first decoder layer reads after `state`, and the mask and rotation of self-attention."""
    start, length = 0 if state is None else state.length, embedded_RTE.shape[1]
    hidden_RTD = dropout(positions(embedded_RTE, start))
    return hidden_RTD, causal_mask(start, length, embedded_RTE.device), rotation_of(hidden_RTD, start, rotary_size)


class EncoderLayer(nn.Module):
    """Self-attention over the whole source, then the feed-forward network."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings.hidden_size, settings.heads, settings.attention_dropout)
        self.feed_forward = settings.feed_forward()
        self.attention_residual, self.feed_forward_residual = Residual(settings), Residual(settings)

    def forward(self, hidden_BSD: Tensor, mask_B11S: Tensor, rotation: Rotation | None) -> Tensor:
        update_BSD, _ = self.attention(self.attention_residual.read(hidden_BSD), mask_B11S, rotation=rotation)
        hidden_BSD = self.attention_residual.add(hidden_BSD, update_BSD)
        return self.feed_forward_residual(hidden_BSD, self.feed_forward)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the encoded source, then the feed-forward network."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings.hidden_size, settings.heads, settings.attention_dropout)
        self.cross_attention = CrossAttention(settings.hidden_size, settings.heads, settings.attention_dropout)
        self.feed_forward = settings.feed_forward()
        self.attention_residual, self.cross_residual = Residual(settings), Residual(settings)
        self.feed_forward_residual = Residual(settings)

    def read_target(
        self, hidden_RTD: Tensor, past: KeysValues | None, mask: Tensor | None, rotation: Rotation | None
    ) -> tuple[Tensor, KeysValues]:
        """The self-attention sublayer, and its keys and values for the next step."""
        return _read_before(self.attention, self.attention_residual, hidden_RTD, past, mask, rotation)

    def read_source(self, hidden_RTD: Tensor, source: KeysValues, mask_B11S: Tensor) -> Tensor:
        """The cross-attention and feed-forward sublayers."""
        hidden_RTD = self.cross_residual(hidden_RTD, lambda reads_RTD: self.cross_attention(reads_RTD, source, mask_B11S))
        return self.feed_forward_residual(hidden_RTD, self.feed_forward)

    def source_weights(self, hidden_RTD: Tensor, source: KeysValues, mask_B11S: Tensor) -> Tensor:
        """(R, T, S): where the cross-attention sublayer looks."""
        return self.cross_attention.weights(self.cross_residual.read(hidden_RTD), source, mask_B11S)


class CausalLayer(nn.Module):
    """Causal self-attention, then the feed-forward network: the layer of a decoder without a source."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings.hidden_size, settings.heads, settings.attention_dropout)
        self.feed_forward = settings.feed_forward()
        self.attention_residual, self.feed_forward_residual = Residual(settings), Residual(settings)

    def forward(
        self, hidden_RTD: Tensor, past: KeysValues | None, mask: Tensor | None, rotation: Rotation | None
    ) -> tuple[Tensor, KeysValues]:
        """The layer's outputs, and the self-attention's keys and values for the next step."""
        hidden_RTD, seen = _read_before(self.attention, self.attention_residual, hidden_RTD, past, mask, rotation)
        return self.feed_forward_residual(hidden_RTD, self.feed_forward), seen


def _read_before(
    attention: SelfAttention,
    residual: Residual,
    hidden_RTD: Tensor,
    past: KeysValues | None,
    mask: Tensor | None,
    rotation: Rotation | None,
) -> tuple[Tensor, KeysValues]:
    """A causal self-attention sublayer, and its keys and values; `mask` is that of `causal_mask`."""
    causal = past is None and mask is None
    update_RTD, seen = attention(residual.read(hidden_RTD), mask, causal=causal, past=past, rotation=rotation)
    return residual.add(hidden_RTD, update_RTD), seen
