"""What one output earns against its reference: the rewards of objectives that learn from a metric (SPEC.md section 3).

BLEU and chrF are sacrebleu's for a sentence. ROUGE (Lin 2004) and GLEU (Wu et al. 2016) compare words as BLEU's tokenizer for
the language cuts them: the usual ROUGE keeps Latin letters and digits only, so that Japanese earns nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import mul
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.base import Metric

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.base import Reward
from seqgen_cli.metrics.word_tokenizers import WordTokenizer, word_tokenizer

_SETTING = "objective.reward.tokenizer"
_DIGITS = 12  # of a score: exp(log(100)) is not quite 100


@dataclass(frozen=True)
class _OfWords:
    """A reward that compares words.

    tokenizer: how text is cut into words; auto follows the target language. target_language: a tag; None: unknown.

    Raises:
        RequestError: as word_tokenizer.
    """

    tokenizer: WordTokenizer = "auto"
    target_language: str | None = None

    def __post_init__(self) -> None:
        word_tokenizer(self.tokenizer, self.target_language, _SETTING)

    def for_ids(self) -> Self:
        """The same, each id being a word."""
        return replace(self, tokenizer="none")

    def _tokenizer(self) -> str:
        return word_tokenizer(self.tokenizer, self.target_language, _SETTING)

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        cut = _cutter(self._tokenizer())
        return [cut(text.rstrip()).split() for text in texts]


@dataclass(frozen=True)
class SentenceBleu(_OfWords):
    """BLEU of a sentence (Papineni et al. 2002), smoothed (Chen and Cherry 2014); sacrebleu's sentence_bleu / 100.

    Without effective_order a text of fewer words than max_order earns 0, be it the reference itself.

    Args:
        smoothing: of orders without a match: exp halves the precision for each, floor counts smooth_value matches, add-k adds
            smooth_value to matches and n-grams, none leaves 0.
        smooth_value: None: sacrebleu's, 0.1 for floor and 1 for add-k.
        max_order: words of the longest n-gram.
        effective_order: leave out orders that the hypothesis is too short for.

    Raises:
        RequestError: a smooth_value for a smoothing that has none; or as _OfWords.
    """

    smoothing: Literal["exp", "floor", "add-k", "none"] = "exp"
    smooth_value: Annotated[float, Ge(0)] | None = None
    max_order: Annotated[int, Ge(1), Le(9)] = 4
    effective_order: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth_value is not None and self.smoothing in ("exp", "none"):
            raise RequestError(
                f"objective.reward.smooth_value={self.smooth_value} belongs to smoothing floor or add-k; "
                f"smoothing={self.smoothing} has none. Use smooth_value=null."
            )

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        metric = _bleu(self._tokenizer(), self.smoothing, self.smooth_value, self.max_order, self.effective_order)
        return _sentence_scores(metric, hypotheses, references)


@dataclass(frozen=True)
class Chrf:
    """chrF (Popovic 2015), with words chrF++ (2017): F_beta over character and word n-grams; sacrebleu's sentence_chrf / 100.

    Args:
        character_order: characters of the longest n-gram; white space does not count.
        word_order: words of the longest n-gram; 0: characters alone, 2: chrF++.
        beta: how many times recall counts as much as precision.
    """

    character_order: Annotated[int, Ge(1)] = 6
    word_order: Annotated[int, Ge(0)] = 0
    beta: Annotated[int, Ge(1)] = 2

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        metric = CHRF(char_order=self.character_order, word_order=self.word_order, beta=self.beta)
        return _sentence_scores(metric, hypotheses, references)

    def for_ids(self) -> Chrf:
        """Refused: the digits of an id mean nothing.

        Raises:
            RequestError: always.
        """
        raise RequestError("objective.reward=chrf compares characters, which token ids have not. Score text, or use bleu.")


@dataclass(frozen=True)
class Rouge(_OfWords):
    """ROUGE-N or ROUGE-L as an F1 (Lin 2004), without stemming.

    ROUGE-N counts shared n-grams, ROUGE-L the longest common subsequence. A text of one word has no bigram: ROUGE-2 is 0,
    be it the reference itself.

    Args:
        variant: "1", "2" (N-grams) or "l".
    """

    variant: Literal["1", "2", "l"] = "l"

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        score = self._subsequence if self.variant == "l" else self._grams
        return [score(*pair) for pair in zip(self._words(hypotheses), self._words(references), strict=True)]

    @staticmethod
    def _subsequence(words: list[str], truth: list[str]) -> float:
        return _f1(common_subsequence(words, truth), len(words), len(truth))

    def _grams(self, words: list[str], truth: list[str]) -> float:
        order = int(self.variant)
        return _f1(*_matches(_ngrams(words, order, order), _ngrams(truth, order, order)))


@dataclass(frozen=True)
class Gleu(_OfWords):
    """GLEU (Wu et al. 2016, section 6): the lesser of precision and recall over all n-grams of 1 .. max_order words.

    Args:
        max_order: words of the longest n-gram.
    """

    max_order: Annotated[int, Ge(1)] = 4

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        rewards = []
        for words, truth in zip(self._words(hypotheses), self._words(references), strict=True):
            matches, own, wanted = _matches(_ngrams(words, 1, self.max_order), _ngrams(truth, 1, self.max_order))
            rewards.append(matches / max(own, wanted, 1))
        return rewards


@dataclass(frozen=True)
class ExactMatch:
    """1 where hypothesis and reference are the same text, else 0; nothing earns 0, even where nothing was wanted."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [float(bool(text) and text == truth) for text, truth in zip(hypotheses, references, strict=True)]


@dataclass(frozen=True)
class Weighted(_OfWords):
    """The weighted mean of the rewards above, with their standard settings; those of weight 0 are not computed.

    Args:
        bleu, chrf, rouge_1, rouge_2, rouge_l, gleu, exact_match: the weight of each; only their ratios matter.

    Raises:
        RequestError: every weight is 0; or as _OfWords.
    """

    bleu: Annotated[float, Ge(0)] = 1.0
    chrf: Annotated[float, Ge(0)] = 1.0
    rouge_1: Annotated[float, Ge(0)] = 0.0
    rouge_2: Annotated[float, Ge(0)] = 0.0
    rouge_l: Annotated[float, Ge(0)] = 0.0
    gleu: Annotated[float, Ge(0)] = 0.0
    exact_match: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._parts():
            raise RequestError("objective.reward has only weights of 0: nothing would be rewarded.")

    def _parts(self) -> list[tuple[float, Reward]]:
        words = (self.tokenizer, self.target_language)
        rewards: list[tuple[float, Reward]] = [
            (self.bleu, SentenceBleu(*words)),
            (self.chrf, Chrf()),
            (self.rouge_1, Rouge(*words, variant="1")),
            (self.rouge_2, Rouge(*words, variant="2")),
            (self.rouge_l, Rouge(*words, variant="l")),
            (self.gleu, Gleu(*words)),
            (self.exact_match, ExactMatch()),
        ]
        return [(weight, reward) for weight, reward in rewards if weight]

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        weights, rewards = zip(*self._parts(), strict=True)
        answers = [reward(hypotheses, references) for reward in rewards]
        total = math.fsum(weights)
        return [math.fsum(map(mul, weights, values)) / total for values in zip(*answers, strict=True)]

    def for_ids(self) -> Self:
        """The same, each id being a word.

        Raises:
            RequestError: chrF has weight.
        """
        if self.chrf:
            raise RequestError("objective.reward.chrf compares characters, which token ids have not. Set it to 0, or score text.")
        return super().for_ids()


def for_ids(reward: Reward) -> Reward:
    """The reward to use where outputs are token ids.

    Raises:
        RequestError: it does not work on ids.
    """
    own: Reward = reward.for_ids() if hasattr(reward, "for_ids") else reward
    return own


def _sentence_scores(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """sacrebleu's sentence_score / 100, without its warnings; the texts of a list share the tokenizer's memory."""
    stats = metric._extract_corpus_statistics(hypotheses, [references]) if hypotheses else []
    return [min(1.0, round(metric._compute_score_from_stats(row).score / 100, _DIGITS)) for row in stats]


@cache
def _bleu(tokenizer: str, smoothing: str, smooth_value: float | None, max_order: int, effective_order: bool) -> BLEU:
    return BLEU(
        tokenize=tokenizer,
        smooth_method=smoothing,
        smooth_value=smooth_value,
        max_ngram_order=max_order,
        effective_order=effective_order,
        force=True,
    )


@cache
def _cutter(tokenizer: str) -> Callable[[str], str]:
    cut: Any = BLEU(tokenize=tokenizer, force=True).tokenizer
    return cut


def _ngrams(words: Sequence[str], least: int, most: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram of `least` .. `most` words occurs."""
    orders = range(least, most + 1)
    return Counter(tuple(words[at : at + order]) for order in orders for at in range(len(words) - order + 1))


def _matches(own: Counter[tuple[str, ...]], wanted: Counter[tuple[str, ...]]) -> tuple[int, int, int]:
    """n-grams shared, counted as often as the rarer side has them; and those of each side."""
    return (own & wanted).total(), own.total(), wanted.total()


def _f1(matches: int, own: int, wanted: int) -> float:
    """2 P R / (P + R) with P = matches / own, R = matches / wanted; 0 where a side is empty."""
    return 2 * matches / (own + wanted) if matches else 0.0


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, by the bits of whole numbers (Hyyro 2004): len(right) steps.

    Bit i of `row` is 0 where the length grows from left[:i] to left[:i + 1].
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(left)) - 1
    row = full
    for word in right:
        met = row & places.get(word, 0)
        row = ((row + met) | (row - met)) & full
    return len(left) - row.bit_count()
