"""A stack of bidirectional GRU layers that reads every row to its own length (Schuster and Paliwal 1997; Cho et al. 2014).

It computes what torch's bidirectional nn.GRU computes on packed sequences. Packing made it 7 times slower on a CPU, so each
direction is a GRU of its own over the padded rows: the backward one reads each row's real positions in reverse order, and
its outputs are put back. What stands after a row's end is read last by either direction, so it never touches a real position.
On a CPU layers/gru.py runs both directions at once. Cells compute in their weights' dtype, outside autocast:
runtime/devices.py says why.

Shapes: S positions, B rows, I input size, D hidden size of one direction.
"""

from typing import Any

import torch
from torch import Tensor, nn

from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.gru import gru_pair
from seqgen_cli.layers.recurrent import cell_dtype
from seqgen_cli.runtime.devices import is_host, no_autocast


class BidirectionalGRU(nn.Module):
    """Layers of two GRUs each; a layer reads [forward; backward] outputs of the one below.

    Args:
        input_size: I. hidden_size: D. layers: 1 or more.
        dropout: between layers.
    """

    def __init__(self, input_size: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        sizes = [input_size] + [2 * hidden_size] * (layers - 1)
        self.forwards = nn.ModuleList(nn.GRU(size, hidden_size) for size in sizes)
        self.backwards = nn.ModuleList(nn.GRU(size, hidden_size) for size in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, input_SBI: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Time-major input (S, B, I) and true lengths, 1 .. S -> top outputs (S, B, 2D), and the last states of both
        directions in the top layer, (B, 2D): forward after a row's last real position, backward after its first."""
        reversal_N = _reversal(lengths_B, input_SBI.shape[0])
        for place, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            assert isinstance(forwards, nn.GRU) and isinstance(backwards, nn.GRU)
            input_SBI = self.dropout(input_SBI) if place > 0 else input_SBI.to(cell_dtype(forwards))
            backward_input_SBI = _permute(input_SBI, reversal_N)
            with no_autocast(input_SBI.device):
                if is_host(input_SBI.device):
                    forward_SBD, reversed_SBD = gru_pair(torch.stack([input_SBI, backward_input_SBI]), forwards, backwards)
                else:
                    (forward_SBD, _), (reversed_SBD, _) = forwards(input_SBI), backwards(backward_input_SBI)
            input_SBI = torch.cat([forward_SBD, _permute(reversed_SBD, reversal_N)], dim=-1)
        # In its own order the backward GRU, too, ends at position length - 1.
        row_B = torch.arange(lengths_B.shape[0], device=lengths_B.device)
        last_B = lengths_B - 1
        return input_SBI, torch.cat([forward_SBD[last_B, row_B], reversed_SBD[last_B, row_B]], dim=-1)


def _reversal(lengths_B: Tensor, width: int) -> Tensor:
    """Where each of the S x B places takes its value from so that real positions stand reversed; its own inverse."""
    position_S1 = torch.arange(width, device=lengths_B.device)[:, None]
    source_SB = torch.where(position_S1 < lengths_B, lengths_B - 1 - position_S1, position_S1)
    row_B = torch.arange(lengths_B.shape[0], device=lengths_B.device)
    return (source_SB * lengths_B.shape[0] + row_B).flatten()


def _permute(value_SBD: Tensor, involution_N: Tensor) -> Tensor:
    """The S x B rows in another order."""
    permuted: Tensor = _Permute.apply(value_SBD.flatten(0, 1), involution_N)
    return permuted.view_as(value_SBD)


class _Permute(torch.autograd.Function):
    """Rows in the order of an involution. Its gradient is the same reading, where index_select's would add rows up."""

    @staticmethod
    def forward(context: Any, value_ND: Tensor, involution_N: Tensor) -> Tensor:
        context.save_for_backward(involution_N)
        return value_ND.index_select(0, involution_N)

    @staticmethod
    def backward(context: Any, gradient_ND: Tensor) -> tuple[Tensor, None]:
        (involution_N,) = context.saved_tensors
        return gradient_ND.index_select(0, involution_N), None
