"""Bootstrap resampling of a corpus score from its sentences' sufficient statistics (Koehn 2004).

Shapes: L sentences, C statistics of a sentence, R resamples.

BLEU, chrF, TER and perplexity are functions of sums over sentences, so a resample needs only the sums: with K_RL the number
of times each sentence was drawn, all R sums are the product K_RL stats_LC. Nothing is tokenised or matched again.
"""

from collections.abc import Callable, Sequence

import numpy as np

_DRAWS_AT_ONCE = 1 << 22  # 32 MB of indices, whatever the corpus and R


def resampled_sums(stats_LC: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of the statistics over `resamples` draws of L sentences with replacement: (L, C) -> (R, C) float64.

    The draws are those of sacrebleu's own bootstrap with the same seed.
    """
    lines = len(stats_LC)
    rng = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // lines)
    sums = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn_RL = rng.choice(lines, size=(rows, lines), replace=True)
        flat = (drawn_RL + np.arange(rows)[:, None] * lines).ravel()
        times_RL = np.bincount(flat, minlength=rows * lines).reshape(rows, lines)
        sums.append(times_RL.astype(np.float64) @ stats_LC.astype(np.float64))
    return np.concatenate(sums)


def interval(
    stats_LC: np.ndarray, score: Callable[[list[float]], float], resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of `score` (a function of the C summed statistics) that holds `confidence` of the resamples.

    Args:
        confidence: in (0, 1); 0.95 cuts 2.5 % of the resamples at each end.
    """
    scores_R = np.array([score(row) for row in resampled_sums(stats_LC, resamples, seed).tolist()])
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(scores_R, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_differences(
    stats_LC: np.ndarray, baseline_LC: np.ndarray, score: Callable[[list[float]], float], resamples: int, seed: int
) -> np.ndarray:
    """score(system) - score(baseline) on each resample, both on the same sentences: (R,).

    Equal seeds draw equal sentences, so differences of several pairs of systems on one test set may be averaged.
    """
    scores_2R = [
        np.array([score(row) for row in resampled_sums(each_LC, resamples, seed).tolist()]) for each_LC in (stats_LC, baseline_LC)
    ]
    return scores_2R[0] - scores_2R[1]


def two_sided_p(differences_R: np.ndarray, observed: float) -> float:
    """How often chance alone would make the systems differ by at least `observed`, either way (Riezler and Maxwell 2005).

    Chance is the spread of the differences around their mean. 1 / (R + 1) or more. sacrebleu's paired bootstrap looks at one
    side of that spread, so its p is about half of this.
    """
    spread_R = np.abs(differences_R - differences_R.mean())
    return float((1 + (spread_R >= abs(observed)).sum()) / (1 + len(differences_R)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family of tests, corrected so that the chance of any false finding stays below the level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors))
    return [float(value) for value in stepped[np.argsort(order, kind="stable")]]
