"""How training passes from maximum likelihood to reinforce: functions of the update index, which a resumed run goes on with.

Rewards of a model that knows nothing yet are alike, and their gradient is noise: start from an mle run (`init_from`).
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge

from seqgen_cli.objectives.decays import InverseSigmoid, Linear, Share


@dataclass(frozen=True)
class Plan:
    """What one update trains on.

    reference: weight of the references' negative log-likelihood per token. samples: weight of the samples' loss per sentence.
    last: only the last so many words of a sentence are left to the samples, which go on from the reference's first words;
        the likelihood is that of these first words. None: samples are whole, and the likelihood too.
    """

    reference: float
    samples: float
    last: int | None = None


class Handover(Protocol):
    """When samples take over from references."""

    def plan(self, update: int) -> Plan:
        """Of this update, counted from 0."""
        ...


def _mixed(weight: float) -> Plan:
    return Plan(1 - weight, weight)


@dataclass(frozen=True)
class Constant:
    """lambda = `weight` at every update: (1 - lambda) mle + lambda reinforce."""

    weight: Share = 1.0

    def plan(self, update: int) -> Plan:
        return _mixed(self.weight)


@dataclass(frozen=True)
class LinearRise:
    """lambda rises from `start` to `end` in a straight line, over so many `updates`."""

    start: Share = 0.0
    end: Share = 1.0
    updates: Annotated[int, Ge(1)] = 10_000

    def plan(self, update: int) -> Plan:
        left = Linear(k=1.0, c=1 / self.updates)(update)
        return _mixed(self.end + left * (self.start - self.end))


@dataclass(frozen=True)
class SigmoidRise:
    """lambda = 1 - k / (k + exp(i / k)): near 0 at first, 1/2 at update i = k log k, then rising to 1."""

    k: Annotated[float, Ge(1)] = 1000.0

    def plan(self, update: int) -> Plan:
        return _mixed(1 - InverseSigmoid(self.k)(update))


@dataclass(frozen=True)
class Mixer:
    """MIXER (Ranzato et al. 2016): mle on all but the last Delta tokens of each reference, reinforce on the Delta after them.

    Delta = start + step * floor(i / every) at update i. At Delta = 0 this is mle; once Delta is no less than a sentence's
    tokens T it is reinforce. `</s>` is one of the T. The likelihood's sum is divided by all tokens of the references, so that
    each of its tokens weighs what it weighs in mle.
    """

    start: Annotated[int, Ge(0)] = 0
    step: Annotated[int, Ge(0)] = 2
    every: Annotated[int, Ge(1)] = 1000

    def plan(self, update: int) -> Plan:
        last = self.start + self.step * (update // self.every)
        return Plan(1.0, float(last > 0), last)
