"""Search in a tree of binary decisions: all words' log-probabilities, the best k, a sample.

Shapes: N positions, D hidden, V words, I = V - 1 inner nodes, U dense nodes, E exits, K best words, W nodes kept by the search,
X words excluded for each row, P pairs of a position and a node, F words found. A child is an inner node's number, or I + word
for a leaf.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from seqgen_cli.layers.rows import places
from seqgen_cli.outputs import codes
from seqgen_cli.outputs.base import Draw, OutputLayer, of_rows
from seqgen_cli.outputs.draws import excluded, pick, remaining
from seqgen_cli.runtime.devices import least, wide

_WORDS_A_NODE = 32
"""Words whose probabilities, computed all together, cost about as much as one node's, whose weights are gathered."""


class Expansion(nn.Module):
    """Log-probabilities at the exits of a tree's first `nodes` nodes, from the scores of these nodes, level by level."""

    exits_E: Tensor
    depth_E: Tensor
    leaves_E: Tensor
    exit_V: Tensor

    def __init__(self, tree: codes.Tree, nodes: int, device: torch.device) -> None:
        super().__init__()
        found, exits_E = codes.levels(tree.children_I2, nodes)
        inner = len(tree.children_I2)
        arrays = {
            "node": [level.node_L for level in found],
            "on": [level.inner_ for level in found],
            "out": [level.exit_ for level in found],
        }
        self._sizes = {name: [len(part) for part in parts] for name, parts in arrays.items()}
        depth_E = np.repeat(np.arange(1, len(found) + 1), self._sizes["out"]) if found else np.zeros(1, dtype=np.int64)
        leaves = np.concatenate([tree.leaves_I, np.ones(inner + 1, dtype=np.int64)])
        buffers = {name: np.concatenate([*parts, np.zeros(0, dtype=np.int64)]) for name, parts in arrays.items()}
        buffers |= {"exits_E": exits_E, "depth_E": depth_E, "leaves_E": leaves[exits_E]}
        buffers["exit_V"] = codes.exit_of_words(tree, exits_E, nodes)
        for name, values in buffers.items():
            self.register_buffer(name, torch.as_tensor(values, device=device), persistent=False)

    def forward(self, score_NI: Tensor) -> Tensor:
        """Scores of the nodes, (N, nodes), to log p at the exits, (N, E)."""
        parts = {name: getattr(self, name).split(sizes) for name, sizes in self._sizes.items()}
        log_p_NL = score_NI.new_zeros(score_NI.shape[0], 1)
        found = []
        for node_L, on, out in zip(parts["node"], parts["on"], parts["out"], strict=True):
            score_NL = score_NI.index_select(1, node_L)
            right_NL = log_p_NL + logsigmoid(score_NL)
            both = torch.stack([right_NL - score_NL, right_NL], dim=-1).flatten(1)  # sigmoid(-s) = sigmoid(s) exp(-s)
            found.append(both.index_select(1, out))
            log_p_NL = both.index_select(1, on)
        return torch.cat(found, dim=1) if found else log_p_NL

    def words(self, log_p_NE: Tensor) -> Tensor:
        """Log-probabilities at exits that are words, in the words' order."""
        return log_p_NE.index_select(1, self.exit_V)


def best_leaves(layer: Any, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None) -> tuple[Tensor, Tensor]:
    """The k most probable words, exactly: (N, k) log-probabilities, falling, and ids.

    A search from the top that keeps the W most probable nodes of each step finds k words. Where the k-th is at least as
    probable as every node that was let go, they are the best; in the other rows, every node as probable as that word is
    opened. Rows with too many of those are computed whole.
    """
    width = 2 * k
    if width * max(1, layer.below) * _WORDS_A_NODE > layer.vocab_size or hidden_ND.is_meta:  # nothing to compare bounds with
        return OutputLayer.topk(layer, hidden_ND, k, exclude_NX)
    crown_NE = layer.crown(layer.upper_scores(hidden_ND))
    best_Nk, id_Nk, let_go_N = _descend(layer, hidden_ND, crown_NE, k, width, exclude_NX)
    row_R = places(best_Nk[:, -1] < let_go_N)
    if row_R.shape[0]:
        known = (crown_NE[row_R], best_Nk[row_R], of_rows(exclude_NX, row_R))
        best_Rk, id_Rk, gave_up_R = _open(layer, hidden_ND[row_R], *known)
        best_Nk, id_Nk = best_Nk.index_copy(0, row_R, best_Rk), id_Nk.index_copy(0, row_R, id_Rk)
        row_G = row_R[gave_up_R]
        best_Gk, id_Gk = OutputLayer.topk(layer, hidden_ND[row_G], k, of_rows(exclude_NX, row_G))
        best_Nk, id_Nk = best_Nk.index_copy(0, row_G, best_Gk), id_Nk.index_copy(0, row_G, id_Gk)
    return best_Nk, id_Nk


def _descend(
    layer: Any, hidden_ND: Tensor, crown_NE: Tensor, k: int, width: int, exclude_NX: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The k best words below the W most probable nodes of each step, and the largest log p let go: (N, k), (N, k), (N,)."""
    inner = layer.vocab_size - 1
    log_p_NW, place_NW, let_go_N = _keep(crown_NE, width)
    child_NW = layer.crown.exits_E[place_NW]
    while bool((child_NW < inner).any()):
        both_NW2, child_NW2 = _children(layer, hidden_ND, log_p_NW, child_NW)
        log_p_NW, place_NW, now_N = _keep(both_NW2.flatten(1), width)
        child_NW = child_NW2.flatten(1).gather(1, place_NW)
        let_go_N = torch.maximum(let_go_N, now_N)
    word_NW = child_NW - inner
    if exclude_NX is not None:
        is_banned_NW = (word_NW[:, :, None] == exclude_NX[:, None, :]).any(-1)
        log_p_NW = log_p_NW.masked_fill(is_banned_NW, float("-inf"))
    best_Nk, place_Nk = log_p_NW.topk(k, dim=1)
    return best_Nk, word_NW.gather(1, place_Nk), let_go_N


def _open(
    layer: Any, hidden_RD: Tensor, crown_RE: Tensor, known_Rk: Tensor, exclude_RX: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The k best words, given k words' log-probabilities: by opening every node that may hold a better one.

    Returns (R, k) log-probabilities, falling, ids, and the rows (R,) that were given up, for having too many such nodes.
    """
    inner, rows = layer.vocab_size - 1, len(hidden_RD)
    bound_R = known_Rk[:, -1] - 1e-4  # rounding must not leave out the words known
    row_P, exit_P = (crown_RE >= bound_R[:, None]).nonzero(as_tuple=True)
    log_p_P, child_P = crown_RE[row_P, exit_P], layer.crown.exits_E[exit_P]
    opened_R, found = torch.zeros_like(bound_R, dtype=torch.int64), []
    while True:
        is_word_P = child_P >= inner
        found.append((row_P[is_word_P], child_P[is_word_P] - inner, log_p_P[is_word_P]))
        opened_R += torch.bincount(row_P[~is_word_P], minlength=rows)
        gave_up_R = opened_R * _WORDS_A_NODE > layer.vocab_size
        goes_on_P = ~is_word_P & ~gave_up_R[row_P]
        row_P, node_P, log_p_P = row_P[goes_on_P], child_P[goes_on_P], log_p_P[goes_on_P]
        if not row_P.shape[0]:
            break
        count_R = torch.bincount(row_P, minlength=rows)
        score_P = layer.lower_scores(hidden_RD, node_P, row_P, count_R.cumsum(0) - count_R)
        both_P2 = log_p_P[:, None] + logsigmoid(torch.stack([-score_P, score_P], dim=1))
        is_open_P2 = both_P2 >= bound_R[row_P, None]
        row_P, child_P = row_P[:, None].expand_as(both_P2)[is_open_P2], layer.children_I2[node_P][is_open_P2]
        log_p_P = both_P2[is_open_P2]
    row_F, word_F, log_p_F = (torch.cat(parts) for parts in zip(*found, strict=True))
    if exclude_RX is not None:
        allowed_F = (word_F[:, None] != exclude_RX[row_F]).all(1)
        row_F, word_F, log_p_F = row_F[allowed_F], word_F[allowed_F], log_p_F[allowed_F]
    return *_best_of_each(rows, known_Rk.shape[1], row_F, word_F, log_p_F), gave_up_R


def _best_of_each(rows: int, k: int, row_F: Tensor, word_F: Tensor, log_p_F: Tensor) -> tuple[Tensor, Tensor]:
    """The k best of each row's words, of which it has any number: (R, k) log-probabilities and ids."""
    order_F = row_F.argsort(stable=True)
    row_F, count_R = row_F[order_F], torch.bincount(row_F, minlength=rows)
    place_F = torch.arange(len(row_F), device=row_F.device) - (count_R.cumsum(0) - count_R)[row_F]
    width = max(k, int(count_R.max()))
    log_p_RF = log_p_F.new_full((rows, width), float("-inf"))
    log_p_RF[row_F, place_F] = log_p_F[order_F]
    word_RF = torch.zeros_like(log_p_RF, dtype=torch.int64)
    word_RF[row_F, place_F] = word_F[order_F]
    best_Rk, best_place_Rk = log_p_RF.topk(k, dim=1)
    return best_Rk, word_RF.gather(1, best_place_Rk)


def _keep(log_p_NC: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `width` largest of each row, where they stand, and the largest of the rest."""
    if log_p_NC.shape[1] <= width:
        place_NC = torch.arange(log_p_NC.shape[1], device=log_p_NC.device).expand_as(log_p_NC)
        return log_p_NC, place_NC, torch.full_like(log_p_NC[:, 0], float("-inf"))
    best, place = log_p_NC.topk(width + 1, dim=1)
    return best[:, :-1], place[:, :-1], best[:, -1]


def _children(layer: Any, hidden_ND: Tensor, log_p_NW: Tensor, child_NW: Tensor) -> tuple[Tensor, Tensor]:
    """Both children of each inner node; a word stays, with nothing beside it. Log-probabilities and children, (N, W, 2)."""
    inner = layer.vocab_size - 1
    is_inner_NW = child_NW < inner
    place_P = is_inner_NW.flatten().nonzero().squeeze(1)
    node_P, count_N = child_NW.flatten()[place_P], is_inner_NW.sum(1)
    score_P = layer.lower_scores(hidden_ND, node_P, place_P // child_NW.shape[1], count_N.cumsum(0) - count_N)
    left_P = log_p_NW.flatten()[place_P] + logsigmoid(-score_P)
    right_P = log_p_NW.flatten()[place_P] + logsigmoid(score_P)
    both_NW2 = torch.stack([log_p_NW, torch.full_like(log_p_NW, float("-inf"))], dim=-1)
    both_NW2 = both_NW2.flatten(0, 1).index_copy(0, place_P, torch.stack([left_P, right_P], dim=-1)).view_as(both_NW2)
    child_NW2 = child_NW[:, :, None].expand(-1, -1, 2).flatten(0, 1).index_copy(0, place_P, layer.children_I2[node_P])
    return both_NW2, child_NW2.view_as(both_NW2)


def walk(layer: Any, hidden_ND: Tensor, draw: Draw) -> Tensor:
    """One word a row, by walking down from the root: the uniform number chooses a branch and is stretched to it. -1: none left.

    A branch's mass is its probability less that of the excluded words under it, as `remaining` says.
    """
    inner = layer.vocab_size - 1
    word_NX, here_NX, p_NX = excluded(layer, hidden_ND, draw.exclude_NX)
    crown = layer.crown
    p_NE = wide(crown(layer.upper_scores(hidden_ND))).exp()
    exit_NX = crown.exit_V[word_NX]
    rest_NE = remaining(p_NE, crown.leaves_E, exit_NX, here_NX, p_NX)
    exit_N1, uniform_N1 = pick(rest_NE, draw.uniform_N[:, None])
    child_N1, depth_N1, p_N1 = crown.exits_E[exit_N1], crown.depth_E[exit_N1], p_NE.gather(1, exit_N1)
    here_NX = here_NX & (exit_NX == exit_N1)
    for _ in range(layer.below):
        row_A = places(child_N1 < inner)  # still at an inner node
        node_A, hidden_AD = child_N1[row_A, 0], hidden_ND[row_A].to(layer.lower.weight.dtype)
        score_A = (hidden_AD * layer.lower.weight[node_A - layer.dense_nodes]).sum(1) + layer.bias[node_A]
        p_A2 = p_N1[row_A] * wide(torch.stack([-score_A, score_A], dim=1)).sigmoid()
        turn_AX = layer.path_VM[word_NX[row_A], depth_N1[row_A]] > 0
        gone_AX2 = torch.stack([~turn_AX, turn_AX], dim=-1) & here_NX[row_A, :, None]
        child_A2 = layer.children_I2[node_A]
        words_A2 = torch.where(child_A2 < inner, layer.leaves_I[child_A2.clamp(max=inner - 1)], 1)
        rest_A2 = (p_A2 - torch.where(gone_AX2, p_NX[row_A, :, None], 0.0).sum(1)).clamp_min(least(p_A2.dtype))
        turn_A1, uniform_A1 = pick(torch.where(gone_AX2.sum(1) < words_A2, rest_A2, 0.0), uniform_N1[row_A])
        child_N1 = child_N1.index_copy(0, row_A, child_A2.gather(1, turn_A1))
        p_N1 = p_N1.index_copy(0, row_A, p_A2.gather(1, turn_A1))
        uniform_N1 = uniform_N1.index_copy(0, row_A, uniform_A1)
        here_NX = here_NX.index_copy(0, row_A, here_NX[row_A] & (turn_AX == (turn_A1 == 1)))
        depth_N1 = depth_N1 + 1
    return torch.where((rest_NE > 0).any(1), child_N1.squeeze(1) - inner, -1)
