"""BLEU, chrF, TER and their intervals against sacrebleu's own objects and a naive resampling."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest, _bootstrap_resample
from scipy.stats import norm

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.base import higher_is_better
from seqgen_cli.metrics.bootstrap import holm, interval, paired_differences, resampled_sums, two_sided_p
from seqgen_cli.metrics.languages import of_file
from seqgen_cli.metrics.translation import TranslationMetrics

JAPANESE = ["駅はどこですか。", "私は学生です。", "コーヒーを二つください。", "明日は雨が降るでしょう。", ""]
JAPANESE_REFERENCES = ["駅はどこにありますか。", "私は学生です。", "コーヒーを三つください。", "明日は晴れるでしょう。", "はい。"]
SACREBLEU = {"bleu": sacrebleu.BLEU, "chrf": sacrebleu.CHRF, "ter": sacrebleu.TER}


def corpus(lines, references, seed):
    """Random references and hypotheses that keep about 60 % of the first one's words; some lines empty."""
    rng = random.Random(seed)
    words = [*(f"w{i}" for i in range(40)), "don't", "3.5", "(so)", "end."]
    refs = [[" ".join(rng.choices(words, k=rng.randint(0, 25))) for _ in range(lines)] for _ in range(references)]
    hyps = [" ".join(w if rng.random() < 0.6 else rng.choice(words) for w in line.split()) for line in refs[0]]
    return hyps, refs


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
@pytest.mark.parametrize("seed", [0, 1])
def test_value_and_signature_equal_sacrebleu(name, references, seed):
    hyps, refs = corpus(60, references, seed)
    figure = TranslationMetrics(names=[name]).compute(hyps, refs, "en", bootstrap=0)[name]
    truth = SACREBLEU[name]()
    assert figure.value == truth.corpus_score(hyps, refs).score
    assert figure.signature == str(truth.get_signature())
    assert (figure.low, figure.high, figure.interval()) == (None, None, "")


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_signature_with_bootstrap_equals_sacrebleu(name):
    hyps, refs = corpus(30, 2, 5)
    figure = TranslationMetrics(names=[name], bootstrap=50).compute(hyps, refs, "en")[name]
    truth = SACREBLEU[name]()
    assert figure.value == truth.corpus_score(hyps, refs, n_bootstrap=50).score
    assert figure.signature == str(truth.get_signature())


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
@pytest.mark.parametrize("references", [1, 3])
def test_interval_equals_resampling_the_corpus_itself(name, references):
    hyps, refs = corpus(25, references, 3)
    figure = TranslationMetrics(names=[name], bootstrap=20, confidence=0.9, seed=7).compute(hyps, refs, "en")[name]
    drawn_RL = np.random.default_rng(7).choice(25, size=(20, 25), replace=True)
    scores = [
        SACREBLEU[name]().corpus_score([hyps[i] for i in row], [[ref[i] for i in row] for ref in refs]).score for row in drawn_RL
    ]
    np.testing.assert_allclose([figure.low, figure.high], np.quantile(scores, [0.05, 0.95]), rtol=1e-12)


def test_draws_are_sacrebleu_draws_also_across_blocks(monkeypatch):
    hyps, refs = corpus(33, 1, 4)
    metric = sacrebleu.BLEU()
    stats = metric._extract_corpus_statistics(hyps, refs)
    _, truth = _bootstrap_resample(stats, metric, 100)
    monkeypatch.setattr("seqgen_cli.metrics.bootstrap._DRAWS_AT_ONCE", 33 * 7)
    ours = [metric._compute_score_from_stats(row).score for row in resampled_sums(np.array(stats), 100, 12345).tolist()]
    np.testing.assert_allclose(ours, [score.score for score in truth], rtol=1e-6)  # sacrebleu resamples in float32


def test_interval_covers_the_mean_of_a_normal_sample():
    """The mean of n normal draws: the percentile interval tends to mean +- 1.96 s / sqrt(n)."""
    values = np.random.default_rng(0).normal(3.0, 2.0, size=4000)
    low, high = interval(np.stack([values, np.ones_like(values)], 1), lambda sums: sums[0] / sums[1], 4000, 0.95, 1)
    half = 1.959964 * values.std() / np.sqrt(4000)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.08 * half)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_paired_differences_are_those_behind_sacrebleus_paired_bootstrap(name):
    hyps, refs = corpus(40, 1, 8)
    other = [" ".join(line.split()[:-1]) or line for line in hyps[:25]] + hyps[25:]
    metric = SACREBLEU[name]()
    _, scores = PairedTest([("a", other), ("b", hyps)], {name: metric}, refs, "bs", n_samples=200)()
    expected = next(scores[key][1].p_value for key in scores if key != "System")
    stats, baseline = (np.array(metric._extract_corpus_statistics(side, refs)) for side in (hyps, other))
    differences = paired_differences(stats, baseline, lambda sums: metric._compute_score_from_stats(sums).score, 200, 12345)
    observed = metric.corpus_score(hyps, refs).score - metric.corpus_score(other, refs).score
    size = np.abs(differences)
    assert ((size - size.mean() > abs(observed)).sum() + 1) / 201 == expected < 0.5
    np.testing.assert_allclose(differences.mean(), observed, atol=differences.std() / 2)  # its sign, too


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.0, 3.0])
def test_two_sided_p_of_a_mean_is_that_of_the_normal_distribution(effect):
    """A difference of means of n normal draws, moved to be `effect` standard errors."""
    values = np.random.default_rng(2).normal(size=600)
    values += effect * values.std() / np.sqrt(600) - values.mean()
    ours, baseline = (np.stack([each, np.ones_like(each)], 1) for each in (values, np.zeros_like(values)))
    differences = paired_differences(ours, baseline, lambda sums: sums[0] / sums[1], 4000, 1)
    np.testing.assert_allclose(two_sided_p(differences, float(values.mean())), 2 * norm.sf(effect), atol=0.02)


def test_a_system_does_not_differ_from_itself():
    assert two_sided_p(np.zeros(99), 0.0) == 1.0


def test_holms_correction_on_his_rule():
    """The k-th smallest of m times m - k + 1, never below those before it, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2] and holm([]) == []


@pytest.mark.parametrize(
    ("language", "setting", "expected"),
    [(None, "auto", "13a"), ("ja", "char", "char"), ("jp", "char", "char")]
    + [(tag, "auto", "ja-mecab") for tag in ("ja", "JA", "jpn", "ja_JP", "ja-JP", "jpn_Jpan", "Ja-jpan-JP")]
    + [(tag, "auto", "zh") for tag in ("zh", "zh_Hans", "zh-TW", "ZHO", "chi", "cmn", "yue", "wuu", "zho_Hant", "lzh")]
    + [(tag, "auto", "13a") for tag in ("en", "eng", "EN_us", "pt-BR", "de-DE-1996", "zh_Latn", "ja-Latn", "kr", "deu_Latn")]
    + [
        (written_without_spaces, "auto", "char")
        for written_without_spaces in ("th", "lo", "km", "my", "tha", "lo_LA", "bur", "shn", "bo")
    ],
)
def test_tokenizer_follows_the_target_language(language, setting, expected):
    metrics = TranslationMetrics(names=["bleu"], tokenizer=setting, bootstrap=0)
    assert metrics.bleu_tokenizer(language) == expected
    truth = sacrebleu.BLEU(tokenize=expected)
    figure = metrics.compute(JAPANESE, [JAPANESE_REFERENCES], language)["bleu"]
    assert figure.value == truth.corpus_score(JAPANESE, [JAPANESE_REFERENCES]).score
    assert f"tok:{expected}" in figure.signature


@pytest.mark.parametrize(
    ("tag", "meant"), [("jp", " Did you mean ja?"), ("cn", " Did you mean zh?"), ("xx", ""), ("japanese", ""), ("ja.utf8", "")]
)
def test_a_tag_that_names_no_language_is_refused_unless_the_tokenizer_is_named(tag, meant):
    told = rf"'{tag}' names no language, so metrics\.tokenizer=auto .*words\.{re.escape(meant)} Use a tag"
    for name in ("bleu", "ter"):
        metrics = TranslationMetrics(names=[name], bootstrap=0)
        with pytest.raises(RequestError, match=told):
            metrics.compute(["a"], [["a"]], tag)
        for tokenizer in ("13a", "char"):  # what the message advises
            replace(metrics, tokenizer=tokenizer).compute(["a"], [["a"]], tag)
    assert TranslationMetrics(names=["chrf"], bootstrap=0).compute(["a"], [["a"]], tag)["chrf"].value == 100


def test_text_without_spaces_that_is_cut_at_spaces_is_said():
    metrics = TranslationMetrics()
    assert "char" not in metrics.misfit(None, JAPANESE) and "13a cuts at spaces" in metrics.misfit(None, JAPANESE)
    assert "none cuts at spaces" in replace(metrics, tokenizer="none").misfit("ja", JAPANESE)
    for language in ("ja", "zh", "th"):
        assert metrics.misfit(language, JAPANESE) is None
    assert metrics.misfit("en", ["An ordinary sentence, with the word 駅 in it.", "Größe", ""]) is None
    assert metrics.misfit("ko", ["안녕하세요 여러분"]) is None and metrics.misfit("en", []) is None
    assert replace(metrics, names=["chrf"]).misfit("en", JAPANESE) is None


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("a/test.ja", "ja"),
        ("a.JA.gz", "JA"),
        ("a.ja_JP", "ja_JP"),
        ("a.zh_Hans.gz", "zh_Hans"),
        ("b.jpn", "jpn"),
        ("b.cmn", "cmn"),
    ]
    + [(name, None) for name in ("a.txt", "ref", "a.raw", "a.tok", "a.gz", "a.v1", "ja/test", "a.xx", "a.ja.txt")],
)
def test_a_file_s_ending_names_its_language(name, language):
    assert of_file(name) == language


def test_without_the_dictionary_auto_cuts_characters_and_a_named_one_is_refused(monkeypatch):
    monkeypatch.setattr("seqgen_cli.metrics.word_tokenizers.importlib.util.find_spec", lambda name: None)
    assert TranslationMetrics().bleu_tokenizer("ja") == "char"
    with pytest.raises(RequestError, match=r"sacrebleu\[ja\]"):
        TranslationMetrics(tokenizer="ja-mecab").bleu_tokenizer("ja")


@pytest.mark.parametrize(
    ("tag", "tokenizer"), [("ja", "char"), ("ja", "13a"), ("jp", "ja-mecab"), (None, "zh"), ("zh_TW", "none")]
)
def test_ter_goes_by_the_language_whatever_cuts_bleu_and_else_by_that(tag, tokenizer):
    metrics = TranslationMetrics(names=["ter"], bootstrap=0, tokenizer=tokenizer)
    expected = TranslationMetrics(names=["ter"], bootstrap=0).compute(JAPANESE, [JAPANESE_REFERENCES], "ja")["ter"]
    assert metrics.compute(JAPANESE, [JAPANESE_REFERENCES], tag)["ter"] == expected
    english = metrics.compute(JAPANESE, [JAPANESE_REFERENCES], "en")["ter"]
    assert english.value != expected.value


@pytest.mark.parametrize("language", ["ja", "zh", "ja_JP", "zho_Hant"])
def test_ter_of_a_language_without_spaces_sees_more_than_one_word_a_sentence(language):
    figure = TranslationMetrics(names=["ter"], bootstrap=0).compute(JAPANESE, [JAPANESE_REFERENCES], language)["ter"]
    truth = sacrebleu.TER(normalized=True, asian_support=True)
    assert figure.value == truth.corpus_score(JAPANESE, [JAPANESE_REFERENCES]).score
    assert "asian:yes" in figure.signature


def test_several_metrics_come_in_the_order_asked():
    hyps, refs = corpus(10, 1, 0)
    assert list(TranslationMetrics(names=["ter", "bleu"], bootstrap=0).compute(hyps, refs)) == ["ter", "bleu"]


def test_ragged_or_empty_input_is_refused_with_both_counts():
    metrics = TranslationMetrics()
    with pytest.raises(RequestError, match="hypotheses have 2 lines but the references have 3 lines"):
        metrics.compute(["a", "b"], [["a", "b", "c"]])
    with pytest.raises(RequestError, match="hypotheses have 2 lines but reference 2 has 1 line;"):
        metrics.compute(["a", "b"], [["a", "b"], ["c"]])
    with pytest.raises(RequestError, match="nothing to score"):
        metrics.compute([], [[]])


def test_direction_of_each_metric():
    better = {name for name in ("bleu", "chrf", "ter", "perplexity", "nll", "accuracy", "loss") if higher_is_better(name)}
    assert better == {"bleu", "chrf", "accuracy"}
    with pytest.raises(RequestError, match="rouge"):
        higher_is_better("rouge")
