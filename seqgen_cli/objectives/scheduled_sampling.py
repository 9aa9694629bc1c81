"""Scheduled sampling (Bengio et al. 2015; SPEC.md section 3): what it chooses; inputs are not replaced yet."""

from __future__ import annotations

from seqgen_cli.models.base import Generator
from seqgen_cli.objectives.base import Decay
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.outputs.base import OutputLayer


class ScheduledSampling(MaximumLikelihood):
    """Maximum likelihood with a decay."""

    def __init__(self, model: Generator, output: OutputLayer, decay: Decay) -> None:
        super().__init__(model, output)
        self.decay = decay
