"""Trees of decisions: log p(v|h) = sum_m log p(b_m | node_m, h), p(right | n, h) = sigmoid(w_n.h + b_n)  (SPEC.md section 2).

Morin and Bengio (2005), Mnih and Hinton (2009). The nodes that most words pass ("dense") are scored for all positions by one
matrix product; of the rest, only those on a target's path are gathered, and only their rows get a gradient.

Shapes: N predictions, D hidden, V words, I = V - 1 inner nodes, U dense nodes, M nodes on the longest path, E = U + 1 exits
from the dense nodes, K best words, W nodes kept by a search, X words excluded for each row.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from seqgen_cli.layers.rows import RowTable, pair_scores, places
from seqgen_cli.outputs import codes
from seqgen_cli.outputs.base import Draw, exact_scores, linear_scores
from seqgen_cli.outputs.frequencies import CountedLayer, rarest_first, shuffled
from seqgen_cli.outputs.tree_search import Expansion, best_leaves, walk


class _TreeLayer(CountedLayer):
    """A tree over the words; subclasses say how it is built.

    Memory and time of `loss` and `score` follow the paths' length, of order log V, and U.

    `topk` searches from the most probable nodes down and stops where no node left out can hold a better word (a node's
    probability bounds those of all words below it); a distribution too flat for that is computed whole. `sample` walks
    down from the root, unless the distribution is cut or heated, which takes all of it.

    Args:
        hidden_size: D. vocab_size: V.
        counts_V: training counts; None: all equal.
        shape: the tree for counts.
        dense_nodes: U; those that most words of the counts pass.
        unigram_bias: start at the counts' distribution (b_n = log of right over left mass); otherwise at b_n = 0.
    """

    refused: ClassVar[dict[str, str]] = {
        "tied": "its weights belong to the nodes of a tree, not to words",
        "label_smoothing": "it needs every word's score, which a tree never computes",
    }

    path_VM: Tensor
    bits_V: Tensor
    log_odds_I: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None,
        shape: Callable[[np.ndarray], codes.Tree],
        dense_nodes: int,
        unigram_bias: bool,
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V)
        self._shape = shape
        inner = vocab_size - 1
        self.dense_nodes = min(dense_nodes, inner)
        self.upper_weight = nn.Parameter(torch.empty(self.dense_nodes, hidden_size, device=None))  # None: torch's default device
        nn.init.uniform_(self.upper_weight, -(hidden_size**-0.5), hidden_size**-0.5)
        self.lower = RowTable(inner - self.dense_nodes, hidden_size)
        self.bias = nn.Parameter(torch.zeros(inner, device=None))
        self.arrange(self.arranged)
        if unigram_bias:
            with torch.no_grad():
                self.bias.copy_(self.log_odds_I)

    def arrange(self, counts_V: np.ndarray) -> None:
        tree = self._shape(counts_V)
        mass = np.concatenate([tree.mass_I, counts_V])[tree.children_I2].astype(np.float64)
        self.constant("log_odds_I", np.log(mass[:, 1] / mass[:, 0]).astype(np.float32))
        self.constant("path_VM", tree.path_VM)
        self.constant("bits_V", -np.log2(counts_V / counts_V.sum()).astype(np.float32))
        self.constant("children_I2", tree.children_I2)
        self.constant("leaves_I", tree.leaves_I)
        self.below = int((abs(tree.path_VM) > self.dense_nodes).sum(1).max(initial=0))  # nodes on a path that are not dense
        self.whole = Expansion(tree, self.vocab_size - 1, self.counts_V.device)
        self.crown = Expansion(tree, self.dense_nodes, self.counts_V.device)

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        code_NM = self.path_VM[target_N].long()
        node_NM = code_NM.abs() - 1
        upper_NU = self.upper_scores(hidden_ND)
        score_NM = upper_NU.gather(1, node_NM.clamp(0, max(0, self.dense_nodes - 1)))
        place_P = places(node_NM >= self.dense_nodes)
        count_N = (node_NM >= self.dense_nodes).sum(1)
        position_P = place_P // max(1, code_NM.shape[1])
        # Without any pair too: the table takes part in every backward, as DistributedDataParallel needs it to.
        score_P = self.lower_scores(hidden_ND, node_NM.flatten()[place_P], position_P, count_N.cumsum(0) - count_N)
        score_NM = score_NM.flatten().index_copy(0, place_P, score_P.to(score_NM.dtype)).view_as(code_NM)
        log_p_NM = logsigmoid(torch.where(code_NM > 0, score_NM, -score_NM))
        return torch.where(code_NM == 0, 0.0, log_p_NM).sum(1)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        lower_NL = exact_scores(hidden_ND, self.lower.weight, self.bias[self.dense_nodes :])
        return self.whole.words(self.whole(torch.cat([self.upper_scores(hidden_ND), lower_NL], dim=1)))

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return best_leaves(self, hidden_ND, k, exclude_NX)

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        return walk(self, hidden_ND, draw) if draw.is_plain else super().sample(hidden_ND, draw)

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """Decisions on the targets' paths, and -log2 of their share of the counts, which no code beats on average."""
        return {"path_length": (self.path_VM[target_N] != 0).sum(), "unigram_bits": self.bits_V[target_N].sum()}

    def upper_scores(self, hidden_ND: Tensor) -> Tensor:
        """Scores of the dense nodes: (N, U)."""
        return linear_scores(hidden_ND, self.upper_weight, self.bias[: self.dense_nodes])

    def lower_scores(self, hidden_ND: Tensor, node_P: Tensor, position_P: Tensor, start_N: Tensor) -> Tensor:
        """Scores of pairs of a node that is not dense and a position; see `pair_scores`."""
        score_P = pair_scores(hidden_ND, self.lower.weight, node_P - self.dense_nodes, position_P, start_N, self.lower.sparse)
        return score_P + self.bias.index_select(0, node_P)


class BinaryTree(_TreeLayer):
    """A balanced tree: every path ceil(log2 V) long, or one less.

    Args:
        order: of the words at its leaves: "frequency" makes words of like frequency neighbours, so that the nodes on frequent
            words' paths are few; "random" is for study.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        order: Literal["frequency", "random"] = "frequency",
        dense_nodes: Annotated[int, Ge(1)] = 63,
        unigram_bias: bool = True,
    ) -> None:
        # From the rarest up: the leaves that are one step nearer to the root are the last.
        ordered = rarest_first if order == "frequency" else shuffled
        super().__init__(hidden_size, vocab_size, counts_V, partial(codes.balanced, ordered), dense_nodes, unigram_bias)


class HuffmanTree(_TreeLayer):
    """The Huffman tree of the training counts: the expected path is shorter than their entropy in bits plus 1."""

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        dense_nodes: Annotated[int, Ge(1)] = 63,
        unigram_bias: bool = True,
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V, codes.huffman, dense_nodes, unigram_bias)
