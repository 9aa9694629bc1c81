"""Text in, text out: a trained model (or an ensemble) with its tokenizers and a way of decoding.

Shapes: B sentences, S source length, K hypotheses, T target length, N real target positions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.decoding.steps import Network
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Aligner
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.ensemble import Ensemble, Hypothesis, Likelihood
from seqgen_cli.tasks.lines import as_lines, windows
from seqgen_cli.tasks.loading import Checkpoints, opened
from seqgen_cli.tasks.translate.sentences import joined, split_long, with_prefixes


@dataclass(frozen=True)
class Translation:
    """The outputs for one line, best first; one empty output for an empty line.

    parts: pieces of the line that were translated one by one: 0 for an empty line, above 1 for an over-long one.
    """

    n_best: tuple[Hypothesis, ...]
    parts: int

    @property
    def text(self) -> str:
        return self.n_best[0].text

    @property
    def score(self) -> float:
        return self.n_best[0].score

    @property
    def tokens(self) -> int:
        return self.n_best[0].tokens


@dataclass(frozen=True)
class Alignment:
    """weights_TS: where each target piece looked, rows summing to 1. Pieces include `</s>` on both sides."""

    source_pieces: list[str]
    target_pieces: list[str]
    weights_TS: np.ndarray


_EMPTY = Translation((Hypothesis("", 0.0, 0.0, 0, False),), 0)


class Translator(Ensemble):
    """Translates, scores and aligns lines. Lines come back in their order, whatever the batches.

    Args:
        networks: (model, output layer), on the runtime's device; several over one vocabulary are an ensemble.
        source_tokenizer, target_tokenizer: theirs.
        decoder: how to search.
        runtime: device and precision.
        batch_tokens: source tokens of a batch, padding included.
        max_source_tokens: a longer line is translated in parts, cut where sentences end if they do, and joined again; no
            part is longer than the model reads.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        source_tokenizer: TextTokenizer,
        target_tokenizer: TextTokenizer,
        decoder: Decoder,
        runtime: Runtime,
        batch_tokens: int = 2048,
        max_source_tokens: int = 256,
    ) -> None:
        super().__init__(networks, source_tokenizer, target_tokenizer, decoder, runtime, batch_tokens)
        self.source_tokenizer: TextTokenizer = source_tokenizer
        self.max_source_tokens = max_source_tokens if self.longest is None else min(max_source_tokens, self.longest)

    def translate(self, lines: Sequence[str], progress: bool = False, prefixes: Sequence[str] | None = None) -> list[Translation]:
        """One Translation a line.

        Args:
            lines: without line ends. A line of nothing but spaces gives an empty output.
            progress: show a bar on stderr, where that is a terminal.
            prefixes: text that each line's output must begin with; "" leaves it free.
        """
        return list(self.stream(lines, max(1, len(lines)), len(lines), progress, prefixes))

    def stream(
        self,
        lines: Iterable[str],
        window: int = 512,
        total: int | None = None,
        progress: bool = False,
        prefixes: Iterable[str] | None = None,
    ) -> Iterator[Translation]:
        """One Translation a line, in order, from any number of lines in bounded memory.

        Args:
            window: most lines read, and batched by length, before their translations are yielded. The first windows
                are smaller, so that output starts soon.
            total: number of lines, where known, for the bar.
            prefixes: one for each line, as of `translate`.
        """
        with tqdm(total=total, desc="translating", unit=" lines", leave=False, disable=None if progress else True) as bar:
            for first, chunk in windows(with_prefixes(as_lines(lines, "translate"), prefixes), window, total):
                texts, beginnings = zip(*chunk, strict=True)
                yield from self._translate(texts, beginnings, first, bar.update)

    def score(self, sources: Sequence[str], targets: Sequence[str], first: int = 0) -> list[Likelihood]:
        """Exact log p of each target given its source; nothing is split or cut.

        Args:
            first: the number of the first line, for what is said of one that is too long.

        Raises:
            RequestError: one is longer than the model reads.
        """
        sources, targets = (list(as_lines(side, "score")) for side in (sources, targets))
        return self._scored(targets, self.target_tokenizer.encode(targets), self.source_tokenizer.encode(sources), first)

    def alignments(self, sources: Sequence[str], targets: Sequence[str] | None = None) -> list[Alignment]:
        """Where the (first) model looks for each word of the targets; of its own translations by default.

        Raises:
            RequestError: the model cannot tell.
        """
        model = self.networks[0][0]
        if not isinstance(model, Aligner):
            raise RequestError("Alignments need a model with attention, such as model=attention or model=transformer.")
        sources = list(as_lines(sources, "alignments"))
        targets = [found.text for found in self.translate(sources)] if targets is None else list(as_lines(targets, "alignments"))
        source_ids = [ids[: self.max_source_tokens - 1] for ids in self.source_tokenizer.encode(sources)]
        target_ids = self.target_tokenizer.encode(targets)
        results: list[Alignment | None] = [None] * len(sources)
        with self.evaluating(), torch.no_grad():
            for rows in self._plan(_lengths(source_ids), _lengths(target_ids)):
                batch = self._batch(rows, [source_ids[row] for row in rows], [target_ids[row] for row in rows])
                with self.runtime.autocast():
                    weights_BTS = model.alignments(batch).float().cpu().numpy()
                for row, weights_TS in zip(rows, weights_BTS, strict=True):
                    source = [*self.source_tokenizer.pieces(source_ids[row]), "</s>"]
                    target = [*self.target_tokenizer.pieces(target_ids[row]), "</s>"]
                    results[row] = Alignment(source, target, weights_TS[: len(target), : len(source)])
        return [result for result in results if result is not None]

    def _translate(
        self, lines: Sequence[str], prefixes: Sequence[str], first: int, advance: Callable[[int], object]
    ) -> list[Translation]:
        """Translate one window, whose first line has number `first`: a sampling decoder draws by (seed, line number)."""
        prefix_ids = self.target_tokenizer.encode(prefixes)
        if not all(fits := self.reads(prefix_ids)):
            line = first + fits.index(False) + 1
            raise RequestError(f"The prefix of line {line:,} is longer than the {self.longest} tokens that the model writes.")
        parts = split_long(self.source_tokenizer, lines, self.max_source_tokens)
        flat = [(line, place, ids) for line, group in enumerate(parts) for place, ids in enumerate(group)]
        outputs: list[list[Hypothesis]] = [[] for _ in flat]
        advance(sum(not group for group in parts))
        with self.evaluating():
            for rows in self._plan(_lengths([ids for *_, ids in flat])):
                # Parts of a line differ in the high bits of the index.
                index = [first + flat[row][0] + (flat[row][1] << 40) for row in rows]
                begun = [prefix_ids[flat[row][0]] if flat[row][1] == 0 else prefix_ids[0][:0] for row in rows]
                found = self._decode(index, begun, [flat[row][2] for row in rows], self.decoder)
                for row, hypotheses in zip(rows, found, strict=True):
                    outputs[row] = hypotheses
                advance(sum(flat[row][1] == 0 for row in rows))
        rest = iter(outputs)
        return [_assembled([next(rest) for _ in group]) for group in parts]


def _lengths(rows: Sequence[np.ndarray]) -> list[int]:
    """Tokens of each row, `</s>` included."""
    return [len(ids) + 1 for ids in rows]


def _assembled(parts: Sequence[Sequence[Hypothesis]]) -> Translation:
    """The outputs of a line from those of its parts: the best of each, the second best of each ..."""
    if not parts:
        return _EMPTY
    n_best = []
    for rank in zip(*parts, strict=False):
        n_best.append(
            Hypothesis(
                joined([part.text for part in rank]),
                sum(part.score for part in rank),
                sum(part.log_prob for part in rank),
                sum(part.tokens for part in rank),
                any(part.truncated for part in rank),
            )
        )
    return Translation(tuple(n_best), len(parts))


def open_translator(
    ckpt: Checkpoints,
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 2048,
    max_source_tokens: int = 256,
) -> Translator:
    """A Translator from checkpoints; see `opened`.

    Args:
        decoder: how to search; a beam of 5 by default.
    """
    found = opened("translate", ckpt, runtime, trust)
    tokenizers = (found.source_tokenizer, found.target_tokenizer)
    translator = Translator(found.networks, *tokenizers, decoder or BeamSearch(), runtime, batch_tokens, max_source_tokens)
    translator.folder, translator.config = found.folder, found.config
    return translator
