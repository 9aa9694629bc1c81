"""Trained networks with their tokenizers and a way of decoding: what translating and generating text share.

Shapes: B texts, K hypotheses, T target length, N real target positions, P prefix length.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgen_cli.config.checked import Config
from seqgen_cli.config.signatures import missing_members
from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.data.batching import ByTokens
from seqgen_cli.data.corpora.labelled import LabelledCorpus
from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.decoding.base import Decoder, Predictions, Specials
from seqgen_cli.decoding.steps import Network, generate, longest, predict
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Classifier
from seqgen_cli.runtime.devices import wide
from seqgen_cli.runtime.process import Runtime


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
class Likelihood:
    """log_prob: natural log p of a text, given its source where it has one. tokens: of the text, `</s>` included.
    characters: of the text."""

    log_prob: float
    tokens: int
    characters: int


WINDOW = 4096
"""Texts read, batched by length and scored at once: memory does not grow with the files."""

Scored = tuple[list[Likelihood], list[str]]
"""The likelihoods of some texts, and the texts."""


def generates(model: type) -> bool:
    """Whether models of this class generate text: all but classifiers."""
    return bool(missing_members(model, Classifier))


def fits_text(task: str, group: str, choice: type) -> bool:
    """Whether a choice is for models that generate text; metrics say for which task of that they are."""
    if group == "data":
        return bool(missing_members(choice, LabelledCorpus))
    if group == "tokenizer":
        return choice is not WordPieces
    if group == "metrics":
        return getattr(choice, "task", "translate") == task
    return not getattr(choice, "classifies", False)


def evaluated(config: Config) -> list[str] | None:
    """What the objective's `evaluate` measures, where its class says so."""
    figures: Sequence[str] | None = getattr(config.objective.cls, "figures", None)
    return None if figures is None else list(figures)


def largest(config: Config, side: str) -> int | None:
    """The most words that a side ("source", "target") can have by the tokenizer's settings; None where they do not say."""
    bound: Callable[[str], int | None] | None = getattr(config.tokenizer, "largest", None)
    return None if bound is None else bound(side)


class Ensemble:
    """One network, or several that predict together by the average of their distributions.

    Args:
        networks: (model, output layer), on the runtime's device; over one vocabulary.
        source_tokenizer, target_tokenizer: theirs; no source: None.
        decoder: how to search.
        runtime: device and precision.
        batch_tokens: tokens of one side of a batch, padding included.
        start: id that a text's first word is read after; None: the target's `<s>`.
    """

    folder: Path
    config: Any
    """Of the (first) checkpoint that it was read from, where it was."""

    def __init__(
        self,
        networks: Sequence[Network],
        source_tokenizer: TextTokenizer | None,
        target_tokenizer: TextTokenizer,
        decoder: Decoder,
        runtime: Runtime,
        batch_tokens: int,
        start: int | None = None,
    ) -> None:
        self.networks = list(networks)
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.decoder = decoder
        self.runtime = runtime
        self.batch_tokens = batch_tokens
        self.start = start
        self.longest = longest(networks)
        """Most tokens of a text that every network reads and writes; None: no bound."""

    def predictions(self, batch: Batch) -> Predictions:
        """The distribution at each of the batch's N real target positions, teacher-forced."""
        with self.runtime.autocast():
            return predict(self.networks, batch)

    def log_probs(self, batch: Batch) -> Tensor:
        """log p of the batch's targets, (N,), in the dtype that the device adds up in."""
        with self.runtime.autocast():
            return wide(self.predictions(batch).score(batch.targets_N))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside; each module's own mode after it (the model may be in training)."""
        modules = [module for network in self.networks for part in network for module in _module(part).modules()]
        modes = [module.training for module in modules]
        for network in self.networks:
            for part in network:
                _module(part).eval()
        try:
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode

    def reads(self, *sides: Sequence[np.ndarray]) -> list[bool]:
        """Whether the networks read each text, given the ids of each of its sides without `</s>`."""
        bound = math.inf if self.longest is None else self.longest
        return [max(map(len, ids)) < bound for ids in zip(*sides, strict=True)]

    def _scored(
        self, texts: Sequence[str], target_ids: Sequence[np.ndarray], source_ids: Sequence[np.ndarray] | None, first: int = 0
    ) -> list[Likelihood]:
        """The likelihood of each text, whose ids are given; `first` is the number of the first, from 0.

        Raises:
            RequestError: one is longer than the model reads.
        """
        results: list[Likelihood | None] = [None] * len(texts)
        sides = [target_ids] if source_ids is None else [source_ids, target_ids]
        if not all(fits := self.reads(*sides)):
            number = fits.index(False)
            tokens = max(len(ids[number]) for ids in sides) + 1
            raise RequestError(
                f"Line {first + number + 1:,} has {tokens:,} tokens, and the model reads {self.longest} (its max_positions). "
                "Shorten it, or leave it out."
            )
        with self.evaluating(), torch.no_grad():
            for rows in self._plan(*([len(ids) + 1 for ids in side] for side in sides)):
                sources = None if source_ids is None else [source_ids[row] for row in rows]
                batch = self._batch(rows, sources, [target_ids[row] for row in rows])
                for row, log_prob in zip(rows, _sums(self.log_probs(batch), batch), strict=True):
                    results[row] = Likelihood(log_prob, len(target_ids[row]) + 1, len(texts[row]))
        return [result for result in results if result is not None]

    def _decode(
        self,
        index: Sequence[int],
        prefixes: Sequence[np.ndarray],
        sources: Sequence[np.ndarray] | None,
        decoder: Decoder,
        before: Sequence[np.ndarray] | None = None,
    ) -> list[list[Hypothesis]]:
        """Decode one batch: the hypotheses of each row, best first, each beginning with the row's prefix.

        Args:
            before: ids that stand before each row's prefix in its texts, but that no network reads.
        """
        tokenizer = self.target_tokenizer
        specials = Specials.of(tokenizer, self.start)
        with self.runtime.autocast():
            forced = self._forced(prefixes)
            found = generate(self.networks, decoder, self._batch(index, sources, None), specials, None, *forced)
        ids_BKT, lengths_BK, truncated_BK = found.ids_BKT.tolist(), found.lengths_BK.tolist(), found.truncated_BK.tolist()
        log_probs_BK, scores_BK = found.log_probs_BK.tolist(), found.scores_BK.tolist()
        results = []
        for b, rows in enumerate(ids_BKT):
            kept = [k for k in range(len(rows)) if scores_BK[b][k] > -math.inf] or [0]
            first = [] if before is None else before[b].tolist()
            words = [first + rows[k][: lengths_BK[b][k]] for k in kept]
            # A byte-fallback vocabulary can spell a line end; an output cut at its longest can end in the space before a word.
            texts = [text.replace("\r", " ").replace("\n", " ").rstrip(" ") for text in tokenizer.decode(words)]
            results.append(
                [
                    Hypothesis(text, scores_BK[b][k], log_probs_BK[b][k], lengths_BK[b][k], truncated_BK[b][k])
                    for k, text in zip(kept, texts, strict=True)
                ]
            )
        return results

    def _forced(self, prefixes: Sequence[np.ndarray]) -> tuple[Tensor | None, Tensor | None]:
        """The prefixes as ids and lengths, (B, P) and (B,); None where no output has one."""
        lengths_B = torch.tensor([len(ids) for ids in prefixes])
        if not lengths_B.any():
            return None, None
        rows = [torch.as_tensor(ids, dtype=torch.int64) for ids in prefixes]
        prefix_BP = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.target_tokenizer.pad)
        return prefix_BP.to(self.runtime.device), lengths_B.to(self.runtime.device)

    def _plan(self, *lengths: Sequence[int]) -> list[np.ndarray]:
        """Rows of each batch, given the tokens of each side, the longest first: the largest need of memory shows at once."""
        if not len(lengths[0]):
            return []
        lengths_nk = np.array(lengths, dtype=np.int64).T
        return ByTokens(len(lengths) * self.batch_tokens).plan(lengths_nk)[::-1]

    def _batch(
        self,
        index: Sequence[int] | np.ndarray,
        sources: Sequence[np.ndarray] | None,
        targets: Sequence[np.ndarray] | None,
    ) -> Batch:
        target = self.target_tokenizer
        source = self.source_tokenizer or target
        batch = make_batch(
            index,
            sources,
            targets,
            source_pad=source.pad,
            target_pad=target.pad,
            bos=target.bos if self.start is None else self.start,
            eos=target.eos,
            source_eos=source.eos,
        )
        return batch.to(self.runtime.device)


def _sums(value_N: Tensor, batch: Batch) -> list[float]:
    """The values at each row's target positions, added up."""
    assert batch.valid_N is not None and batch.targets_BT is not None
    row_N = batch.valid_N // batch.targets_BT.shape[1]
    sums: list[float] = value_N.new_zeros(len(batch)).index_add(0, row_N, value_N).tolist()
    return sums


def _module(part: Any) -> torch.nn.Module:
    assert isinstance(part, torch.nn.Module)
    return part
