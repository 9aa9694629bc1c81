"""The encoder of recurrent models: layers over the source, in one or both directions, and the state they hand over.

Layer l, one direction:    out_i = skip(x_i) + dropout(h_i);                 handed over: h at the last real position (and c).
Layer l, both directions:  out_i = skip(x_i) + dropout(W [h_i^fwd; h_i^bwd] + b);  handed over: tanh(W_h [h^fwd; h^bwd] + b_h),
each direction at the end of its reading, and W_c [c^fwd; c^bwd] + b_c for c.
Padding never touches a state: rows are read from their first token (the backward direction from their last), and states
are taken at the last real position. Where lengths are bucketed this costs no more than packing (measured on CPU: LSTM 1 to
1.8 times as fast), and it needs no lengths on the host.

Shapes: B sentences, S source length, I input size, D hidden.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.masks import last_real, real_positions, reverse_rows
from seqgen_cli.layers.recurrent import CellState, RecurrentState, StackSettings, cell_dtype, make_cell, make_skip
from seqgen_cli.runtime.devices import no_autocast

HandOver = Literal["hidden", "all"]

_SATURATED = 1e4
"""A gate input at which the sigmoid is exactly 0 or 1 in every precision, and which float16 can hold."""


class RecurrentEncoder(nn.Module):
    """Residual recurrent layers over padded sentences.

    Args:
        settings: of the stack; D is the size of each direction and of every output.
        bidirectional: read the source from both ends.
        hand_over: hidden (an LSTM decoder then starts from c = 0) or all (h and c; the same for a GRU).
        outputs: whether the top layer's outputs are wanted, or the states alone.
    """

    def __init__(self, settings: StackSettings, bidirectional: bool, hand_over: HandOver, outputs: bool) -> None:
        super().__init__()
        cell, size = settings.cell, settings.hidden_size
        self.layers = nn.ModuleList(
            EncoderLayer(
                make_cell(cell, inputs, size),
                make_cell(cell, inputs, size) if bidirectional else None,
                make_skip(inputs, size, settings.residual, projected=place == 0),
                settings.dropout,
                hand_over,
                outputs or place + 1 < settings.layers,
            )
            for place, inputs in enumerate(settings.input_sizes())
        )

    def forward(self, input_BSI: Tensor, lengths_B: Tensor) -> tuple[Tensor | None, RecurrentState]:
        """(B, S, I) -> the top layer's outputs (B, S, D) (meaningless at padding) if wanted, and each layer's state."""
        output_BSD: Tensor | None = input_BSI
        states = []
        for layer in self.layers:
            output_BSD, state = layer(output_BSD, lengths_B)
            states.append(state)
        return output_BSD, RecurrentState(tuple(states))


class EncoderLayer(nn.Module):
    """One layer: a cell for each direction, their combination, and the state they hand over."""

    def __init__(
        self,
        forward_cell: nn.RNNBase,
        backward_cell: nn.RNNBase | None,
        skip: nn.Module | None,
        dropout: float,
        hand_over: HandOver,
        outputs: bool,
    ) -> None:
        super().__init__()
        size = forward_cell.hidden_size
        has_cell_state = isinstance(forward_cell, nn.LSTM)
        self.hands_over_cell = has_cell_state and hand_over == "all"
        self.zero_cell = has_cell_state and hand_over == "hidden"
        self.forward_cell, self.backward_cell = forward_cell, backward_cell
        self.outputs = outputs
        self.skip = skip if outputs else None
        self.dropout = Dropout(dropout)
        # Asked in place of `backward_cell is not None`: torch.compile (2.15) takes a layer without a part for one that has it.
        self.both = backward_cell is not None
        self.combine = nn.Linear(2 * size, size) if self.both and outputs else None
        self.bridge_hidden = nn.Linear(2 * size, size) if self.both else None
        self.bridge_cell = nn.Linear(2 * size, size) if self.both and self.hands_over_cell else None

    def forward(self, input_BSI: Tensor, lengths_B: Tensor) -> tuple[Tensor | None, CellState]:
        output_BSD, state = read_to_end(self.forward_cell, input_BSI, lengths_B, self.hands_over_cell)
        if self.both:
            assert self.backward_cell is not None
            reversed_BSI = reverse_rows(input_BSI, lengths_B)
            backward_BSD, backward_state = read_to_end(self.backward_cell, reversed_BSI, lengths_B, self.hands_over_cell)
            state = self._bridge(state, backward_state)
            if self.outputs:
                assert self.combine is not None
                output_BSD = self.combine(torch.cat([output_BSD, reverse_rows(backward_BSD, lengths_B)], dim=-1))
        if self.zero_cell:
            state = (state[0], torch.zeros_like(state[0]))
        if not self.outputs:
            return None, state
        output_BSD = self.dropout(output_BSD)
        return output_BSD if self.skip is None else self.skip(input_BSI) + output_BSD, state

    def _bridge(self, forward_state: CellState, backward_state: CellState) -> CellState:
        both = [torch.cat(parts, dim=-1) for parts in zip(forward_state, backward_state, strict=True)]
        assert self.bridge_hidden is not None
        hidden_BD = self.bridge_hidden(both[0]).tanh()
        if not self.hands_over_cell:
            return (hidden_BD,)
        assert self.bridge_cell is not None
        return hidden_BD, self.bridge_cell(both[1])


def read_to_end(cell: nn.RNNBase, input_BSI: Tensor, lengths_B: Tensor, with_cell: bool) -> tuple[Tensor, CellState]:
    """Run a cell from the zero state over padded rows: h of each position (B, S, D), and the state at the last real one.

    h is picked from the outputs. An LSTM's c is not among them, so where it is wanted (`with_cell`), padding is made to
    leave c alone: one more input, 1 at padding, closes the input gate and opens the forget gate, exactly.
    """
    input_BSI = input_BSI.to(cell_dtype(cell))
    if not with_cell:
        with no_autocast(input_BSI.device):
            output_BSD, _ = cell(input_BSI)
        return output_BSD, (last_real(output_BSD, lengths_B),)
    rows, width, _ = input_BSI.shape
    padding_BS1 = (~real_positions(lengths_B, width))[..., None].to(input_BSI.dtype)
    input_GI, *other_weights = cell.all_weights[0]
    gate_D = input_GI.new_full((cell.hidden_size, 1), _SATURATED)
    freeze_G1 = torch.cat([-gate_D, gate_D, torch.zeros_like(gate_D), torch.zeros_like(gate_D)])
    weights = [torch.cat([input_GI, freeze_G1], dim=1), *other_weights]
    zero_1BD = input_BSI.new_zeros(1, rows, cell.hidden_size)
    input_BSI = torch.cat([input_BSI, padding_BS1], dim=-1)
    with no_autocast(input_BSI.device):
        output_BSD, _, cell_1BD = torch.lstm(
            input_BSI, (zero_1BD, zero_1BD), weights, True, 1, 0.0, cell.training, bidirectional=False, batch_first=True
        )
    return output_BSD, (last_real(output_BSD, lengths_B), cell_1BD[0])
