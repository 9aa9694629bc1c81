"""What a search needs and gives. A search knows no model: it sees a step function, its state, and special ids.

Shapes: B sentences, K hypotheses of one sentence, R = B * m rows (row i belongs to sentence i // m), T target length,
P prefix length, X words excluded for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import Draw


class Predictions(Protocol):
    """The distribution of the next word, for R rows. Same contracts as `OutputLayer`'s."""

    vocab_size: int

    def topk(self, k: int, exclude_RX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The k most probable words: log-probabilities (R, k), falling, and ids (R, k)."""
        ...

    def sample(self, draw: Draw) -> Tensor:
        """One word a row, (R,); -1 where every word is excluded."""
        ...

    def score(self, ids_R: Tensor) -> Tensor:
        """log p of these words, (R,)."""
        ...

    def rows(self, row_W: Tensor) -> Predictions:
        """Those of these rows alone."""
        ...


class SearchState(Protocol):
    """Where a search stands, for its step function: what was read so far, and the sources."""

    def select(self, row_R: Tensor | None, sentence_B: Tensor | None = None) -> SearchState:
        """Keep these rows (None: all), and these sentences where some left; repeats and any order of rows allowed."""
        ...


Step = Callable[[Tensor, SearchState], tuple[Predictions, SearchState]]
"""Reads the last id of each row, (R,); gives the distribution of the next and the state after it."""


@dataclass(frozen=True)
class Specials:
    """Ids that searches treat apart: `<s>` begins, `</s>` ends, `<pad>` fills, `<unk>` may be suppressed.

    start: what a target's first word is read after, where that is not `<s>`.
    """

    pad: int
    unk: int
    bos: int
    eos: int
    start: int | None = None

    @staticmethod
    def of(tokenizer: Any, start: int | None = None) -> Specials:
        """Those of a tokenizer; of None, which synthetic sentences come without, theirs."""
        if tokenizer is None:
            return Specials(0, 1, 2, 3, start)
        return Specials(tokenizer.pad, tokenizer.unk, tokenizer.bos, tokenizer.eos, start)

    @property
    def first(self) -> int:
        """What a search reads before the first word."""
        return self.bos if self.start is None else self.start


@dataclass(frozen=True)
class Task:
    """The sentences to search for.

    source_lengths_B: tokens of each source, or, without one, of each prefix; they bound the target's length.
    index_B: names each sentence's random numbers. key: replaces the decoder's own seed (training draws anew each update).
    prefix_BP, prefix_lengths_B: words that each target must begin with (without `<s>`), and how many of them are real.
    longest: most tokens that the models can write, whatever the decoder allows; None: no bound.
    """

    specials: Specials
    source_lengths_B: Tensor
    index_B: Tensor
    key: Key | None = None
    prefix_BP: Tensor | None = None
    prefix_lengths_B: Tensor | None = None
    longest: int | None = None

    def select(self, sentence_B: Tensor) -> Task:
        """The task of these sentences alone."""
        prefix_BP = None if self.prefix_BP is None else self.prefix_BP[sentence_B]
        prefix_lengths_B = None if self.prefix_lengths_B is None else self.prefix_lengths_B[sentence_B]
        return replace(
            self,
            source_lengths_B=self.source_lengths_B[sentence_B],
            index_B=self.index_B[sentence_B],
            prefix_BP=prefix_BP,
            prefix_lengths_B=prefix_lengths_B,
        )


@dataclass(frozen=True)
class Hypotheses:
    """K targets of each sentence, the best (or first drawn) first.

    ids_BKT: words, `</s>` included where it was reached, then `<pad>`. lengths_BK: how many of them are real.
    log_probs_BK: natural log p of these words, unnormalised. scores_BK: what they are ranked by.
    truncated_BK: cut at the maximum length, so without `</s>`. A search that found fewer than K leaves rest with length 0,
    score -inf and truncated.
    """

    ids_BKT: Tensor
    lengths_BK: Tensor
    log_probs_BK: Tensor
    scores_BK: Tensor
    truncated_BK: Tensor

    def select(self, sentence_B: Tensor) -> Hypotheses:
        """Those of these sentences."""
        return Hypotheses(*(getattr(self, part.name)[sentence_B] for part in fields(self)))

    @staticmethod
    def join(pieces: Sequence[Hypotheses], places: Sequence[Tensor], pad: int) -> Hypotheses:
        """Those of all sentences in order of their places, from pieces that finished at different times."""
        width = max(piece.ids_BKT.shape[2] for piece in pieces)
        padded = [
            replace(piece, ids_BKT=nn.functional.pad(piece.ids_BKT, (0, width - piece.ids_BKT.shape[2]), value=pad))
            for piece in pieces
        ]
        whole = Hypotheses(*(torch.cat([getattr(piece, part.name) for piece in padded]) for part in fields(Hypotheses)))
        return whole.select(torch.cat(list(places)).argsort())


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What every way of decoding has. Lengths count `</s>`.

    min_length: least words before `</s>`. max_length_factor, max_length_offset: at most factor * source tokens + offset;
    without a source the prefix, which counts as part of the target, stands in for it.
    no_repeat_ngram_size: no n-gram of words occurs twice (0: off). suppress_unknown: never produce `<unk>`.
    """

    min_length: Annotated[int, Ge(0)] = 0
    max_length_factor: Annotated[float, Ge(0)] = 2.0
    max_length_offset: Annotated[int, Ge(1)] = 20
    no_repeat_ngram_size: Annotated[int, Ge(0)] = 0
    suppress_unknown: bool = True

    @property
    def outputs(self) -> int:
        """Hypotheses returned for each sentence."""
        raise NotImplementedError("abstract")

    def giving(self, outputs: int) -> Decoder:
        """The same search with so many hypotheses; RequestError where it cannot return them."""
        raise NotImplementedError("abstract")

    def search(self, step: Step, state: SearchState, task: Task) -> Hypotheses:
        """Targets for the task's sentences; `state` has one row for each."""
        raise NotImplementedError("abstract")

    def max_lengths(self, task: Task) -> Tensor:
        """Most tokens of each target, (B,); a forced prefix and one more always fit."""
        limit_B = (task.source_lengths_B * self.max_length_factor).long() + self.max_length_offset
        limit_B = limit_B if task.longest is None else limit_B.clamp_max(task.longest)
        return limit_B if task.prefix_lengths_B is None else torch.maximum(limit_B, task.prefix_lengths_B + 1)

    def exclusions(self, history_RT: Tensor, specials: Specials) -> Tensor:
        """Ids that may not follow these words, (R, X), -1 where there is none."""
        rows, length = history_RT.shape
        # A tokenizer without <pad> fills rows with </s>, which must stay possible.
        always = [word for word in (specials.pad, specials.bos) if word != specials.eos]
        if self.suppress_unknown:
            always.append(specials.unk)
        if length < self.min_length:
            always.append(specials.eos)
        exclude_RX = torch.tensor(always, dtype=torch.int64, device=history_RT.device).expand(rows, -1)
        if 0 < self.no_repeat_ngram_size <= length:
            exclude_RX = torch.cat([exclude_RX, repeated_words(history_RT, self.no_repeat_ngram_size)], dim=1)
        return exclude_RX


def repeated_words(history_RT: Tensor, size: int) -> Tensor:
    """Words that would repeat an n-gram of `history_RT` (at least `size` = n long): (R, T - n + 1), -1 where none."""
    window_RWn = history_RT.unfold(1, size, 1)
    last_R1n = history_RT[:, history_RT.shape[1] - size + 1 :].unsqueeze(1)
    same_RW = (window_RWn[:, :, :-1] == last_R1n).all(-1)
    return torch.where(same_RW, window_RWn[:, :, -1], -1)
