"""Validation while training: exact likelihood over the whole validation set, and what the model makes of part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seqgen_cli import generating, inference
from seqgen_cli.data.batching import Batching, evaluation_batches
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.metrics.perplexity import perplexity
from seqgen_cli.metrics.translation import TranslationMetrics
from seqgen_cli.models.base import Generator
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime import Runtime


class Validation:
    """Measures the likelihood of a live model's validation split; every example once over all ranks.

    Args:
        prepared: its "valid" split is measured on.
        model, output, objective: what is trained.
        batching: how the split is cut into batches.
    """

    def __init__(
        self,
        prepared: Prepared,
        model: Any,
        output: OutputLayer,
        objective: Any,
        batching: Batching,
        runtime: Runtime,
    ) -> None:
        self.prepared, self.dataset = prepared, prepared.splits["valid"]
        self.model, self.output, self.objective = model, output, objective
        self.batching, self.runtime = batching, runtime

    def likelihood(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Figures from the objective's exact sums: nll and whatever else it measures, each per prediction, and perplexity.

        Args:
            check: called between batches; may raise.
        """
        sums: dict[str, list[torch.Tensor]] = {}
        with self._evaluating():
            for batch in evaluation_batches(self.dataset, self.batching, self.runtime.rank, self.runtime.world_size):
                check()
                with self.runtime.autocast():
                    parts = self.objective.evaluate(batch.to(self.runtime.device))
                for name, value in parts.items():
                    sums.setdefault(name, []).append(value)
        totals: dict[str, float] = {}
        # Added up on the host, exactly, once all are computed.
        for of_rank in self.runtime.gather({name: math.fsum(torch.stack(values).tolist()) for name, values in sums.items()}):
            for name, value in of_rank.items():
                totals[name] = totals.get(name, 0.0) + value
        tokens = totals.pop("tokens")
        figures = with_deviations({"accuracy" if name == "correct" else name: value / tokens for name, value in totals.items()})
        if "nll" in totals:
            figures["perplexity"] = perplexity(totals["nll"], int(tokens))
        return figures

    def quality(self, place: Path) -> dict[str, float]:
        """Write samples to `place`, and measure what takes decoding."""
        raise NotImplementedError("abstract")

    def _evaluating(self) -> Evaluating:
        return Evaluating(self.objective)


class TranslatorValidation(Validation):
    """Decodes and scores part of the split as well.

    Args:
        decoder: a decoding choice, as configured.
        metrics: scores the decoded sentences.
        decode_limit: sentences decoded, evenly spread over the split; None: all; 0: none.
        samples: of these, how many are written out.
    """

    def __init__(
        self,
        prepared: Prepared,
        model: Any,
        output: OutputLayer,
        objective: Any,
        batching: Batching,
        runtime: Runtime,
        decoder: Any,
        metrics: TranslationMetrics,
        decode_limit: int | None,
        samples: int,
    ) -> None:
        super().__init__(prepared, model, output, objective, batching, runtime)
        self.decoder, self.metrics = decoder, metrics
        count = len(self.dataset) if decode_limit is None else max(decode_limit, samples)
        self.decoded = spread(len(self.dataset), count if isinstance(model, Generator) else 0)
        self.shown = spread(len(self.decoded), samples)
        self.scored = decode_limit != 0

    def quality(self, place: Path) -> dict[str, float]:
        """Decode, score by the run's metrics, and write the samples to `place`."""
        if not len(self.decoded):
            return {}
        sources, references = self.dataset.source_lines(self.decoded), self.dataset.target_lines(self.decoded)
        with self._evaluating():
            outputs = self._translated(sources)
        if self.runtime.is_main and len(self.shown):
            _write_samples(place, [(sources[i], references[i], outputs[i]) for i in self.shown])
        if not self.scored:
            return {}
        scores = self.metrics.compute(outputs, [references], self.prepared.target_language, bootstrap=0)
        return {name: figure.value for name, figure in scores.items()}

    def _translated(self, lines: Sequence[str]) -> list[str]:
        """The lines decoded, shared out over the ranks."""
        tokenizers = (self.prepared.source_tokenizer, self.prepared.target_tokenizer)
        translator = inference.Translator([(self.model, self.output)], *tokenizers, self.decoder, self.runtime)
        rank, world_size = self.runtime.rank, self.runtime.world_size
        mine = [translation.text for translation in translator.translate(lines[rank::world_size])]
        outputs = [""] * len(lines)
        for number, part in enumerate(self.runtime.gather(mine)):
            outputs[number::world_size] = part
        return outputs


class LanguageModelValidation(Validation):
    """Writes a few texts of the model's own as well. What is drawn depends on the decoder's seed alone, so that one
    validation's texts compare with the next one's.

    Args:
        decoder: a decoding choice, as configured.
        samples: how many texts.
        running: whether the training data are running text.
    """

    def __init__(
        self,
        prepared: Prepared,
        model: Any,
        output: OutputLayer,
        objective: Any,
        batching: Batching,
        runtime: Runtime,
        decoder: Any,
        samples: int,
        running: bool,
    ) -> None:
        super().__init__(prepared, model, output, objective, batching, runtime)
        self.decoder, self.samples, self.running = decoder, samples, running

    def quality(self, place: Path) -> dict[str, float]:
        """Write the texts to `place`, a line each; nothing more is measured."""
        if self.runtime.is_main and self.samples:
            networks, tokenizer = [(self.model, self.output)], self.prepared.target_tokenizer
            generator = generating.TextGenerator(networks, tokenizer, self.decoder, self.runtime, running=self.running)
            with self._evaluating():
                texts = [generation.text for generation in generator.generate([""] * self.samples)]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return {}


def with_deviations(means: dict[str, float]) -> dict[str, float]:
    """The means, with each "x" and "x_squared" as "x" and its standard deviation "x_std"."""
    found = dict(means)
    for name in [name for name in means if name.endswith("_squared")]:
        base = name.removesuffix("_squared")
        found[f"{base}_std"] = max(0.0, found.pop(name) - means[base] ** 2) ** 0.5
    return found


class Evaluating:
    """Evaluation mode and no gradient inside the block; training mode after it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self.module.eval()
        self.no_grad.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self.no_grad.__exit__(*raised)
        self.module.train()


def spread(count: int, wanted: int) -> np.ndarray:
    """`wanted` of the numbers 0 .. count - 1 (all, where there are fewer), evenly spread."""
    wanted = min(wanted, count)
    return np.arange(wanted) * count // max(1, wanted)


def _write_samples(place: Path, samples: Sequence[tuple[str, str, str]]) -> None:
    """Source, reference and output of each sentence, and an empty line."""
    place.parent.mkdir(parents=True, exist_ok=True)
    blocks = [f"source:    {source}\nreference: {reference}\noutput:    {output}\n" for source, reference, output in samples]
    place.write_text("\n".join(blocks), encoding="utf-8")
