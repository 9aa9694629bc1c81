"""Warnings of a collapse: which figures of the log bring them, which do not, and how often."""

import pytest

from seqgen_cli.objectives.advice import RewardAdvisor

HEALTHY = {"loss": 1.0, "reward": 0.3, "length": 10.0, "distinct": 0.9, "truncated": 0.05, "entropy": 1.2}
COLLAPSES = {
    "fell from 0.300 to 0.100": {"reward": 0.1},
    "outputs have 2.0 tokens, at first 10.0": {"length": 2.0},
    "95% of outputs do not end": {"truncated": 0.95},
    "entropy of a token fell from 1.200 to 0.010": {"entropy": 0.01},
    "the 4 samples of a source are all alike": {"distinct": 0.26},
}


def advisor(samples=4, cold="objective/handover=linear"):
    return RewardAdvisor(samples, cold, ["set objective.kl", "mix in more mle"])


@pytest.mark.parametrize("sign", COLLAPSES)
def test_a_collapse_is_told_once_when_two_lines_in_a_row_show_it(sign):
    bad, told = {**HEALTHY, **COLLAPSES[sign]}, advisor()
    assert [told.see(figures) for figures in (HEALTHY, HEALTHY, bad, HEALTHY, bad)] == [None] * 5
    said = told.see(bad)
    assert said is not None and sign in said and said.count(";") == 0
    assert said.endswith("Lower optimizer.lr, or set objective.kl or mix in more mle.")
    assert told.see(bad) is None


def test_several_signs_are_told_together():
    bad, told = {**HEALTHY, "reward": 0.0, "length": 1.0}, advisor()
    said = [told.see(figures) for figures in (HEALTHY, bad, bad)][-1]
    assert said is not None and "fell from 0.300 to 0.000; outputs have 1.0 tokens" in said


@pytest.mark.parametrize(
    "usual",
    [
        {"reward": 0.2},  # noise
        {"length": 4.0, "truncated": 0.5},
        {"entropy": 0.2},
        {"distinct": 0.3},
    ],
)
def test_what_is_no_collapse_is_not_told(usual):
    told = advisor()
    assert [told.see(figures) for figures in [HEALTHY, *[{**HEALTHY, **usual}] * 5]] == [None] * 6


def test_small_rewards_that_fall_and_words_always_sure_are_no_collapse():
    told = advisor()
    low, lower = ({**HEALTHY, "reward": reward, "entropy": 0.01} for reward in (0.015, 0.001))
    assert [told.see(figures) for figures in (low, lower, lower)] == [None] * 3


def test_one_sample_is_always_like_itself_and_a_line_without_rewards_says_nothing():
    told = advisor(samples=1)
    assert [told.see({**HEALTHY, "distinct": 1.0}) for _ in range(2)] == [None] * 2
    assert told.see({"loss": 3.0}) is None


def test_mixers_rewards_are_compared_at_the_same_length_of_its_suffix():
    told = advisor()
    falling = [
        {**HEALTHY, "reward": reward, "last_words": last, "distinct": 0.25} for last, reward in ((2, 0.9), (4, 0.4), (6, 0.1))
    ]
    assert [told.see(figures) for figures in falling for _ in range(2)] == [None] * 6
    collapsed = {**falling[-1], "reward": 0.01}
    assert told.see(collapsed) is None and "fell from 0.100 to 0.010" in (told.see(collapsed) or "")


def test_mixers_outputs_are_compared_like_others_once_they_are_whole():
    """The suffix goes on growing, beyond the longest output."""
    told, whole = advisor(), {**HEALTHY, "own_tokens": 10.0}
    lines = [{**whole, "last_words": last, "reward": reward} for last, reward in ((40, 0.4), (42, 0.1), (44, 0.1))]
    assert [told.see(figures) is None for figures in lines] == [True, True, False]
    alike = {**whole, "last_words": 40, "distinct": 0.25}
    again = advisor()
    assert again.see(alike) is None and "all alike" in (again.see({**alike, "last_words": 42}) or "")


def test_untrained_weights_whose_outputs_do_not_end_are_no_collapse():
    told, endless = advisor(), {**HEALTHY, "truncated": 0.99}
    assert [told.see(figures) for figures in (endless, endless, HEALTHY)] == [None] * 3


def test_a_cold_start_and_a_best_checkpoint_by_likelihood_are_told():
    cold, metric = advisor().at_start(True, "nll")
    assert "say init_from=RUN, or begin with mle by objective/handover=linear." in cold
    assert "trainer.best_metric=nll" in metric and "bleu or chrf" in metric
    assert advisor().at_start(False, "bleu") == [] == advisor(cold=None).at_start(True, "chrf")
