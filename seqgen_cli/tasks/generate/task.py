"""Generating: text from a language model, after a prompt or from nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqgen_cli.config import build
from seqgen_cli.config.fitness import choices_of, owner
from seqgen_cli.data.corpora.base import TargetSide
from seqgen_cli.data.corpora.lines import read_lines
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.prepare.cleaning import chunks
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.errors import RequestError, join_or
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task
from seqgen_cli.tasks.ensemble import WINDOW, Scored, evaluated, fits_text, generates, largest
from seqgen_cli.tasks.generate.evaluation import evaluate
from seqgen_cli.tasks.generate.generator import TextGenerator, is_running_text, open_generator
from seqgen_cli.tasks.validation import Trained, Validation


class LanguageModelValidation(Validation):
    """Writes a few texts of the model's own as well. What is drawn depends on the decoder's seed alone, so that one
    validation's texts compare with the next one's.

    Args:
        decoder: a decoding choice, as configured.
        samples: how many texts.
        running: whether the training data are running text.
    """

    def __init__(self, trained: Trained, decoder: Any, samples: int, running: bool) -> None:
        super().__init__(trained)
        self.decoder, self.samples, self.running = decoder, samples, running

    def quality(self, place: Path) -> dict[str, float]:
        """Write the texts to `place`, a line each; nothing more is measured."""
        if self.runtime.is_main and self.samples:
            networks, tokenizer = [(self.model, self.output)], self.prepared.target_tokenizer
            generator = TextGenerator(networks, tokenizer, self.decoder, self.runtime, running=self.running)
            with self.evaluating():
                texts = [generation.text for generation in generator.generate([""] * self.samples)]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return {}


class Generating(Task):
    """Models that say that they read no source."""

    name = command = "generate"
    holds = "a language model, which has no source"
    does = "reads no source"
    kind = "language models"
    writes = True
    reads_source = False
    unit, unit_in_words = "tokens", "target tokens"
    evaluate = staticmethod(evaluate)

    def serves(self, model: type) -> bool:
        return generates(model) and not getattr(model, "reads_source", True)

    def fits(self, group: str, choice: type) -> bool:
        return fits_text(self.name, group, choice)

    def check(self, classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Refuse an objective that rewards outputs: there is nothing to compare them with."""
        if not getattr(classes.get("objective"), "rewards_outputs", False):
            return
        sourced = [name for name, cls in choices_of("model").items() if generates(cls) and getattr(cls, "reads_source", True)]
        plain = [name for name, cls in choices_of("objective").items() if not getattr(cls, "rewards_outputs", False)]
        raise RequestError(
            f"{owner('objective', choices)} compares what a model writes with the reference of its source; "
            f"{owner('model', choices)} reads no source. Use objective={join_or(plain)}, or model={join_or(sourced)}."
        )

    def prepare(self, corpus: Any, tokenizer: Any, cleaning: Any, *rest: Any) -> Prepared:
        return prepare(TargetSide(corpus) if corpus.source_language is not None else corpus, tokenizer, cleaning, *rest)

    def lengths(self, dataset: Any) -> dict[str, np.ndarray]:
        return {"tokens": dataset.target_lengths_n}

    def noun(self, dataset: Any) -> str:
        return str(dataset.noun)

    def validation(self, config: Any, trained: Trained) -> LanguageModelValidation:
        return LanguageModelValidation(trained, config.decoding, config.trainer.samples, is_running_text(config))

    def figures(self, config: Any) -> list[str] | None:
        return evaluated(config)

    def largest(self, config: Any) -> tuple[None, int] | None:
        size = largest(config, "target")
        return None if size is None else (None, size)

    def scored(self, config: Any) -> Iterator[Scored]:
        if config.source is not None:
            raise RequestError(f"{config.ckpt} holds a language model, which reads no source: leave --source out.")
        generator = open_generator(config.ckpt, build.start_runtime(config), config.trust)
        windows = enumerate(chunks(read_lines(Path(config.target)), WINDOW))
        return ((generator.score(texts, number * WINDOW), texts) for number, texts in windows)

    def open(self, config: Any, runtime: Runtime) -> TextGenerator:
        decoder = config.decoding
        decoder = decoder if config.n is None else decoder.giving(config.n)
        return open_generator(config.ckpt, runtime, config.trust, decoder, config.batch_tokens, config.max_length)


TASK = Generating()
