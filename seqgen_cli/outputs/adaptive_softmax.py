"""Adaptive softmax (Grave et al. 2017): frequent words at full width, rarer ones in narrower clusters (SPEC.md section 2).

    p(w|h) = p(w | head, h) for the most frequent words,  p(cluster | head, h) p(w | cluster, P_c h) for the rest

The model of torch.nn.AdaptiveLogSoftmaxWithLoss, for any order of words, and without holding positions x words.

Shapes: N predictions, D hidden, V words by rank, H entries of the head (its words, then the clusters), T words of one cluster,
R rows of one cluster, K best words, X words excluded for each row.
"""

from itertools import pairwise
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.rows import places
from seqgen_cli.outputs.base import Draw, NoiseKey, banned, linear_scores, row_chunks, single
from seqgen_cli.outputs.chunked_loss import nll_each, nll_sum
from seqgen_cli.outputs.draws import excluded, pick, pick_word, remaining
from seqgen_cli.outputs.frequencies import CountedLayer, by_frequency
from seqgen_cli.runtime.devices import wide


class _Cluster(nn.Module):
    """Scores of a cluster's words from narrowed hidden vectors: (R, D) -> (R, T)."""

    def __init__(self, hidden_size: int, width: int, words: int) -> None:
        super().__init__()
        self.into = nn.Linear(hidden_size, width, bias=False, device=None)
        self.out = nn.Linear(width, words, bias=False, device=None)

    def forward(self, hidden_RD: Tensor) -> Tensor:
        score_RT: Tensor = self.out(self.into(hidden_RD))
        return score_RT


class AdaptiveSoftmax(CountedLayer):
    """Words are ranked by their training counts inside; callers use their ids.

    `topk` opens a cluster for the rows where it may hold a better word than those found (its probability bounds its words').
    `sample` draws a word of the head or a cluster and a word of it, unless the distribution is cut or heated, which takes all.

    Args:
        hidden_size: D. vocab_size: V.
        counts_V: training counts; None: all equal.
        cutoffs: ranks at which the clusters begin, rising; None: V / 40 and V / 6.
        div_value: cluster c = 1, 2, ... has width D / div_value^c, at least 1.
        head_bias: learn offsets of the head's entries.

    Raises:
        RequestError: cutoffs that do not rise between 0 and V.
    """

    refused: ClassVar[dict[str, str]] = {
        "tied": "its clusters are narrower than the embedding",
        "label_smoothing": "it needs every word's score, and only those of the target's cluster are computed",
    }
    rank_V: Tensor
    word_V: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        cutoffs: list[Annotated[int, Ge(1)]] | None = None,
        div_value: Annotated[float, Gt(0)] = 4.0,
        head_bias: bool = False,
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V)
        edges = _default_cutoffs(vocab_size) if cutoffs is None else cutoffs
        if any(low >= high for low, high in pairwise([*edges, vocab_size])):
            raise RequestError(f"output.cutoffs={edges} must rise, and stay below the {vocab_size} words of the vocabulary.")
        self.edges = [*edges, vocab_size]
        self.head = nn.Linear(
            hidden_size, self.edges[0] + len(edges), bias=head_bias, device=None
        )  # None: torch's default device
        self.tails = nn.ModuleList()
        for number, (low, high) in enumerate(pairwise(self.edges), start=1):
            width = max(1, int(hidden_size / div_value**number))
            self.tails.append(_Cluster(hidden_size, width, high - low))
        self.arrange(self.arranged)

    def arrange(self, counts_V: np.ndarray) -> None:
        word_V = by_frequency(counts_V)
        self.constant("word_V", word_V.copy())
        self.constant("rank_V", np.argsort(word_V, kind="stable"))

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        """Negative log-likelihood; where weights are known before the backward, its gradient is taken in the forward."""
        if weights_N is None or weights_N.requires_grad or not torch.is_grad_enabled():
            return super().loss(hidden_ND, target_N, weights_N, noise)
        rank_N = self.rank_V[target_N]
        rest = (0.0, None)
        total = nll_sum(hidden_ND, self.head.weight, self.head.bias, self._entry(rank_N), weights_N, *rest)
        for number, cluster in enumerate(self._clusters()):
            row_R = self._rows(rank_N, number)
            target_R = self._local(rank_N[row_R], number)
            total = total + nll_sum(cluster.into(hidden_ND[row_R]), cluster.out.weight, None, target_R, weights_N[row_R], *rest)
        return total

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        rank_N = self.rank_V[target_N]
        score_N = -nll_each(hidden_ND, self.head.weight, self.head.bias, self._entry(rank_N), 0.0, None)
        for number, cluster in enumerate(self._clusters()):
            row_R = self._rows(rank_N, number)
            target_R = self._local(rank_N[row_R], number)
            nll_R = nll_each(cluster.into(hidden_ND[row_R]), cluster.out.weight, None, target_R, 0.0, None)
            score_N = score_N.index_add(0, row_R, nll_R.to(score_N.dtype), alpha=-1)
        return score_N

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        head_NH = self._head(hidden_ND)
        parts = [head_NH[:, : self.edges[0]]]
        for number in range(len(self.tails)):
            parts.append(self._tail(hidden_ND, number) + head_NH[:, self.edges[0] + number, None])
        return torch.cat(parts, dim=1).index_select(1, self.rank_V)

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rank_NX = None if exclude_NX is None else torch.where(exclude_NX < 0, -1, self.rank_V[exclude_NX.clamp_min(0)])
        head_NH = self._head(hidden_ND)
        missing = max(0, k - self.edges[0])
        words_NH = nn.functional.pad(head_NH[:, : self.edges[0]], (0, missing), value=float("-inf"))
        best_Nk, rank_Nk = banned(words_NH, self._inside(rank_NX, 0, self.edges[0])).topk(k, dim=1)
        for number, (low, high) in enumerate(pairwise(self.edges)):
            bound_N = head_NH[:, self.edges[0] + number]
            open_R = places(bound_N >= best_Nk[:, -1])
            for rows in row_chunks(open_R.shape[0], high - low):
                row_R = open_R[rows]
                log_p_RT = self._tail(hidden_ND[row_R], number) + bound_N[row_R, None]
                ban_RX = None if rank_NX is None else self._inside(rank_NX[row_R], low, high)
                best_RT, local_RT = banned(log_p_RT, ban_RX).topk(min(k, high - low), dim=1)
                best_Rk, place_Rk = torch.cat([best_Nk[row_R], best_RT], dim=1).topk(k, dim=1)
                best_Nk = best_Nk.index_copy(0, row_R, best_Rk)
                rank_Rk = torch.cat([rank_Nk[row_R], low + local_RT], dim=1).gather(1, place_Rk)
                rank_Nk = rank_Nk.index_copy(0, row_R, rank_Rk)
        return best_Nk, self.word_V[rank_Nk.clamp(max=self.vocab_size - 1)]

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        if not draw.is_plain:
            return super().sample(hidden_ND, draw)
        word_NX, here_NX, p_NX = excluded(self, hidden_ND, draw.exclude_NX)
        rank_NX = self.rank_V[word_NX]
        p_NH = wide(self._head(hidden_ND)).exp()
        sizes = [1] * self.edges[0] + [high - low for low, high in pairwise(self.edges)]
        rest_NH = remaining(p_NH, torch.as_tensor(sizes, device=p_NH.device), self._entry(rank_NX), here_NX, p_NX)
        entry_N1, uniform_N1 = pick(rest_NH, draw.uniform_N[:, None])
        rank_N = entry_N1.squeeze(1)
        for number, (low, high) in enumerate(pairwise(self.edges)):
            open_R = places(entry_N1 == self.edges[0] + number)
            for rows in row_chunks(open_R.shape[0], high - low):
                row_R = open_R[rows]
                ban_RX = self._inside(torch.where(here_NX, rank_NX, -1)[row_R], low, high)
                log_p_RT = banned(self._tail(hidden_ND[row_R], number), ban_RX)
                rank_N = rank_N.index_copy(0, row_R, low + pick_word(log_p_RT, uniform_N1[row_R]))
        return torch.where((rest_NH > 0).any(1), self.word_V[rank_N.clamp(max=self.vocab_size - 1)], -1)

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """The probability given to the head's words and to each cluster."""
        p_NH = self._head(hidden_ND).exp()
        clusters = {f"mass_of_cluster_{number + 1}": p_NH[:, self.edges[0] + number].sum() for number in range(len(self.tails))}
        return {"mass_of_head": p_NH[:, : self.edges[0]].sum(), **clusters}

    def _clusters(self) -> list[_Cluster]:
        return [cast(_Cluster, tail) for tail in self.tails]

    def _head(self, hidden_ND: Tensor) -> Tensor:
        """log p of the head's words and of the clusters: (N, H)."""
        return linear_scores(hidden_ND, self.head.weight, self.head.bias).log_softmax(-1)

    def _tail(self, hidden_RD: Tensor, number: int) -> Tensor:
        """log p of a cluster's words, given the cluster: (R, T)."""
        return single(self.tails[number](hidden_RD)).log_softmax(-1)

    def _entry(self, rank: Tensor) -> Tensor:
        """The head's entry of a rank: the word itself, or its cluster."""
        entry = rank
        for number, low in enumerate(self.edges[:-1]):
            entry = torch.where(rank >= low, self.edges[0] + number, entry)
        return entry

    def _rows(self, rank_N: Tensor, number: int) -> Tensor:
        """The predictions whose target is in a cluster."""
        return places((rank_N >= self.edges[number]) & (rank_N < self.edges[number + 1]))

    def _local(self, rank_R: Tensor, number: int) -> Tensor:
        """Place in the cluster."""
        return rank_R - self.edges[number]

    @staticmethod
    def _inside(rank_NX: Tensor | None, low: int, high: int) -> Tensor | None:
        """Excluded ranks counted from `low`; -1 for those of other parts."""
        return None if rank_NX is None else torch.where((rank_NX >= low) & (rank_NX < high), rank_NX - low, -1)


def _default_cutoffs(vocab_size: int) -> list[int]:
    """Near the least work at targets log-uniform in rank, and still cheap at others."""
    found = sorted({vocab_size // 40, vocab_size // 6} - {0})
    return found or [1][: vocab_size - 1]
