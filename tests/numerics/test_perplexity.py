"""Perplexity in closed form: a ratio of sums over the whole set, never a mean of means."""

import math

import pytest

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.perplexity import Likelihood, perplexity


def test_uniform_model_has_the_vocabulary_size_as_perplexity():
    """p = 1/V at every token, `</s>` included: perplexity V, whatever the lengths."""
    tokens = [1, 5, 12]
    likelihood = Likelihood.of([-n * math.log(37) for n in tokens], tokens, ["", "ab c", "日本語です。"])
    assert likelihood.perplexity == pytest.approx(37, rel=1e-12)
    assert likelihood.nll_per_character == pytest.approx(18 * math.log(37) / 10, rel=1e-12)


def test_ratio_of_sums_differs_from_the_mean_of_ratios():
    likelihood = Likelihood.of([-2.0, -30.0], [1, 9], ["a", "bbb"])
    assert likelihood.perplexity == pytest.approx(math.exp(32 / 10), rel=1e-12)
    assert likelihood.nll_per_character == 8.0


def test_extremes():
    assert perplexity(0.0, 3) == 1.0
    assert perplexity(1e6, 1) == math.inf
    assert math.isnan(Likelihood.of([-1.0], [1], [""]).nll_per_character)
    with pytest.raises(RequestError, match="no target tokens"):
        perplexity(0.0, 0)


def test_parts_of_a_set_add_up_to_the_whole():
    log_probs, tokens, lines = [-2.0, -30.0, -4.5], [1, 9, 3], ["a", "bbb", "cc"]
    parts = [Likelihood.of(log_probs[i::2], tokens[i::2], lines[i::2]) for i in range(2)]
    whole = Likelihood.of(log_probs, tokens, lines)
    assert Likelihood.total(parts) == whole == Likelihood(36.5, 13, 6)
    assert whole.figures()["target_tokens"] == 13
