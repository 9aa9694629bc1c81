"""Maximum likelihood: the negative log-likelihood of the targets (SPEC.md section 3).

For a generator L = - sum_t log p(y_t | y_<t, x), a sum over target tokens; for a classifier - sum_n log p(label_n | x_n).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.layers.rows import by_gradient
from seqgen_cli.models.base import Model
from seqgen_cli.objectives.base import Loss, MakeOptimizer, Progress, Update
from seqgen_cli.outputs.base import NoiseKey, OutputLayer


class MaximumLikelihood(nn.Module):
    """Minimise the output layer's loss at every prediction of the batch.

    Args:
        model: gives the hidden vectors.
        output: gives their distribution.
    """

    def __init__(self, model: Model, output: OutputLayer) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        return [Update("mle", self, [make_optimizer(part) for part in by_gradient(self.named_parameters())])]

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"tokens": batch.targets_N.shape[0]}

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        """Sum of the loss over the batch's N predictions; `nll` may be smoothed or an estimate, as the output layer's loss is."""
        target_N = batch.targets_N
        hidden_ND = self.model.hidden_states(batch)
        noise = NoiseKey(progress.key.fold("output"), batch.examples_N, batch.positions_N)
        weights_N = torch.ones(target_N.shape, dtype=hidden_ND.dtype, device=hidden_ND.device)
        loss = self.output.loss(hidden_ND, target_N, weights_N=weights_N, noise=noise)
        return Loss({"tokens": loss}, {"loss": loss.detach()})

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        target_N = batch.targets_N
        hidden_ND = self.model.hidden_states(batch)
        _, best_N1 = self.output.topk(hidden_ND, 1)
        score_N = self.output.score(hidden_ND, target_N)
        correct_N = best_N1.squeeze(1) == target_N
        sums = {"nll": -score_N.double().sum(), "correct": correct_N.sum(), "tokens": torch.full_like(correct_N, 1).sum()}
        return {**sums, **self.output.monitors(hidden_ND, target_N)}
