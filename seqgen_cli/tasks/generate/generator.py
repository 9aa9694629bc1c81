"""Text out, from a prompt or from nothing: a trained language model (or an ensemble) with its tokenizer and a way of decoding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.decoding.steps import Network
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.ensemble import Ensemble, Hypothesis, Likelihood
from seqgen_cli.tasks.lines import as_lines, windows
from seqgen_cli.tasks.loading import Checkpoints, opened


@dataclass(frozen=True)
class Generation:
    """The texts for one prompt, as the decoder gives them: drawn independently, or best first. Each begins with the prompt.

    tokens and log_prob of a text are those of all that the model read and wrote, the prompt included.
    cut: whether the prompt was too long for the model, so that only its end was read.
    """

    prompt: str
    n_best: tuple[Hypothesis, ...]
    cut: bool

    @property
    def text(self) -> str:
        return self.n_best[0].text

    @property
    def texts(self) -> list[str]:
        return [hypothesis.text for hypothesis in self.n_best]


class TextGenerator(Ensemble):
    """Continues prompts, and scores texts. A draw depends on the decoder's seed and the prompt's number alone.

    Args:
        networks: (model, output layer), on the runtime's device; several over one vocabulary are an ensemble.
        tokenizer: theirs.
        decoder: how to choose words.
        runtime: device and precision.
        batch_tokens: tokens of a batch, the texts counted at their greatest length.
        max_length: most tokens after a prompt, `</s>` included, in place of the decoder's own bounds; None: those.
        running: whether the networks were trained on running text, where a line begins after the `</s>` of the one before.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        tokenizer: TextTokenizer,
        decoder: Decoder,
        runtime: Runtime,
        batch_tokens: int = 16_384,
        max_length: int | None = None,
        running: bool = False,
    ) -> None:
        if max_length is not None:
            decoder = replace(decoder, max_length_factor=1.0, max_length_offset=max_length)
        super().__init__(networks, None, tokenizer, decoder, runtime, batch_tokens, tokenizer.eos if running else None)

    def generate(self, prompts: Sequence[str] = ("",), n: int | None = None, progress: bool = False) -> list[Generation]:
        """One Generation a prompt.

        Args:
            prompts: without line ends; one of nothing but spaces is a text from nothing.
            n: texts for each prompt; None: as many as the decoder gives.
            progress: show a bar on stderr, where that is a terminal.

        Raises:
            RequestError: the decoder cannot give n texts.
        """
        return list(self.stream(prompts, n, max(1, len(prompts)), len(prompts), progress))

    def stream(
        self,
        prompts: Iterable[str],
        n: int | None = None,
        window: int = 512,
        total: int | None = None,
        progress: bool = False,
    ) -> Iterator[Generation]:
        """One Generation a prompt, in order, from any number of prompts in bounded memory.

        Args:
            window: most prompts read, and batched by length, before their texts are yielded.
            total: number of prompts, where known, for the bar.
        """
        decoder = self.decoder if n is None else self.decoder.giving(n)
        with tqdm(total=total, desc="generating", unit=" prompts", leave=False, disable=None if progress else True) as bar:
            for first, chunk in windows(as_lines(prompts, "generate"), window, total):
                yield from self._generated(chunk, first, decoder, bar.update)

    def score(self, texts: Sequence[str], first: int = 0) -> list[Likelihood]:
        """Exact log p of each text, `</s>` included; nothing is cut.

        Args:
            first: the number of the first text, for what is said of one that is too long.

        Raises:
            RequestError: one is longer than the model reads.
        """
        texts = list(as_lines(texts, "score"))
        return self._scored(texts, self.target_tokenizer.encode(texts), None, first)

    def _generated(
        self, prompts: Sequence[str], first: int, decoder: Decoder, advance: Callable[[int], object]
    ) -> list[Generation]:
        """Continue one window of prompts, the first of which has number `first`."""
        whole = self.target_tokenizer.encode([prompt.strip() for prompt in prompts])
        read = [ids[len(ids) - self._room(len(ids), decoder) :] for ids in whole]
        results: list[Generation | None] = [None] * len(prompts)
        with self.evaluating():
            for rows in self._plan([(len(ids) + decoder.max_length_offset) * decoder.outputs for ids in read]):
                before = [whole[row][: len(whole[row]) - len(read[row])] for row in rows]
                found = self._decode([first + int(row) for row in rows], [read[row] for row in rows], None, decoder, before)
                for row, hypotheses in zip(rows, found, strict=True):
                    shown = self._shown(prompts[row], whole[row], hypotheses)
                    results[row] = Generation(prompts[row], tuple(shown), len(read[row]) < len(whole[row]))
                advance(len(rows))
        return [result for result in results if result is not None]

    def _room(self, tokens: int, decoder: Decoder) -> int:
        """How many of a prompt's tokens are read: all that leave room for the longest text asked for, and no fewer than half
        of what the model can read."""
        if self.longest is None:
            return tokens
        return min(tokens, self.longest - min(decoder.max_length_offset, max(1, self.longest // 2)))

    def _shown(self, prompt: str, ids: np.ndarray, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """The texts with the prompt as it was given, unknown words and all, where they begin with what the model made of it."""
        (read,) = self.target_tokenizer.decode([ids])
        return [
            replace(each, text=prompt.strip() + each.text[len(read) :]) if each.text.startswith(read) else each
            for each in hypotheses
        ]


def is_running_text(config: Any) -> bool:
    """Whether the data are read as one stream of lines, block by block."""
    return config.data.settings.get("block") is not None


def open_generator(
    ckpt: Checkpoints,
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 16_384,
    max_length: int | None = None,
) -> TextGenerator:
    """A TextGenerator from checkpoints; see `opened`.

    Args:
        decoder: how to choose words; sampling by default.
    """
    found = opened("generate", ckpt, runtime, trust)
    decoder, running = decoder or Sampling(), is_running_text(found.config)
    generator = TextGenerator(found.networks, found.target_tokenizer, decoder, runtime, batch_tokens, max_length, running)
    generator.folder, generator.config = found.folder, found.config
    return generator
