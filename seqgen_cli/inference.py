"""Text in, text out: a trained model (or an ensemble) with its tokenizers and a way of decoding.

Shapes: B sentences, S source length, K hypotheses, T target length, N real target positions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seqgen_cli import build
from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.data.batching import ByTokens
from seqgen_cli.data.sentences import joined, split_long, with_prefixes
from seqgen_cli.data.tokenizers import Tokenizer
from seqgen_cli.decoding.base import Decoder, Specials
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.decoding.steps import Network, generate
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Aligner, Generator
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.checkpoints import find

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hypothesis:
    """One output for a line.

    score: what the decoder ranks by (of a split line: the sum over its parts). log_prob: natural log p of the target tokens.
    tokens: how many, `</s>` included. truncated: cut at the maximum length.
    """

    text: str
    score: float
    log_prob: float
    tokens: int
    truncated: bool


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
class Likelihood:
    """log_prob: natural log p(target | source). tokens: of the target, `</s>` included. characters: of the target text."""

    log_prob: float
    tokens: int
    characters: int


@dataclass(frozen=True)
class Alignment:
    """weights_TS: where each target piece looked, rows summing to 1. Pieces include `</s>` on both sides."""

    source_pieces: list[str]
    target_pieces: list[str]
    weights_TS: np.ndarray


_EMPTY = Translation((Hypothesis("", 0.0, 0.0, 0, False),), 0)


class Translator:
    """Translates, scores and aligns lines. Lines come back in their order, whatever the batches.

    Args:
        networks: (model, output layer), on the runtime's device; several over one vocabulary are an ensemble.
        source_tokenizer, target_tokenizer: theirs.
        decoder: how to search.
        runtime: device and precision.
        batch_tokens: source tokens of a batch, padding included.
        max_source_tokens: a longer line is translated in parts, cut where sentences end if they do, and joined again.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        decoder: Decoder,
        runtime: Runtime,
        batch_tokens: int = 2048,
        max_source_tokens: int = 256,
    ) -> None:
        self.networks = list(networks)
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.decoder = decoder
        self.runtime = runtime
        self.batch_tokens = batch_tokens
        self.max_source_tokens = max_source_tokens

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
        iterator, done, size = with_prefixes(lines, prefixes), 0, min(window, 64 if total is None or total > window else window)
        with tqdm(total=total, desc="translating", unit=" lines", leave=False, disable=None if progress else True) as bar:
            while chunk := list(islice(iterator, size)):
                texts, beginnings = zip(*chunk, strict=True)
                yield from self._translate(texts, beginnings, done, bar.update)
                done, size = done + len(chunk), min(window, 2 * size)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Likelihood]:
        """Exact log p of each target given its source; nothing is split or cut."""
        source_ids, target_ids = self.source_tokenizer.encode(sources), self.target_tokenizer.encode(targets)
        results: list[Likelihood | None] = [None] * len(sources)
        with self._evaluating(), torch.no_grad():
            for rows in self._plan(source_ids, target_ids):
                batch = self._batch(rows, [source_ids[row] for row in rows], [target_ids[row] for row in rows])
                for row, log_prob in zip(rows, self._log_probs(batch), strict=True):
                    results[row] = Likelihood(log_prob, len(target_ids[row]) + 1, len(targets[row]))
        return [result for result in results if result is not None]

    def alignments(self, sources: Sequence[str], targets: Sequence[str] | None = None) -> list[Alignment]:
        """Where the (first) model looks for each word of the targets; of its own translations by default.

        Raises:
            RequestError: the model cannot tell.
        """
        model = self.networks[0][0]
        if not isinstance(model, Aligner):
            raise RequestError("Alignments need a model with attention, such as model=attention or model=transformer.")
        targets = [translation.text for translation in self.translate(sources)] if targets is None else targets
        source_ids = [ids[: self.max_source_tokens - 1] for ids in self.source_tokenizer.encode(sources)]
        target_ids = self.target_tokenizer.encode(targets)
        results: list[Alignment | None] = [None] * len(sources)
        with self._evaluating(), torch.no_grad():
            for rows in self._plan(source_ids, target_ids):
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
        parts = split_long(self.source_tokenizer, lines, self.max_source_tokens)
        flat = [(line, place, ids) for line, group in enumerate(parts) for place, ids in enumerate(group)]
        outputs: list[list[Hypothesis]] = [[] for _ in flat]
        advance(sum(not group for group in parts))
        with self._evaluating():
            for rows in self._plan([ids for *_, ids in flat]):
                # Parts of a line differ in the high bits of the index.
                index = [first + flat[row][0] + (flat[row][1] << 40) for row in rows]
                begun = [prefix_ids[flat[row][0]] if flat[row][1] == 0 else prefix_ids[0][:0] for row in rows]
                found = self._decode(index, [flat[row][2] for row in rows], begun)
                for row, hypotheses in zip(rows, found, strict=True):
                    outputs[row] = hypotheses
                advance(sum(flat[row][1] == 0 for row in rows))
        rest = iter(outputs)
        return [_assembled([next(rest) for _ in group]) for group in parts]

    def _decode(
        self, index: Sequence[int], sources: Sequence[np.ndarray], prefixes: Sequence[np.ndarray]
    ) -> list[list[Hypothesis]]:
        """Decode one batch: the hypotheses of each source, best first, each beginning with the source's prefix."""
        tokenizer = self.target_tokenizer
        specials = Specials(tokenizer.pad, tokenizer.unk, tokenizer.bos, tokenizer.eos)
        with self.runtime.autocast():
            forced = self._forced(prefixes)
            found = generate(self.networks, self.decoder, self._batch(index, sources, None), specials, None, *forced)
        ids_BKT, lengths_BK, truncated_BK = found.ids_BKT.tolist(), found.lengths_BK.tolist(), found.truncated_BK.tolist()
        log_probs_BK, scores_BK = found.log_probs_BK.tolist(), found.scores_BK.tolist()
        results = []
        for b, rows in enumerate(ids_BKT):
            kept = [k for k in range(len(rows)) if scores_BK[b][k] > -math.inf] or [0]
            words = [rows[k][: lengths_BK[b][k]] for k in kept]
            # A byte-fallback vocabulary can spell a line end.
            texts = [text.replace("\r", " ").replace("\n", " ") for text in tokenizer.decode(words)]
            results.append(
                [
                    Hypothesis(text, scores_BK[b][k], log_probs_BK[b][k], lengths_BK[b][k], truncated_BK[b][k])
                    for k, text in zip(kept, texts, strict=True)
                ]
            )
        return results

    def _forced(self, prefixes: Sequence[np.ndarray]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The prefixes as ids and lengths, (B, P) and (B,); None where no output has one."""
        lengths_B = torch.tensor([len(ids) for ids in prefixes])
        if not lengths_B.any():
            return None, None
        rows = [torch.as_tensor(ids, dtype=torch.int64) for ids in prefixes]
        prefix_BP = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.target_tokenizer.pad)
        return prefix_BP.to(self.runtime.device), lengths_B.to(self.runtime.device)

    def _log_probs(self, batch: Batch) -> list[float]:
        """log p of each target of the batch; of an ensemble, under the average distribution of each word."""
        scores = []
        for model, output in self.networks:
            with self.runtime.autocast():
                scores.append(output.score(model.hidden_states(batch), batch.targets_N).double())
        score_N = torch.stack(scores).logsumexp(0) - math.log(len(scores))
        assert batch.valid_N is not None and batch.targets_BT is not None
        row_N = batch.valid_N // batch.targets_BT.shape[1]
        sums: list[float] = score_N.new_zeros(len(batch)).index_add(0, row_N, score_N).tolist()
        return sums

    def _plan(self, *sides: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Rows of each batch, the longest first: the largest need of memory shows at once."""
        if not len(sides[0]):
            return []
        lengths_nk = np.array([[len(ids) + 1 for ids in side] for side in sides], dtype=np.int64).T
        return ByTokens(len(sides) * self.batch_tokens).plan(lengths_nk)[::-1]

    def _batch(
        self, index: Sequence[int] | np.ndarray, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray] | None
    ) -> Batch:
        source, target = self.source_tokenizer, self.target_tokenizer
        batch = make_batch(
            index,
            sources,
            targets,
            source_pad=source.pad,
            target_pad=target.pad,
            bos=target.bos,
            eos=target.eos,
            source_eos=source.eos,
        )
        return batch.to(self.runtime.device)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode inside; each module's own mode after it (the model may be in training)."""
        modules = [module for network in self.networks for part in network for module in _modules(part)]
        modes = [module.training for module in modules]
        for network in self.networks:
            for part in network:
                _module(part).eval()
        try:
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


def _module(part: Any) -> torch.nn.Module:
    assert isinstance(part, torch.nn.Module)
    return part


def _modules(part: Any) -> list[torch.nn.Module]:
    return list(_module(part).modules())


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


class CheckpointTranslator(Translator):
    """A Translator read from checkpoints. `folder` and `config` are the first one's."""

    folder: Path
    config: Any


def open_checkpoints(
    ckpt: str | Path | Sequence[str | Path],
    runtime: Runtime,
    trust: str | Sequence[str] = (),
    decoder: Decoder | None = None,
    batch_tokens: int = 2048,
    max_source_tokens: int = 256,
) -> CheckpointTranslator:
    """A Translator from checkpoints, on the runtime's device.

    Args:
        ckpt: a run folder (its best checkpoint), RUN:last or a checkpoint folder; several (a list, or joined by commas) make
            an ensemble.
        trust: package or packages of the user's own that a checkpoint's config may name.
        decoder: how to search; a beam of 5 by default.

    Raises:
        RequestError: no such checkpoint, a model that does not generate, or models of different vocabularies.
        SeqgenError: every checkpoint of a run is damaged.
    """
    folders = [find(place, _log.warning) for place in _several(ckpt)]
    packages = [trust] if isinstance(trust, str) else list(trust)
    restored = [build.from_checkpoint(folder, packages) for folder in folders]
    first = restored[0]
    for folder, other in zip(folders, restored, strict=True):
        if not isinstance(other.model, Generator):
            raise RequestError(f"{folder} holds a model that does not generate: it cannot translate.")
        for side in ("source_tokenizer", "target_tokenizer"):
            if getattr(other, side).fingerprint != getattr(first, side).fingerprint:
                raise RequestError(f"{folder} and {folders[0]} have different vocabularies, so they make no ensemble.")
    networks = [(one.model.to(runtime.device), one.output.to(runtime.device)) for one in restored]
    tokenizers = (first.source_tokenizer, first.target_tokenizer)
    translator = CheckpointTranslator(networks, *tokenizers, decoder or BeamSearch(), runtime, batch_tokens, max_source_tokens)
    translator.folder, translator.config = folders[0], first.config
    return translator


def _several(ckpt: str | Path | Sequence[str | Path]) -> list[str | Path]:
    if isinstance(ckpt, str) and not Path(ckpt).exists():
        return [*ckpt.split(",")]
    return [ckpt] if isinstance(ckpt, str | Path) else list(ckpt)


def load(
    ckpt: str | Path | Sequence[str | Path],
    overrides: Sequence[str] = (),
    device: str = "auto",
    trust: str | Sequence[str] = (),
) -> CheckpointTranslator:
    """A trained model, ready to translate: `seqgen_cli.load("runs/X").translate(["..."])[0].text`.

    Args:
        ckpt, trust: as of `open_checkpoints`.
        overrides: settings of `seqgen translate`, e.g. ["decoding.beam_size=8"].
        device: auto, cpu, cuda, cuda:N or mps.
    """
    config = build.compose("translate", [f"runtime.device={device}", *overrides])
    build.check(config)
    decoder, runtime = build.make(config.decoding, "decoding"), build.make(config.runtime, "runtime")
    return open_checkpoints(ckpt, runtime, trust, decoder, config.batch_tokens, config.max_source_tokens)
