"""Likelihood of a data set: perplexity per token and negative log-likelihood per character (SPEC.md section 0)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seqgen_cli.errors import RequestError


@dataclass(frozen=True)
class Likelihood:
    """Sums over a whole data set; ratios are taken once, at the end, never averaged over batches.

    nll: total negative log-likelihood, nats. tokens: target tokens, `</s>` included, padding excluded.
    characters: of the raw references, so that systems with different vocabularies compare.
    """

    nll: float
    tokens: int
    characters: int

    @staticmethod
    def of(log_probs: Sequence[float], tokens: Sequence[int], references: Sequence[str]) -> Likelihood:
        """From the log-probability (natural), token count and raw text of each sentence."""
        return Likelihood(-math.fsum(log_probs), sum(tokens), sum(map(len, references)))

    @staticmethod
    def total(parts: Iterable[Likelihood]) -> Likelihood:
        """Of several sets together."""
        held = list(parts)
        return Likelihood(*(sum(getattr(part, name) for part in held) for name in ("nll", "tokens", "characters")))

    def figures(self) -> dict[str, float | int]:
        """For --json: the ratios and the counts they rest on."""
        ratios = {"perplexity": self.perplexity, "nll_per_character": self.nll_per_character}
        return {**ratios, "target_tokens": self.tokens, "target_characters": self.characters}

    @property
    def perplexity(self) -> float:
        """exp(nll / tokens)."""
        return perplexity(self.nll, self.tokens)

    @property
    def nll_per_character(self) -> float:
        """Nats per character of the reference; divide by log 2 for bits. NaN where every reference is empty."""
        return self.nll / self.characters if self.characters else math.nan


def perplexity(nll: float, tokens: int) -> float:
    """exp(nll / tokens); infinite where that overflows.

    Args:
        nll: total, nats. tokens: 1 or more.

    Raises:
        RequestError: no tokens.
    """
    if tokens < 1:
        raise RequestError("There is nothing to measure: no target tokens.")
    try:
        return math.exp(nll / tokens)
    except OverflowError:
        return math.inf
