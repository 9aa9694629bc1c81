"""Softmax over all words: log p(v|h) = w_v.h + b_v - log Z(h)  (SPEC.md section 2).

The scores of all positions are never held at once: positions are taken in chunks, and for the loss each chunk's
gradient is formed from its scores before they are dropped.

Shapes: N predictions, C predictions of one chunk, D hidden, V words, K best words, X words excluded for each row.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from seqgen_cli.outputs.base import Draw, NoiseKey, OutputLayer, linear_scores, row_chunks, sample_from
from seqgen_cli.outputs.chunked_loss import nll_each, nll_sum
from seqgen_cli.outputs.draws import pick
from seqgen_cli.runtime.devices import wide

_RUN = 64
"""Words whose mass is added up first when one is drawn."""


class Softmax(OutputLayer):
    """The full softmax, with label smoothing and an optional weight shared with the target embedding.

    With smoothing e, `loss` is (1 - e) nll(target) + e mean_v nll(v): mass e is spread evenly over all V words, the
    target among them. `score`, `log_probs`, `topk` and `sample` are never smoothed.

    A weight of its own starts uniform in +-1/sqrt(D) (so the first scores have a variance near 1/3 for hidden vectors of
    unit variance), a tied weight as the embedding did; the bias at 0.

    Args:
        hidden_size: D.
        vocab_size: V.
        embedding: the target embedding's weight (V, D), used where `tied`.
        tied: share `embedding` instead of owning a weight.
        bias: learn b_v; otherwise 0.
        label_smoothing: e, in [0, 1).
        chunk_elements: most scores (positions x V) held at once; at least one position is always taken. None: 4 Mi, or those
            of 256 positions if that is more: each chunk passes over the whole weight, or its gradient.
        backward: "stored" takes the gradient in the forward where each position's weight is known (three matrix products,
            and a (V, D) gradient held until backward), "recomputed" repeats the scores in backward (four products).

    Raises:
        ValueError: `tied` with an embedding that is missing or of another size.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        embedding: nn.Parameter | None = None,
        tied: bool = False,
        bias: bool = True,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        chunk_elements: Annotated[int, Ge(1)] | None = None,
        backward: Literal["stored", "recomputed"] = "stored",
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.label_smoothing = label_smoothing
        self.chunk_elements = chunk_elements
        self.backward = backward
        if tied and (embedding is None or embedding.shape != (vocab_size, hidden_size)):
            raise ValueError(f"a tied weight needs an embedding of {vocab_size} x {hidden_size}")
        if embedding is not None and tied:
            self.weight = embedding
        else:
            self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size, device=None))  # None: torch's default device
            nn.init.uniform_(self.weight, -(hidden_size**-0.5), hidden_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocab_size, device=None)) if bias else None

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        """Smoothed negative log-likelihood, (N,) or its sum weighted by `weights_N`. Differentiable once."""
        rest = (self.label_smoothing, self.chunk_elements)
        if self.backward == "stored" and weights_N is not None and not weights_N.requires_grad and torch.is_grad_enabled():
            return nll_sum(hidden_ND, self.weight, self.bias, target_N, weights_N, *rest)
        loss_N = nll_each(hidden_ND, self.weight, self.bias, target_N, *rest)
        return loss_N if weights_N is None else (loss_N * weights_N).sum()

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return -nll_each(hidden_ND, self.weight, self.bias, target_N, 0.0, self.chunk_elements)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        return self._scores(hidden_ND).log_softmax(-1)

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        best, ids = [], []
        for rows in self._chunks(hidden_ND.shape[0]):
            scores_CV = self._scores(hidden_ND[rows])
            log_z_C1 = scores_CV.logsumexp(-1, keepdim=True)
            allowed_CV = _ban(scores_CV, exclude_NX, rows)
            best_CK, id_CK = allowed_CV.max(-1, keepdim=True) if k == 1 else allowed_CV.topk(k, dim=-1)
            best.append(best_CK - log_z_C1)
            ids.append(id_CK)
        return torch.cat(best), torch.cat(ids)

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        ids = []
        for rows in self._chunks(hidden_ND.shape[0]):
            scores_CV = _ban(self._scores(hidden_ND[rows]), draw.exclude_NX, rows)
            if draw.top_k or draw.top_p < 1.0:
                ids.append(sample_from(scores_CV, replace(draw, uniform_N=draw.uniform_N[rows], exclude_NX=None)))
            else:
                scaled_CV = scores_CV if draw.temperature == 1.0 else scores_CV / draw.temperature
                ids.append(_invert(scaled_CV, draw.uniform_N[rows]))
        return torch.cat(ids)

    def _scores(self, hidden_CD: Tensor) -> Tensor:
        return linear_scores(hidden_CD, self.weight, self.bias)

    def _chunks(self, count: int) -> Iterator[slice]:
        return row_chunks(count, self.vocab_size, self.chunk_elements)


def _ban(scores_CV: Tensor, exclude_NX: Tensor | None, rows: slice) -> Tensor:
    """The scores with -inf at the excluded words, in place where no gradient is wanted.

    An entry of -1 takes the minimum with +inf, which changes nothing.
    """
    if exclude_NX is None:
        return scores_CV
    exclude_CX = exclude_NX[rows]
    ceiling_CX = torch.where(exclude_CX < 0, float("inf"), float("-inf")).to(scores_CV.dtype)
    ban = scores_CV.scatter_reduce if scores_CV.requires_grad else scores_CV.scatter_reduce_
    return ban(1, exclude_CX.clamp_min(0), ceiling_CX, "amin")


def _invert(scores_CV: Tensor, uniform_C: Tensor) -> Tensor:
    """One word a row, -1 where all are excluded: the inverse of the cumulative distribution, words in id order.

    First a run of words is picked by their mass, then one of them, so that few numbers are added up in a wide dtype.
    (`sample_from` lays words from the most probable down, which takes a sort.)
    """
    p_CV = scores_CV.softmax(-1)
    whole = p_CV.shape[1] // _RUN * _RUN
    runs_CG = p_CV[:, :whole].unflatten(1, (whole // _RUN, _RUN)).sum(-1)
    mass_CG = wide(torch.cat([runs_CG, p_CV[:, whole:].sum(-1, keepdim=True)], dim=1))
    run_C1, within_C1 = pick(mass_CG.nan_to_num(0.0), uniform_C[:, None])
    place_CR = run_C1 * _RUN + torch.arange(_RUN, device=p_CV.device)
    p_CR = wide(p_CV.gather(1, place_CR.clamp(max=p_CV.shape[1] - 1)))
    p_CR = torch.where(place_CR < p_CV.shape[1], p_CR, 0.0).nan_to_num(0.0)
    word_C1 = place_CR.gather(1, pick(p_CR, within_C1.nan_to_num(0.0))[0])
    return torch.where(mass_CG.sum(1) > 0, word_C1.squeeze(1), -1)
