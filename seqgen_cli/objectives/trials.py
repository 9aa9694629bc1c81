"""What objectives that learn from rewards share: outputs of the model drawn, scored with a gradient and rewarded.

Shapes: B sentences, K samples of each, C columns (samples, and a greedy output or the reference).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import Network
from seqgen_cli.hints import NEUTRAL
from seqgen_cli.layers.dropout import without_dropout
from seqgen_cli.metrics.base import Reward
from seqgen_cli.objectives.base import Progress
from seqgen_cli.objectives.baselines import SAMPLES
from seqgen_cli.objectives.rewarding import Rewarding
from seqgen_cli.objectives.rollouts import Policy, Rollouts, Scored, draw, rewards_of, score
from seqgen_cli.runtime.meters import section

GREEDY_EVERY = 10
"""Updates from one look at greedy outputs to the next, where nothing but the log wants them."""


@dataclass(frozen=True)
class Trial:
    """Outputs of a batch: all `drawn` ones, those `scored`, and their rewards, which may still be under way.

    greedy: whether the last of those drawn is the greedy output.
    """

    drawn: Rollouts
    scored: Scored
    rewards: Callable[[torch.dtype], Tensor]
    eos: int
    greedy: bool


@dataclass(frozen=True)
class TrialSettings:
    """The settings of every objective that learns from rewards: what is drawn, and what is rewarded.

    Args:
        samples: K, of each source.
        dropout: whether there is any in drawing and scoring. Without (the default) the samples come from the very distribution
            that is scored, the one that translates, so that the gradient is that of its expected reward. With it both see
            masks of their own: E[d log p] under the other's samples is no longer 0, so a baseline biases the gradient.
        max_length_factor, max_length_offset: an output has at most that many times the reference's tokens + the offset.
        reward_on: what the reward reads: detokenised text, or token ids. reward_processes: see `Rewarding`.
    """

    samples: Annotated[int, Ge(1)]
    dropout: bool = False
    max_length_factor: Annotated[float, Ge(0)] = 1.5
    max_length_offset: Annotated[int, Ge(1)] = 10
    reward_on: Literal["text", "ids"] = "text"
    reward_processes: Annotated[int, Ge(0), NEUTRAL] = 0


class Trials:
    """Draws, scores and rewards outputs.

    A source is encoded once, with its gradient, for drawing and scoring. Rewards are computed while the device scores.

    Args:
        network: model and output layer. tokenizer: of the target side. reward: of its outputs.
        greedy, temperature: of the Policy.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: Any,
        reward: Reward,
        settings: TrialSettings,
        greedy: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self.network, self.dropped = network, settings.dropout
        self.policy = Policy(
            samples=settings.samples,
            greedy=greedy,
            temperature=temperature,
            max_length_factor=settings.max_length_factor,
            max_length_offset=settings.max_length_offset,
        )
        self.specials = Specials.of(tokenizer)
        self.rewarding = Rewarding(reward, tokenizer, settings.reward_on, settings.reward_processes)
        output = network[1]
        if output.score_is_dense and output.dense_because is None:
            output.dense_because = "the objective scores outputs exactly, which takes every word"

    def looks_at_greedy(self, progress: Progress) -> bool:
        """Whether greedy outputs are drawn in this update: always where the policy says so, else for the log, now and then."""
        return self.policy.greedy or progress.update % GREEDY_EVERY == GREEDY_EVERY - 1

    def dropout(self) -> AbstractContextManager[None]:
        """Inside the block the model has the dropout asked for."""
        return nullcontext() if self.dropped else without_dropout(cast(nn.Module, self.network[0]))

    def run(
        self,
        batch: Batch,
        progress: Progress,
        prefix_lengths_B: Tensor | None = None,
        columns: int | None = None,
        references: bool = False,
    ) -> Trial:
        """Draw outputs of the batch's sources; score the first `columns` of them (None: all).

        The columns are the samples, the references if asked, and last the greedy outputs in updates that look at them.

        Args:
            prefix_lengths_B: how many words of the reference each begins with.
            references: whether the references are one more column.
        """
        memory = self.network[0].encode(batch)
        key, policy = progress.key.fold("samples"), replace(self.policy, greedy=self.looks_at_greedy(progress))
        with section("sampling"):
            drawn = draw(self.network, memory, batch, policy, self.specials, key, prefix_lengths_B)
        drawn = drawn.with_references(batch, policy.samples) if references else drawn
        rewards = rewards_of(drawn, batch, self.rewarding)
        scored = score(self.network, memory, drawn if columns is None else drawn.first(columns), self.specials)
        return Trial(drawn, scored, rewards, self.specials.eos, policy.greedy)


def monitored(trial: Trial, reward_BC: Tensor, log_p_BC: Tensor, samples: int) -> dict[str, Tensor]:
    """What is logged of the first `samples` columns, as sums: reward, length in tokens, shares of distinct and truncated samples,
    and -log p of a token, an estimate of the entropy of the next word; and the reward of greedy outputs, where there are any."""
    drawn = trial.drawn.first(samples)
    number = torch.tensor(float(drawn.lengths_BK.numel()), device=reward_BC.device)
    tokens = f"own_tokens/{SAMPLES}"
    looked = "greedy_outputs/sequences"
    greedy = {looked: number / samples, f"greedy_reward/{looked}": reward_BC[:, -1].sum()} if trial.greedy else {}
    return {
        **greedy,
        SAMPLES: number,
        f"reward/{SAMPLES}": reward_BC[:, :samples].sum(),
        f"length/{SAMPLES}": drawn.lengths_BK.sum(),
        f"distinct/{SAMPLES}": drawn.distinct_BK.sum(),
        f"truncated/{SAMPLES}": drawn.truncated_BK(trial.eos).sum(),
        tokens: drawn.own_lengths_BK().sum(),
        f"entropy/{tokens}": -log_p_BC[:, :samples].sum(),
    }


def untouched(parameters: Iterable[nn.Parameter]) -> Tensor | float:
    """0, with a gradient of 0 for each of these: DistributedDataParallel waits for every parameter's gradient."""
    return sum((0.0 * parameter.sum() for parameter in parameters), start=0.0)
