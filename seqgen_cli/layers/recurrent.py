"""Stacks of LSTM or GRU layers with residual connections, read at once or step by step.

A layer computes  out_t = skip(x_t) + dropout(h_t),  h_t = cell(h_{t-1}, x_t);  skip is a linear map in the first layer,
whose input has another meaning (and perhaps another size) than its state, and the identity above it.
Weights start as torch's: U(-1/sqrt(D), 1/sqrt(D)). Cells compute in their weights' dtype, outside autocast
(runtime/devices.py says why).

Shapes: B or R rows, T positions, I input size, X size of a further input known only step by step, D hidden,
G gates: 4D (LSTM: input, forget, cell, output) or 3D (GRU: reset, update, new).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.functional import linear

from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.runtime.devices import no_autocast

Cell = Literal["lstm", "gru"]

CellState = tuple[Tensor, ...]
"""What one cell carries on: (h,) for GRU, (h, c) for LSTM, (B, D) each."""


@dataclass(frozen=True)
class StackSettings:
    """The settings of every recurrent model: of its stack of layers, one on each side where it has two sides.

    Args:
        embedding_size, hidden_size: E and D; an output layer can share the embedding where they are equal.
        layers: of the stack. cell: lstm or gru.
        residual: a connection around each layer, the first through a linear map of its input.
        dropout: after each layer.
    """

    embedding_size: Annotated[int, Ge(1)]
    hidden_size: Annotated[int, Ge(1)]
    layers: Annotated[int, Ge(1)]
    cell: Cell
    residual: bool
    dropout: Annotated[float, Ge(0), Lt(1)]

    def input_sizes(self, further_size: int = 0) -> list[int]:
        """I of each layer, the first of which reads the embedding and as much beside it."""
        return [self.embedding_size + further_size, *[self.hidden_size] * (self.layers - 1)]


@dataclass(frozen=True)
class RecurrentState:
    """The state of each layer, bottom first."""

    layers: tuple[CellState, ...]

    def select(self, index_R: Tensor) -> RecurrentState:
        return RecurrentState(tuple(tuple(part.index_select(0, index_R) for part in layer) for layer in self.layers))

    def repeated(self, times: int) -> RecurrentState:
        """Each row `times` times, copies side by side."""
        return RecurrentState(tuple(tuple(part.repeat_interleave(times, 0) for part in layer) for layer in self.layers))

    @property
    def rows(self) -> int:
        return self.layers[0][0].shape[0]

    @property
    def top_RD(self) -> Tensor:
        """h of the top layer."""
        return self.layers[-1][0]


@dataclass(frozen=True)
class CellWeights:
    """A cell's parameters as torch lays them out, the input weights split after the first I columns."""

    input_GI: Tensor
    further_GX: Tensor
    hidden_GD: Tensor
    input_bias_G: Tensor
    hidden_bias_G: Tensor


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer with its residual connection and dropout.

    Args:
        cell: lstm or gru. input_size: I. hidden_size: D.
        residual: add the input; through a linear map if `projected`, else I must be D.
        dropout: of the cell's output.
    """

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, residual: bool, projected: bool, dropout: float) -> None:
        super().__init__()
        self.cell = make_cell(cell, input_size, hidden_size)
        self.skip = make_skip(input_size, hidden_size, residual, projected)
        self.dropout = Dropout(dropout)

    def forward(self, input_BTI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """(B, T, I) and the state before -> (B, T, D) and the state after."""
        output_BTD, state = run_cell(self.cell, input_BTI, state)
        output_BTD = self.dropout(output_BTD)
        return output_BTD if self.skip is None else self.skip(input_BTI) + output_BTD, state


class RecurrentStack(nn.Module):
    """Layers one on another, read left to right: the decoder of recurrent models.

    Args:
        settings: of the stack. further_size: X, inputs of the first layer beside the embedding: I = E + X.
    """

    def __init__(self, settings: StackSettings, further_size: int = 0) -> None:
        super().__init__()
        size, residual, dropout = settings.hidden_size, settings.residual, settings.dropout
        self.layers = nn.ModuleList(
            RecurrentLayer(settings.cell, inputs, size, residual, place == 0, dropout)
            for place, inputs in enumerate(settings.input_sizes(further_size))
        )

    def start(self, input_BTI: Tensor) -> RecurrentState:
        """The zero state of each row, from which these inputs are read."""
        cells = [cast(RecurrentLayer, layer).cell for layer in self.layers]
        zeros = [input_BTI.new_zeros(input_BTI.shape[0], cell.hidden_size) for cell in cells]
        return RecurrentState(
            tuple((zero,) * (2 if isinstance(cell, nn.LSTM) else 1) for cell, zero in zip(cells, zeros, strict=True))
        )

    def forward(self, input_BTI: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """All T inputs at once: (B, T, I) -> top outputs (B, T, D), and the state after them."""
        after = []
        for layer, before in zip(self.layers, state.layers, strict=True):
            input_BTI, layer_state = layer(input_BTI, before)
            after.append(layer_state)
        return input_BTI, RecurrentState(tuple(after))


class SteppedStack:
    """One pass of a RecurrentStack, step by step, where part of the input is known only as the pass goes.

    The first layer's input is [known_t; further_t]. All that depends on the known part is computed for all T at once,
    and the weights are split once, so that their gradients are put together once instead of at every step.

    Args:
        stack: whose input size is I + X.
        known_BTI: the part of the inputs known beforehand.
    """

    def __init__(self, stack: RecurrentStack, known_BTI: Tensor) -> None:
        self.layers = [cast(RecurrentLayer, layer) for layer in stack.layers]
        size = known_BTI.shape[-1]
        first, *above = (layer.cell for layer in self.layers)
        self.weights = [cell_weights(first, size), *(cell_weights(cell, cell.input_size) for cell in above)]
        with no_autocast(known_BTI.device):
            weights = self.weights[0]
            gates_BTG = linear(known_BTI.to(weights.input_GI.dtype), weights.input_GI, weights.input_bias_G)
        self.gates_TBG = gates_BTG.transpose(0, 1).unbind(0)
        skip = self.layers[0].skip
        self.skip_TBD: tuple[Tensor, ...] | None = None
        if isinstance(skip, nn.Linear):
            known_DI, self.further_skip_DX = skip.weight[:, :size], skip.weight[:, size:]
            self.skip_TBD = linear(known_BTI, known_DI, skip.bias).transpose(0, 1).unbind(0)

    def step(self, place: int, further_BX: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Read input number `place`, whose further part is (B, X) -> top output (B, D), and the state after it."""
        skip_BD = None
        if self.skip_TBD is not None:
            skip_BD = self.skip_TBD[place] + linear(further_BX, self.further_skip_DX)
        after: list[CellState] = []
        output_BD = further_BX
        with no_autocast(further_BX.device):
            for number, (layer, weights, before) in enumerate(zip(self.layers, self.weights, state.layers, strict=True)):
                value_BD = output_BD.to(weights.hidden_GD.dtype)
                if number > 0:
                    gates_BG = linear(value_BD, weights.input_GI, weights.input_bias_G)
                    skip_BD = None if layer.skip is None else output_BD
                else:
                    gates_BG = self.gates_TBG[place] + linear(value_BD, weights.further_GX)
                after.append(cell_step(gates_BG, before, weights))
                output_BD = layer.dropout(after[-1][0])
                if skip_BD is not None:
                    output_BD = skip_BD + output_BD
        return output_BD, RecurrentState(tuple(after))


def make_cell(cell: Cell, input_size: int, hidden_size: int) -> nn.RNNBase:
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    return kind(input_size, hidden_size, batch_first=True)


def make_skip(input_size: int, hidden_size: int, residual: bool, projected: bool) -> nn.Module | None:
    """What is added to a layer's output: a linear map of its input, the input, or nothing."""
    if not residual:
        return None
    return nn.Linear(input_size, hidden_size) if projected else nn.Identity()


def run_cell(cell: nn.RNNBase, input_BTI: Tensor, state: CellState) -> tuple[Tensor, CellState]:
    """The cell over all T inputs: h of each position (B, T, D), and the state after the last."""
    dtype = cell_dtype(cell)
    before = tuple(part[None].to(dtype) for part in state)
    with no_autocast(input_BTI.device):
        output_BTD, after = cell(input_BTI.to(dtype), before if len(before) == 2 else before[0])
    parts = after if isinstance(after, tuple) else (after,)
    return output_BTD, tuple(part[0] for part in parts)


def cell_dtype(cell: nn.RNNBase) -> torch.dtype:
    """That of its weights, in which it computes."""
    return next(cell.parameters()).dtype


def cell_weights(cell: nn.RNNBase, input_columns: int) -> CellWeights:
    """The cell's parameters, the input weights split after `input_columns`."""
    input_GI, hidden_GD, input_bias_G, hidden_bias_G = cell.all_weights[0]
    return CellWeights(input_GI[:, :input_columns], input_GI[:, input_columns:], hidden_GD, input_bias_G, hidden_bias_G)


def cell_step(gates_BG: Tensor, state: CellState, weights: CellWeights) -> CellState:
    """One step of an LSTM or GRU, given W_ih x + b_ih (torch's equations and gate order): the state after it."""
    state = tuple(part.to(gates_BG.dtype) for part in state)
    hidden_BD = state[0]
    recurrent_BG = linear(hidden_BD, weights.hidden_GD, weights.hidden_bias_G)
    if len(state) == 2:
        input_BD, forget_BD, cell_BD, output_BD = (gates_BG + recurrent_BG).chunk(4, dim=-1)
        cell_BD = forget_BD.sigmoid() * state[1] + input_BD.sigmoid() * cell_BD.tanh()
        return output_BD.sigmoid() * cell_BD.tanh(), cell_BD
    reset_BD, update_BD, new_BD = gates_BG.chunk(3, dim=-1)
    reset_h_BD, update_h_BD, new_h_BD = recurrent_BG.chunk(3, dim=-1)
    candidate_BD = (new_BD + (reset_BD + reset_h_BD).sigmoid() * new_h_BD).tanh()
    return (torch.lerp(candidate_BD, hidden_BD, (update_BD + update_h_BD).sigmoid()),)
