"""BLEU, chrF and TER by sacrebleu (Papineni et al. 2002; Popović 2015; Snover et al. 2006), with bootstrap intervals.

The numbers and signatures are sacrebleu's own, to the last decimal; only the resampling is ours (metrics/bootstrap.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric

from seqgen_cli.hints import NEUTRAL
from seqgen_cli.metrics.base import Figure, check_parallel
from seqgen_cli.metrics.bootstrap import interval
from seqgen_cli.metrics.word_tokenizers import WordTokenizer, misfit, splits_characters, word_tokenizer

_SETTING = "metrics.tokenizer"


@dataclass(frozen=True)
class TranslationMetrics:
    """Which corpus metrics to compute, and how.

    Args:
        names: the metrics, in the order they are shown.
        tokenizer: how BLEU cuts text into words; auto follows the target language.
        bootstrap: resamples for the confidence interval; 0: no interval.
        confidence: share of the resamples that the interval holds.
        seed: of the resampling; 12345 is sacrebleu's.
    """

    names: Annotated[list[Literal["bleu", "chrf", "ter"]], NEUTRAL] = field(default_factory=lambda: ["bleu", "chrf", "ter"])
    tokenizer: Annotated[WordTokenizer, NEUTRAL] = "auto"
    bootstrap: Annotated[int, Ge(0), NEUTRAL] = 1000
    confidence: Annotated[float, Gt(0), Lt(1), NEUTRAL] = 0.95
    seed: Annotated[int, Ge(0), NEUTRAL] = 12345

    def bleu_tokenizer(self, target_language: str | None) -> str:
        """The tokenizer that BLEU uses for this language; arguments and errors as of `word_tokenizer`."""
        return word_tokenizer(self.tokenizer, target_language, _SETTING)

    def misfit(self, target_language: str | None, references: Iterable[str]) -> str | None:
        """What to say where BLEU is asked for and would find next to no words in the references."""
        told = misfit(self.bleu_tokenizer(target_language), references) if "bleu" in self.names else None
        return told and f"BLEU is not to be trusted: {told} Set {_SETTING}, or the data's target language."

    def compute(
        self,
        hypotheses: Sequence[str],
        references: Sequence[Sequence[str]],
        target_language: str | None = None,
        bootstrap: int | None = None,
    ) -> dict[str, Figure]:
        """Score a corpus: one Figure for each name, under that name.

        Args:
            hypotheses: the system's L lines.
            references: one or more complete references, each of L lines.
            target_language: a tag such as ja or zh_Hans; decides the tokenizer where it is auto.
            bootstrap: resamples, in place of the setting (0 during training: no interval).

        Raises:
            RequestError: nothing to score, references of another length, or a language that auto does not know.
        """
        check_parallel(hypotheses, references)
        resamples = self.bootstrap if bootstrap is None else bootstrap
        return {name: self._figure(self._metric(name, target_language), hypotheses, references, resamples) for name in self.names}

    def _metric(self, name: str, target_language: str | None) -> Metric:
        if name == "bleu":
            # force: no warnings about text that looks tokenised, the hypotheses are detokenised here.
            return BLEU(tokenize=self.bleu_tokenizer(target_language), force=True)
        if name == "chrf":
            return CHRF()
        by_character = splits_characters(self.tokenizer, target_language, _SETTING)  # sacrebleu's asian support
        return TER(normalized=by_character, asian_support=by_character)

    def _figure(self, metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]], resamples: int) -> Figure:
        stats = metric._extract_corpus_statistics(hypotheses, references)
        point = metric._aggregate_and_compute(stats)
        low = high = None
        if resamples:

            def score(sums: list[float]) -> float:
                return metric._compute_score_from_stats(sums).score

            low, high = interval(np.array(stats), score, resamples, self.confidence, self.seed)
            metric.n_bootstrap, metric.seed = resamples, self.seed
        return Figure(point.name, point.score, low, high, metric.get_signature().format())
