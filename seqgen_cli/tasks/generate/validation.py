"""Validation of a language model: the likelihood of the split, and a few texts of its own."""

from pathlib import Path
from typing import Any

from seqgen_cli.tasks.generate.generator import TextGenerator
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
            with self._evaluating():
                texts = [generation.text for generation in generator.generate([""] * self.samples)]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return {}
