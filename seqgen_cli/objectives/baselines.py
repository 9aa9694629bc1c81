"""What a reward is compared with: b in (G - b) d log p(y). One that does not depend on y leaves the gradient's mean as it is,
E[d log p(y)] being 0, and lowers its variance; the best constant is E[G |d log p|^2] / E[|d log p|^2].

Shapes: B sentences, K samples of each, N words of samples, D hidden.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from seqgen_cli.objectives.base import Progress

SAMPLES = "samples/sequences"
"""The metric that counts the samples drawn, by which the others are divided ("reward/samples/sequences" has its sum)."""


@dataclass(frozen=True)
class Rewards:
    """What there is to compare with.

    samples_BK: of the samples. greedy_B: of the greedy output, where the baseline asks for it.
    progress: of the update.
    """

    samples_BK: Tensor
    greedy_B: Tensor | None
    progress: Progress


class Baseline:
    """A baseline; what it is made of is a setting."""

    least_samples: ClassVar[int] = 1
    """Of each sentence."""
    wants_greedy: ClassVar[bool] = False
    """Whether it needs the greedy output's reward."""

    def values(self, rewards: Rewards) -> Tensor | None:
        """b of each sample, (B, K), without a gradient; None: there is none."""
        return None

    def regressor(self, hidden_size: int) -> nn.Module | None:
        """What learns b of each word from the hidden vectors (..., D) -> (..., 1), where this is learned."""
        return None


@dataclass(frozen=True)
class NoBaseline(Baseline):
    """b = 0."""


@dataclass(frozen=True)
class MovingAverage(Baseline):
    """b_i = decay b_{i-1} + (1 - decay) mean of G at update i - 1, over all ranks; the first b is the first mean.

    Its state is the sum of the last update's baselines among its metrics, so all ranks know the same and a resumed run goes on
    with it. The first update, and one after an update that was skipped (fp16 finding its loss scale), has no baseline.
    """

    decay: Annotated[float, Ge(0), Lt(1)] = 0.95

    def values(self, rewards: Rewards) -> Tensor | None:
        before = rewards.progress.metrics
        count = before.get(SAMPLES, 0.0)
        if not count:
            return None
        name = "return" if f"return/{SAMPLES}" in before else "reward"
        mean = before[f"{name}/{SAMPLES}"] / count
        if f"baseline/{SAMPLES}" in before:
            mean = self.decay * before[f"baseline/{SAMPLES}"] / count + (1 - self.decay) * mean
        return torch.full_like(rewards.samples_BK, mean)


@dataclass(frozen=True)
class Greedy(Baseline):
    """b = the reward of the greedy output: self-critical training (Rennie et al. 2017)."""

    wants_greedy: ClassVar[bool] = True

    def values(self, rewards: Rewards) -> Tensor:
        assert rewards.greedy_B is not None
        return rewards.greedy_B[:, None].expand_as(rewards.samples_BK)


@dataclass(frozen=True)
class LeaveOneOut(Baseline):
    """b of a sample = the mean reward of the sentence's other samples, which were drawn without it."""

    least_samples: ClassVar[int] = 2

    def values(self, rewards: Rewards) -> Tensor:
        samples_BK = rewards.samples_BK
        return (samples_BK.sum(1, keepdim=True) - samples_BK) / (samples_BK.shape[1] - 1)


@dataclass(frozen=True)
class Learned(Baseline):
    """b_t = w . h_t + c, fitted by (b_t - G)^2 (Ranzato et al. 2016): h_t has seen the words before y_t, and not y_t.

    h_t is cut from the graph: the model's gradient holds nothing of the fit, and w and c, which start at 0, nothing else.
    """

    def regressor(self, hidden_size: int) -> nn.Module:
        linear = nn.Linear(hidden_size, 1)
        for parameter in linear.parameters():
            nn.init.zeros_(parameter)
        return linear
