"""Rewards of single outputs against sacrebleu, rouge-score, nltk, and their definitions."""

import itertools
import pickle
import random
import sys
from types import ModuleType

import numpy as np
import pytest
import sacrebleu

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.rewards import Chrf, ExactMatch, Gleu, Rouge, SentenceBleu, Weighted, common_subsequence

ENGLISH = ["Tom doesn't know where the station is.", "I'd like two coffees, please!", "It costs $3.50.", "Yes.", "no"]
JAPANESE = ["駅はどこですか。", "私は学生です。", "コーヒーを二つください。", "明日は雨が降るでしょう。", "はい"]
JAPANESE_OUTPUTS = ["駅はどこにありますか。", "学生は私です。", "コーヒーを三つください。", "明日は晴れるでしょう。", "いいえ"]
SHIPPED = [
    SentenceBleu(),
    SentenceBleu(smoothing="floor"),
    SentenceBleu(smoothing="add-k"),
    SentenceBleu(smoothing="none"),
    Chrf(),
    Chrf(word_order=2),
    Rouge(variant="1"),
    Rouge(variant="l"),
    Gleu(),
    ExactMatch(),
    Weighted(bleu=0.3, chrf=0.1, rouge_1=1.3, rouge_l=0.7, gleu=0.1, exact_match=0.2),
]


def corpus(seed, lines=40):
    """Random sentences of 1 .. 14 words, and versions with about a third of the words changed, dropped or moved."""
    rng = random.Random(seed)
    words = [*(f"w{i}" for i in range(12)), "don't", "3.5", "(so)", "end."]
    references = [" ".join(rng.choices(words, k=rng.randint(1, 14))) for _ in range(lines)]
    hypotheses = []
    for line in references:
        kept = [word if rng.random() < 0.7 else rng.choice(words) for word in line.split() if rng.random() < 0.9]
        if rng.random() < 0.3:
            rng.shuffle(kept)
        hypotheses.append(" ".join(kept))
    return hypotheses, references


@pytest.mark.parametrize("effective_order", [True, False])
@pytest.mark.parametrize(
    ("smoothing", "value"), [("exp", None), ("floor", None), ("floor", 0.01), ("add-k", None), ("add-k", 2.0), ("none", None)]
)
def test_bleu_is_sacrebleus_sentence_score(smoothing, value, effective_order):
    hypotheses, references = corpus(1)
    reward = SentenceBleu(smoothing=smoothing, smooth_value=value, effective_order=effective_order)
    truth = sacrebleu.BLEU(smooth_method=smoothing, smooth_value=value, effective_order=effective_order, force=True)
    expected = [truth.sentence_score(h, [r]).score / 100 for h, r in zip(hypotheses, references, strict=True)]
    np.testing.assert_allclose(reward(hypotheses, references), expected, rtol=0, atol=1e-11)
    assert len(set(expected)) > 10


@pytest.mark.parametrize("max_order", [1, 2, 6])
def test_the_longest_n_gram_of_bleu_is_a_setting(max_order):
    hypotheses, references = corpus(2)
    truth = sacrebleu.BLEU(max_ngram_order=max_order, effective_order=True, force=True)
    expected = [truth.sentence_score(h, [r]).score / 100 for h, r in zip(hypotheses, references, strict=True)]
    np.testing.assert_allclose(SentenceBleu(max_order=max_order)(hypotheses, references), expected, rtol=0, atol=1e-11)


def test_japanese_is_cut_into_words_as_evaluation_cuts_it():
    truth = sacrebleu.BLEU(tokenize="ja-mecab", effective_order=True, force=True)
    expected = [truth.sentence_score(h, [r]).score / 100 for h, r in zip(JAPANESE_OUTPUTS, JAPANESE, strict=True)]
    reward = SentenceBleu(target_language="ja")(JAPANESE_OUTPUTS, JAPANESE)
    np.testing.assert_allclose(reward, expected, rtol=0, atol=1e-11)
    for tag in ("ja_JP", "jpn", "JA"):
        assert SentenceBleu(target_language=tag)(JAPANESE_OUTPUTS, JAPANESE) == reward
    with pytest.raises(RequestError, match=r"'jp' names no language, so objective\.reward\.tokenizer=auto"):
        SentenceBleu(target_language="jp")
    assert SentenceBleu("ja-mecab", "jp")(JAPANESE_OUTPUTS, JAPANESE) == reward
    assert 0 < max(expected) < 1 and max(SentenceBleu(target_language="en")(JAPANESE_OUTPUTS, JAPANESE)) == 0


@pytest.mark.parametrize(("characters", "words", "beta"), [(6, 0, 2), (6, 2, 2), (3, 1, 1)])
def test_chrf_is_sacrebleus_sentence_score(characters, words, beta):
    hypotheses, references = corpus(3)
    truth = sacrebleu.CHRF(char_order=characters, word_order=words, beta=beta)
    expected = [truth.sentence_score(h, [r]).score / 100 for h, r in zip(hypotheses, references, strict=True)]
    reward = Chrf(character_order=characters, word_order=words, beta=beta)
    np.testing.assert_allclose(reward(hypotheses, references), expected, rtol=0, atol=1e-11)


class _Cut:
    """rouge-score's hook for a tokenizer."""

    def __init__(self, name):
        self.cut = sacrebleu.BLEU(tokenize=name, force=True).tokenizer

    def tokenize(self, text):
        return self.cut(text).split()


@pytest.fixture
def rouge_scorer(monkeypatch):
    """The library. It needs nltk for stemming alone, and importing that takes seconds: it loads SciPy and scikit-learn."""
    for name in ("nltk", "nltk.stem", "nltk.stem.porter"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["nltk.stem"], "porter", sys.modules["nltk.stem.porter"], raising=False)
    return pytest.importorskip("rouge_score.rouge_scorer").RougeScorer


def test_rouge_is_that_of_rouge_score_with_the_languages_own_words(rouge_scorer):
    for language, tokenizer, (hypotheses, references) in (
        ("en", "13a", corpus(4)),
        ("ja", "ja-mecab", (JAPANESE_OUTPUTS, JAPANESE)),
    ):
        for variant in ("1", "2", "l"):
            name = f"rouge{variant.upper()}"
            truth = rouge_scorer([name], tokenizer=_Cut(tokenizer))
            expected = [truth.score(r, h)[name].fmeasure for h, r in zip(hypotheses, references, strict=True)]
            reward = Rouge(variant=variant, target_language=language)(hypotheses, references)
            np.testing.assert_allclose(reward, expected, rtol=1e-12)
            assert max(reward) > 0


def test_gleu_is_the_lesser_of_precision_and_recall():
    """By marking off n-grams one by one, without counting."""
    hypotheses, references = corpus(5)
    for order in (1, 2, 4):
        expected = []
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            own, wanted = (
                [side.split()[at : at + n] for n in range(1, order + 1) for at in range(len(side.split()) - n + 1)]
                for side in (hypothesis, reference)
            )
            left = list(wanted)
            matches = sum(1 for gram in own if gram in left and (left.remove(gram) or True))
            expected.append(min(matches / len(own), matches / len(wanted)) if own else 0.0)
        np.testing.assert_allclose(Gleu(max_order=order, tokenizer="none")(hypotheses, references), expected, rtol=1e-12)


def test_gleu_by_its_definition():
    """a b a | a b c a: 1-grams match 3, 2-grams 1 (a b), of 6 and 10 n-grams in all; recall is the lesser."""
    assert Gleu(tokenizer="none")(["a b a"], ["a b c a"]) == [4 / 10]
    assert Gleu(tokenizer="none")(["a b c a"], ["a b a"]) == [4 / 10]  # now precision is


@pytest.mark.parametrize("seed", range(3))
def test_the_longest_common_subsequence_against_all_subsequences(seed):
    rng = random.Random(seed)
    for _ in range(30):
        left, right = (rng.choices("abc", k=rng.randint(0, 7)) for _ in range(2))
        shared = [set(itertools.combinations(left, size)) & set(itertools.combinations(right, size)) for size in range(8)]
        longest = max(size for size in range(8) if shared[size])
        assert common_subsequence(left, right) == longest


@pytest.mark.parametrize("reward", SHIPPED, ids=repr)
def test_an_identical_text_earns_exactly_one_and_an_empty_one_nothing(reward):
    assert reward(ENGLISH, ENGLISH) == [1.0] * len(ENGLISH)
    assert reward(["", "", "a"], ["a b", "", ""]) == [0.0, 0.0, 0.0]
    assert reward([], []) == []


@pytest.mark.parametrize("reward", SHIPPED, ids=repr)
def test_rewards_are_in_the_unit_interval_and_survive_pickling(reward):
    hypotheses, references = corpus(6)
    rewards = reward(hypotheses, references)
    assert 0 <= min(rewards) <= max(rewards) <= 1
    assert pickle.loads(pickle.dumps(reward))(hypotheses, references) == rewards


def test_identical_texts_that_earn_less_by_definition():
    assert Rouge(variant="2")(["no", "no no"], ["no", "no no"]) == [0.0, 1.0]
    assert SentenceBleu(effective_order=False)(["no", "so it is not"], ["no", "so it is not"]) == [0.0, 1.0]


def test_exact_match_and_the_weighted_mean():
    assert ExactMatch()(["a b", "a  b", "A b"], ["a b"] * 3) == [1.0, 0.0, 0.0]
    hypotheses, references = corpus(7)
    weights = {"bleu": 1, "chrf": 2, "rouge_1": 3, "rouge_2": 4, "rouge_l": 5, "gleu": 6, "exact_match": 7}
    parts = [SentenceBleu(), Chrf(), Rouge(variant="1"), Rouge(variant="2"), Rouge(variant="l"), Gleu(), ExactMatch()]
    expected = np.average([part(hypotheses, references) for part in parts], axis=0, weights=list(weights.values()))
    np.testing.assert_allclose(Weighted(**weights)(hypotheses, references), expected, rtol=1e-12)
    only = Weighted(bleu=0, chrf=0, gleu=0.2, tokenizer="char")
    for reward, tokenizer in ((only, "char"), (only.for_ids(), "none")):
        np.testing.assert_allclose(reward(hypotheses, references), Gleu(tokenizer=tokenizer)(hypotheses, references), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Weighted(bleu=0, chrf=0), "only weights of 0"),
        (lambda: SentenceBleu(smooth_value=0.1), "smoothing=exp has none"),
        (lambda: Chrf().for_ids(), "compares characters"),
        (lambda: Weighted(bleu=0, chrf=0.1).for_ids(), "compares characters"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(RequestError, match=message):
        make()
