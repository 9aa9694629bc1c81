"""Ancestral sampling: each word drawn from its distribution, tempered and cut as asked.

Shapes: B sentences, K samples of each, R = B * K rows, X words excluded for each row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqgen_cli.decoding.base import Decoder, Hypotheses, Predictions, SearchState, Step, Task
from seqgen_cli.decoding.rollout import Turn, roll_out
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import Draw


@dataclass(frozen=True, kw_only=True)
class Sampling(Decoder):
    """Draw `samples` targets of each sentence, independently, in no order of merit.

    A draw depends only on (seed, sentence, position, sample): batching and order change nothing.
    Log-probabilities returned are those of the distribution itself, neither tempered nor cut.

    temperature: p^(1/temperature), renormalised. top_k: the k most probable words only (0: all). top_p: the fewest most
    probable words that hold at least this mass (1: all; Holtzman et al. 2020). seed: names the random numbers.
    """

    samples: Annotated[int, Ge(1)] = 1
    temperature: Annotated[float, Gt(0)] = 1.0
    top_k: Annotated[int, Ge(0)] = 0
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0
    seed: Annotated[int, Ge(0)] = 1

    @property
    def outputs(self) -> int:
        return self.samples

    def giving(self, outputs: int) -> Sampling:
        return replace(self, samples=outputs)

    def draw(self, uniform_W: Tensor, exclude_WX: Tensor | None) -> Draw:
        """How the next word of W rows is drawn."""
        return Draw(uniform_W, self.temperature, self.top_k, self.top_p, exclude_WX)

    def search(self, step: Step, state: SearchState, task: Task) -> Hypotheses:
        key = task.key or Key.of(self.seed, "sampling")
        sample_K = torch.arange(self.samples, device=task.index_B.device)

        def choose(predictions: Predictions, turn: Turn) -> tuple[Tensor, Tensor]:
            sample_W = sample_K.repeat(len(turn.task.index_B))[turn.row_W]
            uniform_W = key.uniform(turn.index_W, torch.full_like(sample_W, turn.length), sample_W)
            word_W = predictions.sample(self.draw(uniform_W, turn.exclude_WX))
            log_p_W = predictions.score(word_W.clamp_min(0))
            return word_W, log_p_W.masked_fill(word_W < 0, float("-inf"))

        return roll_out(step, state, task, self, self.samples, choose)
