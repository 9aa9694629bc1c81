"""Training the full softmax by samples: importance sampling, and noise-contrastive estimation (SPEC.md section 2).

Both learn the scores s(v,h) = w_v.h + b_v from the target and K words drawn from a proposal q, and only these words' rows get
a gradient. They change nothing but `loss`: everything else is the exact softmax of the same scores.

Shapes: N predictions, D hidden, V words, K sampled words, J = K + 1 of these and the target, X words excluded for each row.
"""

import math
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from seqgen_cli.layers.random import Key
from seqgen_cli.layers.rows import RowTable, distinct, pair_scores
from seqgen_cli.outputs.base import Draw, NoiseKey
from seqgen_cli.outputs.candidates import candidate_scores
from seqgen_cli.outputs.frequencies import CountedLayer, by_frequency
from seqgen_cli.outputs.softmax import Softmax
from seqgen_cli.runtime.devices import wide

Proposal = Literal["unigram", "uniform", "log_uniform"]

_BITS = 53
"""Of the random numbers that words are drawn by: as many as float64's cumulative sums hold."""


class _Sampled(CountedLayer):
    """What the two estimators share: the scores, the proposal, and the exact softmax for all but training.

    With q the words' counts to the power `alpha`; or equal for all; or proportional to log((r + 1) / r) for the word of rank
    r = 1, 2, ... by frequency. Counts are at least 1, so q > 0 everywhere.

    Args:
        hidden_size: D. vocab_size: V.
        counts_V: training counts; None: all equal.
        embedding: the target embedding's weight (V, D), used where `tied`; its gradient is dense then.
        tied: share `embedding` instead of owning a weight.
        samples: K, with replacement.
        proposal: q. alpha: of "unigram".
        shared: draw the K words once for the batch, by update; otherwise for every prediction.
    """

    refused: ClassVar[dict[str, str]] = {
        "label_smoothing": "it needs every word's score, and only the target's and the samples' are computed"
    }
    score_is_dense = True
    weight_V: Tensor
    upto_V: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None,
        embedding: nn.Parameter | None,
        tied: bool,
        samples: int,
        proposal: Proposal,
        alpha: float,
        shared: bool,
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V)
        self.samples, self.proposal, self.alpha, self.shared = samples, proposal, alpha, shared
        self.table = None if tied else RowTable(vocab_size, hidden_size)
        self.dense_because = "output.tied shares its weight with the embedding" if tied else None
        weight = embedding if self.table is None else cast(nn.Parameter, self.table.weight)
        self.softmax = Softmax(hidden_size, vocab_size, weight, tied=True)
        self.arrange(self.arranged)

    def arrange(self, counts_V: np.ndarray) -> None:
        rank_V = np.argsort(by_frequency(counts_V), kind="stable") + 1
        mass_V, weight_V = {
            "unigram": (counts_V.astype(np.float64) ** self.alpha, counts_V),
            "uniform": (np.ones(len(counts_V)), np.ones_like(counts_V)),
            "log_uniform": (np.log1p(1 / rank_V), rank_V),
        }[self.proposal]
        self.log_mass = math.log(mass_V.sum())
        # Whole numbers, which every device holds exactly: what q is a function of, and its cumulative sums.
        self.constant("weight_V", weight_V)
        self.constant("upto_V", np.rint((mass_V / mass_V.sum()).cumsum() * 2.0**_BITS).astype(np.int64))

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.softmax.score(hidden_ND, target_N)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        return self.softmax.log_probs(hidden_ND)

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.softmax.topk(hidden_ND, k, exclude_NX)

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        return self.softmax.sample(hidden_ND, draw)

    def draw(self, noise: NoiseKey) -> Tensor:
        """Words from q: (1, K) for the whole batch, or (N, K)."""
        number_K = torch.arange(self.samples, device=noise.example_N.device)
        if self.shared:
            drawn = noise.key.high_bits(_BITS, number_K)[None]
        else:
            drawn = noise.key.high_bits(_BITS, noise.example_N[:, None], noise.position_N[:, None], number_K)
        # Rounding may leave the last sum below 1.
        return torch.searchsorted(self.upto_V, drawn, right=True).clamp(max=self.vocab_size - 1)

    def merged(self, words_NK: Tensor) -> tuple[Tensor, Tensor | None]:
        """Words shared by all predictions once each, rising, and how often they were drawn: (1, K') and (K',).

        Words of one prediction alone stay as they are (None).
        """
        if not self.shared:
            return words_NK, None
        word_K, place_K = distinct(words_NK[0])
        times_K = torch.zeros_like(word_K).index_add_(0, place_K, torch.ones_like(place_K))
        return word_K[None], times_K

    def scores(
        self, hidden_ND: Tensor, target_N: Tensor, words_NK: Tensor, offset_NK: Tensor, remove_hits: bool = False
    ) -> Tensor:
        """s + offset of the sampled words, and last s of the target: (N, K + 1). Words and offsets are (1, K) where shared.

        `remove_hits`: -inf for words that are the target; shared words must be rising then.
        """
        weight_VD, bias_V = self.softmax.weight, self.softmax.bias
        assert bias_V is not None
        # The meta device adds up no sparse tensors.
        sparse = self.table is not None and self.table.sparse and not weight_VD.is_meta
        if self.shared:
            rest = (target_N, words_NK[0], offset_NK[0].to(weight_VD.dtype), remove_hits, sparse)
            return candidate_scores(hidden_ND, weight_VD, bias_V, *rest)
        words_NJ = torch.cat([words_NK, target_N[:, None]], dim=1)
        start_N = torch.arange(target_N.shape[0], device=target_N.device) * words_NJ.shape[1]
        position_P = torch.arange(words_NJ.numel(), device=target_N.device) // words_NJ.shape[1]
        score_P = pair_scores(hidden_ND, weight_VD, words_NJ.flatten(), position_P, start_N, sparse)
        score_NJ = (score_P + bias_V.index_select(0, words_NJ.flatten())).view_as(words_NJ)
        score_NJ = score_NJ + nn.functional.pad(offset_NK, (0, 1)).to(score_NJ.dtype)
        if not remove_hits:
            return score_NJ
        return score_NJ.masked_fill(nn.functional.pad(words_NK == target_N[:, None], (0, 1)), float("-inf"))

    def log_kq(self, words: Tensor) -> Tensor:
        """log(K q) of words, of any shape, in the dtype that the device adds up in."""
        few = words.numel() < self.vocab_size  # else each word's logarithm is taken once
        weight = wide(self.weight_V[words] if few else self.weight_V)
        log_mass = {
            "unigram": lambda: self.alpha * weight.log(),
            "uniform": lambda: torch.zeros_like(weight),
            "log_uniform": lambda: weight.reciprocal().log1p().log(),
        }[self.proposal]()
        log_kq = log_mass - self.log_mass + math.log(self.samples)
        return log_kq if few else log_kq[words]


class ImportanceSampling(_Sampled):
    """L = -s(y) + log Z', Z' an estimate of Z from K sampled words (Bengio and Senecal 2003, 2008; Jean et al. 2015).

    `include_target`: Z' = exp s(y) + (1/K) sum over v_k != y of exp s(v_k) / q(v_k): an accidental hit of the target is left
    out, so that the target counts once; unbiased for Z, and L >= 0. Otherwise Z' = (1/K) sum_k exp s(v_k) / q(v_k), hits and
    all: the plain estimator, biased in the gradient and unbounded below; for study.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        embedding: nn.Parameter | None = None,
        tied: bool = False,
        samples: Annotated[int, Ge(1)] = 1024,
        proposal: Proposal = "unigram",
        alpha: Annotated[float, Ge(0)] = 0.75,
        shared: bool = True,
        include_target: bool = True,
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V, embedding, tied, samples, proposal, alpha, shared)
        self.include_target = include_target

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        """The estimate, (N,) or its weighted sum. Draws from `noise`."""
        assert noise is not None, "importance sampling draws words"
        words_NK, times_K = self.merged(self.draw(noise))
        offset_NK = (0.0 if times_K is None else wide(times_K).log()) - self.log_kq(words_NK)
        score_NJ = self.scores(hidden_ND, target_N, words_NK, offset_NK, remove_hits=self.include_target)
        if self.include_target:
            loss_N = cross_entropy(score_NJ, torch.full_like(target_N, words_NK.shape[1]), reduction="none")
        else:
            loss_N = score_NJ[:, :-1].logsumexp(1) - score_NJ[:, -1]
        return loss_N if weights_N is None else (loss_N * weights_N).sum()

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """Effective sample size (sum r)^2 / sum r^2 of K words, r = exp(s) / q, always the same draw; between 1 and K."""
        nothing_N = torch.zeros_like(target_N)
        words_NK = self.draw(NoiseKey(Key.of("monitor"), nothing_N, nothing_N))
        log_r_NK = self.scores(hidden_ND, target_N, words_NK, -self.log_kq(words_NK))[:, :-1]
        return {"effective_samples": (2 * log_r_NK.logsumexp(1) - (2 * log_r_NK).logsumexp(1)).exp().sum()}


class NoiseContrastive(_Sampled):
    """Tells the target from K noise words (Gutmann and Hyvarinen 2010; Mnih and Teh 2012).

    Delta(v) = s(v) + z_h - log(K q(v));  L = -log sigmoid(Delta(y)) - sum_k log(1 - sigmoid(Delta(v_k))).

    The biases start at the log of the counts' distribution, z_h at 0: normalised where scores are small.

    Args:
        normaliser: z_h, standing for -log Z: "zero", one learned "constant", or "linear" in h.
        accidental_hits: noise words equal to the target: "keep" them, as the estimator says, or "remove" them from the sum.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        embedding: nn.Parameter | None = None,
        tied: bool = False,
        samples: Annotated[int, Ge(1)] = 1024,
        proposal: Proposal = "unigram",
        alpha: Annotated[float, Ge(0)] = 0.75,
        shared: bool = True,
        normaliser: Literal["zero", "constant", "linear"] = "zero",
        accidental_hits: Literal["keep", "remove"] = "keep",
    ) -> None:
        super().__init__(hidden_size, vocab_size, counts_V, embedding, tied, samples, proposal, alpha, shared)
        self.remove_hits = accidental_hits == "remove"
        self.z_weight = nn.Parameter(torch.zeros(hidden_size, device=None)) if normaliser == "linear" else None
        self.z_bias = nn.Parameter(torch.zeros((), device=None)) if normaliser != "zero" else None
        with torch.no_grad():
            bias_V = self.softmax.bias
            assert bias_V is not None
            count_V = wide(torch.as_tensor(self.arranged, device=bias_V.device))
            bias_V.copy_((count_V / count_V.sum()).log())

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        """The estimate, (N,) or its weighted sum. Draws from `noise`."""
        assert noise is not None, "noise-contrastive estimation draws words"
        words_NK, times_K = self.merged(self.draw(noise))
        delta_NJ = self.scores(hidden_ND, target_N, words_NK, -self.log_kq(words_NK), remove_hits=self.remove_hits)
        if self.z_bias is not None:
            delta_NJ = delta_NJ + self._z(hidden_ND)[:, None]
        noise_NK = softplus(delta_NJ[:, :-1])
        # Not a matrix product, which autocast would round.
        noise_N = (noise_NK if times_K is None else noise_NK * times_K).sum(1)
        loss_N = softplus(self.log_kq(target_N).to(delta_NJ.dtype) - delta_NJ[:, -1]) + noise_N
        return loss_N if weights_N is None else (loss_N * weights_N).sum()

    def estimator_parameters(self) -> list[nn.Parameter]:
        """Those of z_h."""
        return [parameter for parameter in (self.z_weight, self.z_bias) if parameter is not None]

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """log Z(h) + z_h, 0 where the model is normalised, and its square (reported as mean and standard deviation)."""
        assert self.softmax.bias is not None
        score_N = (hidden_ND.to(self.softmax.weight.dtype) * self.softmax.weight[target_N]).sum(1) + self.softmax.bias[target_N]
        log_z_N = wide(score_N - self.softmax.score(hidden_ND, target_N) + self._z(hidden_ND))
        return {"log_z": log_z_N.sum(), "log_z_squared": log_z_N.square().sum()}

    def _z(self, hidden_ND: Tensor) -> Tensor:
        """z_h: (N,)."""
        z_N = hidden_ND.new_zeros(hidden_ND.shape[0], dtype=self.softmax.weight.dtype)
        if self.z_weight is not None:
            z_N = z_N + (hidden_ND.to(z_N.dtype) * self.z_weight).sum(1)
        return z_N if self.z_bias is None else z_N + self.z_bias
