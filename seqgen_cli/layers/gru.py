"""A layer of two GRUs side by side, on a CPU (Cho et al. 2014); elsewhere torch's own kernels are the faster ones.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    q = W_hn h + b_hn    n = tanh(W_in x + b_in + r q)    h' = (1 - z) n + z h

torch's nn.GRU records a graph of every step on a CPU. Here a step is one product for both directions and a few operations in
place, and each weight's gradient is one product over all steps; the gates become their own gradients, so a second backward
pass through them is not possible.

Shapes: 2 directions, S positions, B rows, I input size, D hidden size, G = 3 D in torch's order r, z, n; gates stand in the
order n, r, z, q (4 D), so that those of the input and those of the state are each one block.
"""

from typing import Any

import torch
from torch import Tensor, nn


def gru_pair(input_2SBI: Tensor, forwards: nn.GRU, backwards: nn.GRU) -> Tensor:
    """The states of two one-layer GRUs, each over its own input from a zero state, (2, S, B, D)."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    pairs = (torch.stack([getattr(each, name) for each in (forwards, backwards)]) for name in names)
    states_2SBD: Tensor = _GruPair.apply(input_2SBI, *pairs)
    return states_2SBD


class _GruPair(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(context: Any, input_2SBI: Tensor, w_ih_2GI: Tensor, w_hh_2GD: Tensor, b_ih_2G: Tensor, b_hh_2G: Tensor) -> Tensor:
        _, steps, rows, _ = input_2SBI.shape
        size = w_hh_2GD.shape[2]
        gates_2SBF = input_2SBI.new_empty((2, steps, rows, 4 * size))
        for direction in (0, 1):
            weight_GI, bias_G = w_ih_2GI[direction].roll(size, 0), b_ih_2G[direction].roll(size, 0)
            from_input_NG = gates_2SBF[direction].flatten(0, 1)[:, : 3 * size]
            torch.addmm(bias_G, input_2SBI[direction].flatten(0, 1), weight_GI.t(), out=from_input_NG)
        states_2SBD = input_2SBI.new_empty((2, steps + 1, rows, size))  # the first one is zero
        states_2SBD[:, 0] = 0
        w_hh_2DG, b_hh_21G = w_hh_2GD.transpose(1, 2).contiguous(), b_hh_2G[:, None]
        for step in range(steps):
            n, r, z, q = gates_2SBF[:, step].split(size, dim=-1)
            from_state_2BG = torch.baddbmm(b_hh_21G, states_2SBD[:, step], w_hh_2DG)
            gates_2SBF[:, step, :, size : 3 * size].add_(from_state_2BG[..., : 2 * size]).sigmoid_()
            q.copy_(from_state_2BG[..., 2 * size :])
            n.addcmul_(r, q).tanh_()
            torch.lerp(n, states_2SBD[:, step], z, out=states_2SBD[:, step + 1])
        context.save_for_backward(input_2SBI, w_ih_2GI, w_hh_2GD, gates_2SBF, states_2SBD)
        return states_2SBD[:, 1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # as in the forward: outside autocast
    def backward(context: Any, gradient_2SBD: Tensor) -> tuple[Tensor | None, ...]:
        input_2SBI, w_ih_2GI, w_hh_2GD, gates_2SBF, states_2SBD = context.saved_tensors
        size = w_hh_2GD.shape[2]
        later_2BD = torch.zeros_like(states_2SBD[:, 0])
        for step in reversed(range(gradient_2SBD.shape[1])):
            later_2BD += gradient_2SBD[:, step]
            later_2BD = _through_gates(gates_2SBF[:, step], states_2SBD[:, step], later_2BD)
            later_2BD += torch.bmm(gates_2SBF[:, step, :, size:], w_hh_2GD)
        gates_2NF = gates_2SBF.flatten(1, 2)
        of_input_2NG, of_state_2NG = gates_2NF[..., : 3 * size], gates_2NF[..., size:]
        input_2NI, before_2ND = input_2SBI.flatten(1, 2), states_2SBD[:, :-1].flatten(1, 2)
        # Matrix by matrix: a batched product with a transposed factor takes twice as long.
        d_input = None
        if context.needs_input_grad[0]:
            d_input = torch.stack([of_input_2NG[i] @ w_ih_2GI[i].roll(size, 0) for i in (0, 1)]).view_as(input_2SBI)
        d_w_ih_2GI = torch.stack([(input_2NI[i].t() @ of_input_2NG[i]).t().roll(-size, 0) for i in (0, 1)])
        d_w_hh_2GD = torch.stack([(before_2ND[i].t() @ of_state_2NG[i]).t() for i in (0, 1)])
        return d_input, d_w_ih_2GI, d_w_hh_2GD, of_input_2NG.sum(1).roll(-size, 1), of_state_2NG.sum(1)


def _through_gates(gates_2BF: Tensor, before_2BD: Tensor, later_2BD: Tensor) -> Tensor:
    """Turn the gates of a step into gradients of what entered them, given that of the state after it; what of the latter
    passes on to the state before it by way of z."""
    n, r, z, q = gates_2BF.split(before_2BD.shape[-1], dim=-1)
    kept_2BD = later_2BD * z
    d_z = (before_2BD - n).mul_(later_2BD).mul_(z).mul_(1 - z)
    d_n = (later_2BD - kept_2BD).mul_(1 - n * n)
    torch.mul(d_n, q, out=n)
    torch.mul(d_n, r, out=q)
    r.mul_(1 - r).mul_(n)
    n.copy_(d_n)
    z.copy_(d_z)
    return kept_2BD
