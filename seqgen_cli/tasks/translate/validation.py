"""Validation of a model that translates: the likelihood of the split, and translations of part of it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqgen_cli.data.dataset import spread
from seqgen_cli.metrics.translation import TranslationMetrics
from seqgen_cli.models.base import Generator
from seqgen_cli.tasks.translate.translator import Translator
from seqgen_cli.tasks.validation import Trained, Validation

_log = logging.getLogger(__name__)


class TranslatorValidation(Validation):
    """Decodes and scores part of the split as well.

    Args:
        decoder: a decoding choice, as configured.
        metrics: scores the decoded sentences.
        decode_limit: sentences decoded and scored, evenly spread over the split; None: all; 0: none.
        samples: how many are written out: of these, or spread likewise where that is more.
    """

    def __init__(
        self, trained: Trained, decoder: Any, metrics: TranslationMetrics, decode_limit: int | None, samples: int
    ) -> None:
        super().__init__(trained)
        self.decoder, self.metrics = decoder, metrics
        whole = len(self.dataset) if isinstance(self.model, Generator) else 0
        scored = list(spread(whole, whole if decode_limit is None else decode_limit))
        shown = list(spread(whole, samples)) if samples > len(scored) else [scored[i] for i in spread(len(scored), samples)]
        self.scored = len(scored)
        self.decoded = [*scored, *sorted(set(shown) - set(scored))]
        self.shown = [self.decoded.index(row) for row in shown]
        if self.scored and isinstance(metrics, TranslationMetrics) and self.runtime.is_main:
            some = self.dataset.target_lines(self.decoded[: self.scored])
            if told := metrics.misfit(self.prepared.target_language, some):
                _log.warning(told)

    def quality(self, place: Path) -> dict[str, float]:
        """Decode, score by the run's metrics, and write the samples to `place`. More samples change no score."""
        if not len(self.decoded):
            return {}
        sources, references = self.dataset.source_lines(self.decoded), self.dataset.target_lines(self.decoded)
        with self.evaluating():
            outputs = self._translated(sources)
        if self.runtime.is_main and len(self.shown):
            _write_samples(place, [(sources[i], references[i], outputs[i]) for i in self.shown])
        if not self.scored:
            return {}
        outputs, references = outputs[: self.scored], references[: self.scored]
        scores = self.metrics.compute(outputs, [references], self.prepared.target_language, bootstrap=0)
        return {name: figure.value for name, figure in scores.items()}

    def _translated(self, lines: Sequence[str]) -> list[str]:
        """The lines decoded, shared out over the ranks."""
        tokenizers = (self.prepared.source_tokenizer, self.prepared.target_tokenizer)
        translator = Translator([(self.model, self.output)], *tokenizers, self.decoder, self.runtime)
        rank, world_size = self.runtime.rank, self.runtime.world_size
        mine = [translation.text for translation in translator.translate(lines[rank::world_size])]
        outputs = [""] * len(lines)
        for number, part in enumerate(self.runtime.gather(mine)):
            outputs[number::world_size] = part
        return outputs


def _write_samples(place: Path, samples: Sequence[tuple[str, str, str]]) -> None:
    """Source, reference and output of each sentence, and an empty line."""
    place.parent.mkdir(parents=True, exist_ok=True)
    blocks = [f"source:    {source}\nreference: {reference}\noutput:    {output}\n" for source, reference, output in samples]
    place.write_text("\n".join(blocks), encoding="utf-8")
