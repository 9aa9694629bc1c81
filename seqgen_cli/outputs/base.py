"""What an output layer promises: from a hidden vector to a distribution over V words (SPEC.md section 2).

Shapes: N predictions, D hidden, V words, K best words, X words excluded for each row.

Nothing outside this package knows logits. Training minimises `loss`; evaluation, search and rewards use
`score`, `log_probs`, `topk` and `sample`, which are exact, never `loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from seqgen_cli.layers.random import Key
from seqgen_cli.runtime.devices import autocast_dtype, no_autocast, wide

_CHUNK_ELEMENTS = 1 << 22
_LEAST_ROWS = 256


@dataclass(frozen=True)
class NoiseKey:
    """Where an estimator's random numbers come from: `key` alone for noise shared by the batch (seed, update), with
    `example_N` and `position_N` for noise of one prediction."""

    key: Key
    example_N: Tensor
    position_N: Tensor


@dataclass(frozen=True)
class Draw:
    """How one word a row is drawn: by inverting the cumulative distribution at a uniform number.

    The distribution is p^(1/temperature), renormalised over the words that are not excluded, then cut to the `top_k` most
    probable (0: all), then to the fewest most probable words holding at least `top_p` of the mass (1: all).

    Args:
        uniform_N: in (0, 1), as of Key.uniform.
        exclude_NX: ids that may not be drawn (-1: no word); None: all may.
    """

    uniform_N: Tensor
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    exclude_NX: Tensor | None = None

    @property
    def is_plain(self) -> bool:
        """Whether words are drawn by their own probabilities, neither tempered nor cut."""
        return self.temperature == 1.0 and not self.top_k and self.top_p >= 1.0

    def rows(self, rows: slice | Tensor) -> Draw:
        """The same for some of the rows."""
        return replace(self, uniform_N=self.uniform_N[rows], exclude_NX=of_rows(self.exclude_NX, rows))


class OutputLayer(nn.Module):
    """p(word | hidden). Subclasses give `score` and `log_probs`; they override the rest where structure makes it cheaper."""

    vocab_size: int
    hidden_size: int
    dense_because: str | None = None
    """Why a layer that could update only the rows a batch uses updates them all; None: it does not, or has nothing to spare."""
    score_is_dense: bool = False
    """Whether the gradient of `score` touches every row where that of `loss` does not."""

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        """What training minimises: (N,), or its sum weighted by `weights_N` (a scalar), which may be cheaper.

        May be an estimator (then it draws from `noise`) or smoothed; the negative of `score` otherwise.
        """
        loss_N = -self.score(hidden_ND, target_N)
        return loss_N if weights_N is None else (loss_N * weights_N).sum()

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """Exact log p(target | hidden), natural log: (N, D), (N,) -> (N,). Differentiable."""
        raise NotImplementedError("abstract")

    def estimator_parameters(self) -> list[nn.Parameter]:
        """Parameters of `loss` alone, which say nothing of the distribution. None by default."""
        return []

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """The whole log-distribution: (N, D) -> (N, V). Differentiable."""
        raise NotImplementedError("abstract")

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The k most probable words: log-probabilities (N, k), falling, and ids (N, k).

        `exclude_NX` holds ids that may not be chosen (-1: no word). Probabilities are not renormalised; where fewer
        than k words remain, the rest is -inf with arbitrary ids. k is at most V.
        """
        chunks = row_chunks(hidden_ND.shape[0], self.vocab_size)
        return topk_of(lambda rows: self.log_probs(hidden_ND[rows]), chunks, k, exclude_NX)

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        """One word a row: (N, D) -> (N,) ids; -1 where every word is excluded."""
        chunks = row_chunks(hidden_ND.shape[0], self.vocab_size)
        return sample_of(lambda rows: self.log_probs(hidden_ND[rows]), chunks, draw)

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """Extra figures to log at validation, as sums over the N predictions. None by default.

        Where there is "x" and "x_squared", its square, the mean and the standard deviation of x are reported.
        """
        return {}


def row_chunks(count: int, width: int, elements: int | None = None) -> Iterator[slice]:
    """Slices of at most elements / width rows (1 at least); one empty slice for no rows, so that results keep their shape.

    Where no number of elements is given, 4 Mi, but 256 rows at least: each chunk passes over the whole weight once more.
    """
    step = max(_LEAST_ROWS, _CHUNK_ELEMENTS // width) if elements is None else max(1, elements // width)
    return (slice(start, min(start + step, count)) for start in range(0, max(count, 1), step))


def of_rows(exclude_NX: Tensor | None, rows: slice | Tensor) -> Tensor | None:
    """The words excluded in some of the rows."""
    return None if exclude_NX is None else exclude_NX[rows]


def banned(log_probs_NV: Tensor, exclude_NX: Tensor | None) -> Tensor:
    """The same log-probabilities with -inf at the excluded ids (-1: no word)."""
    if exclude_NX is None:
        return log_probs_NV
    # Index V is a spare column for the -1 entries, dropped again.
    spare_NV1 = torch.nn.functional.pad(log_probs_NV, (0, 1))
    column_NX = torch.where(exclude_NX < 0, log_probs_NV.shape[1], exclude_NX)
    return spare_NV1.scatter(1, column_NX, float("-inf"))[:, :-1]


def topk_of(
    log_probs: Callable[[slice], Tensor], chunks: Iterable[slice], k: int, exclude_NX: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`OutputLayer.topk` on log-distributions that are computed some rows at a time."""
    found = [banned(log_probs(rows), of_rows(exclude_NX, rows)).topk(k, dim=-1) for rows in chunks]
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def sample_of(log_probs: Callable[[slice], Tensor], chunks: Iterable[slice], draw: Draw) -> Tensor:
    """`OutputLayer.sample` on log-distributions that are computed some rows at a time."""
    return torch.cat([sample_from(log_probs(rows), draw.rows(rows)) for rows in chunks])


def single(scores: Tensor) -> Tensor:
    """The scores in float32 at least: a product may be of lower precision (autocast), what follows must not."""
    return scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores


def linear_scores(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """w_v . h + b_v: (N, V), in float32 at least. Under autocast the product alone is rounded: a bias of a rare word's size,
    -12, rounded with it would leave steps of 0.06."""
    if bias_V is None or autocast_dtype(weight_VD.device) is None:
        return single(linear(hidden_ND, weight_VD, bias_V))
    return single(linear(hidden_ND, weight_VD)).add_(bias_V)


def exact_scores(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
    """The same, outside autocast: of tables whose rows `score` multiplies one by one, or by groups, in the weight's dtype."""
    with no_autocast(weight_VD.device):
        return linear(hidden_ND.to(weight_VD.dtype), weight_VD, bias_V)


def sample_from(log_probs_NV: Tensor, draw: Draw) -> Tensor:
    """`OutputLayer.sample` on a given log-distribution. Words are laid on the unit interval from the most probable down."""
    scaled_NV = wide(banned(log_probs_NV, draw.exclude_NX)) / draw.temperature
    width = min(draw.top_k, scaled_NV.shape[1]) if draw.top_k else scaled_NV.shape[1]
    best_NK, id_NK = scaled_NV.topk(width, dim=-1)
    probs_NK = best_NK.softmax(-1)
    if draw.top_p < 1.0:
        before_NK = probs_NK.cumsum(-1) - probs_NK
        probs_NK = probs_NK.masked_fill(before_NK >= draw.top_p, 0.0)
    cumulative_NK = probs_NK.cumsum(-1)
    place_N1 = torch.searchsorted(cumulative_NK, draw.uniform_N[:, None] * cumulative_NK[:, -1:], right=True)
    # Rounding may put the draw past the last word that has any mass.
    last_N1 = (probs_NK > 0).sum(-1, keepdim=True) - 1
    word_N1 = id_NK.gather(1, torch.minimum(place_N1, last_N1).clamp_min(0))
    return torch.where(best_NK[:, :1] > float("-inf"), word_N1, -1).squeeze(1)
