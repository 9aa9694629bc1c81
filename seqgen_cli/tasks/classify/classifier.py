"""Text in, label out: a trained classifier with its tokenizer and class names.

Shapes: B texts, S word pieces, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seqgen_cli.data.batch import Batch, pad
from seqgen_cli.data.batching import ByTokens
from seqgen_cli.data.tokenizers.labels import Labels
from seqgen_cli.data.tokenizers.wordpieces import EncoderTokenizer
from seqgen_cli.errors import RequestError
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.devices import wide
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.lines import as_lines, windows
from seqgen_cli.tasks.loading import Checkpoints, opened, several


@dataclass(frozen=True)
class Classification:
    """What a text was taken for.

    ranking: every label with its probability, the most probable first; empty for a text of nothing but spaces.
    cut: the text was longer than the encoder reads, and shortened.
    """

    ranking: tuple[tuple[str, float], ...]
    cut: bool

    @property
    def label(self) -> str | None:
        return self.ranking[0][0] if self.ranking else None

    @property
    def probability(self) -> float | None:
        return self.ranking[0][1] if self.ranking else None


class TextClassifier:
    """Labels texts. Results come back in the order of the texts; none depends on the others.

    Args:
        model, output: in evaluation mode, on the runtime's device.
        tokenizer, labels: theirs.
        runtime: device and precision.
        batch_tokens: word pieces of a batch, padding included.
    """

    folder: Path
    config: Any
    """Of the checkpoint that it was read from, where it was."""

    def __init__(
        self,
        model: Any,
        output: OutputLayer,
        tokenizer: EncoderTokenizer,
        labels: Labels,
        runtime: Runtime,
        batch_tokens: int = 16_384,
    ) -> None:
        self.model, self.output = model, output
        self.tokenizer, self.labels = tokenizer, labels
        self.runtime, self.batch_tokens = runtime, batch_tokens

    def classify(self, texts: Sequence[str], progress: bool = False) -> list[Classification]:
        """One Classification a text.

        Args:
            progress: show a bar on stderr, where that is a terminal.
        """
        return list(self.stream(texts, max(1, len(texts)), len(texts), progress))

    def stream(
        self, texts: Iterable[str], window: int = 2000, total: int | None = None, progress: bool = False
    ) -> Iterator[Classification]:
        """One Classification a text, in order, from any number of texts in bounded memory.

        Args:
            window: most texts read, and batched by length, before their labels are yielded; the first windows are smaller.
            total: number of texts, where known, for the bar.
        """
        with tqdm(total=total, desc="classifying", unit=" texts", leave=False, disable=None if progress else True) as bar:
            for _, chunk in windows(as_lines(texts, "classify"), window, total):
                yield from self._classify(chunk)
                bar.update(len(chunk))

    def _classify(self, texts: Sequence[str]) -> list[Classification]:
        whole = self.tokenizer.encode_whole(texts)
        rows = [self.tokenizer.cut(ids) for ids in whole]
        some = [number for number, text in enumerate(texts) if text.strip()]
        results = [Classification((), False)] * len(texts)
        if not some:
            return results
        lengths_n1 = np.array([[len(rows[number])] for number in some])
        for plan in ByTokens(self.batch_tokens).plan(lengths_n1)[::-1]:  # the longest first: lack of memory shows at once
            numbers = [some[place] for place in plan]
            probs_BC = self._probabilities([rows[number] for number in numbers])
            for number, probs_C in zip(numbers, probs_BC, strict=True):
                order = sorted(range(len(probs_C)), key=lambda place, p=probs_C: -p[place])  # type: ignore[misc]
                ranking = tuple((self.labels.names[place], probs_C[place]) for place in order)
                results[number] = Classification(ranking, self.tokenizer.is_cut(whole[number]))
        return results

    def _probabilities(self, rows: Sequence[np.ndarray]) -> list[list[float]]:
        source_BS, lengths_B = pad(rows, self.tokenizer.pad)
        labels_B = torch.zeros_like(lengths_B)  # tells the model that it is one prediction a row; not read
        batch = Batch(torch.arange(len(rows)), source_BS, lengths_B, labels_B=labels_B).to(self.runtime.device)
        with torch.no_grad(), self.runtime.autocast():
            log_probs_BC = self.output.log_probs(self.model.hidden_states(batch))
        probs_BC: list[list[float]] = wide(log_probs_BC).exp().tolist()
        return probs_BC


def open_classifier(
    ckpt: Checkpoints, runtime: Runtime, trust: str | Sequence[str] = (), batch_tokens: int = 16_384
) -> TextClassifier:
    """A TextClassifier from one checkpoint; see `opened`."""
    if len(several(ckpt)) != 1:
        raise RequestError("A classifier is read from one checkpoint; ensembles are for translation.")
    found = opened("classify", ckpt, runtime, trust, labelled=True)
    classifier = TextClassifier(*found.networks[0], found.source_tokenizer, found.target_tokenizer, runtime, batch_tokens)
    classifier.folder, classifier.config = found.folder, found.config
    return classifier
