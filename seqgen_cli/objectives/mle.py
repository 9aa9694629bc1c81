"""Maximum likelihood: the negative log-likelihood of the targets (SPEC.md section 3).

For a generator L = - sum_t log p(y_t | y_<t, x), a sum over target tokens; for a classifier - sum_n log p(label_n | x_n),
or, with a weight for each class, - sum_n w_label log p(label_n | x_n) over sum_n w_label.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError, counted
from seqgen_cli.layers.rows import by_gradient
from seqgen_cli.models.base import Model
from seqgen_cli.objectives.base import Loss, MakeOptimizer, Progress, Update
from seqgen_cli.outputs.base import NoiseKey, OutputLayer
from seqgen_cli.runtime.devices import sum_dtype, wide


class MaximumLikelihood(nn.Module):
    """Minimise the output layer's loss at every prediction of the batch.

    Args:
        model: gives the hidden vectors.
        output: gives their distribution.
        class_weights: how much an example of each class counts in the loss; None: all alike; "balanced": n / (C n_c) for the
            n_c of n training examples that are of class c of C, so that each class counts alike (King and Zeng 2001).
        counts_V: int64, how often each class, or word, occurs in training; for "balanced".

    Raises:
        RequestError: there are more or fewer weights than classes, or no counts to balance them by.
    """

    figures: ClassVar[Sequence[str]] = ("nll", "perplexity", "accuracy")

    def __init__(
        self,
        model: Model,
        output: OutputLayer,
        class_weights: list[Annotated[float, Gt(0)]] | Literal["balanced"] | None = None,
        counts_V: Tensor | None = None,
    ) -> None:
        super().__init__()
        if class_weights == "balanced":
            class_weights = _balanced(counts_V)
        if class_weights is not None and len(class_weights) != output.vocab_size:
            numbers = counted(len(class_weights), "number")
            raise RequestError(f"objective.class_weights has {numbers} for {output.vocab_size} classes: give one each.")
        self.model = model
        self.output = output
        self.class_weights = class_weights

    def updates(self, make_optimizer: MakeOptimizer) -> list[Update]:
        return [Update("mle", self, [make_optimizer(part) for part in by_gradient(self.named_parameters())])]

    def counts(self, batch: Batch) -> dict[str, float]:
        predictions: dict[str, float] = {_unit(batch): batch.targets_N.shape[0]}
        if self.class_weights is None:
            return predictions
        return {**predictions, "weight": float(self._weights(batch.targets_N, sum_dtype(batch.targets_N.device)).sum())}

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        """Sum of the loss over the batch's N predictions; `nll` may be smoothed or an estimate, as the output layer's loss is."""
        return self.loss_of(self.model.hidden_states(batch), batch, progress)

    def loss_of(self, hidden_ND: Tensor, batch: Batch, progress: Progress) -> Loss:
        """The same, given the hidden vectors of the N predictions."""
        target_N = batch.targets_N
        noise = NoiseKey(progress.key.fold("output"), batch.examples_N, batch.positions_N)
        loss = self.output.loss(hidden_ND, target_N, weights_N=self._weights(target_N, hidden_ND.dtype), noise=noise)
        return Loss({_unit(batch) if self.class_weights is None else "weight": loss}, {"loss": loss.detach()})

    def _weights(self, target_N: Tensor, dtype: torch.dtype) -> Tensor:
        if self.class_weights is None:
            return torch.ones(target_N.shape, dtype=dtype, device=target_N.device)
        return torch.tensor(self.class_weights, dtype=dtype, device=target_N.device)[target_N]

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        target_N = batch.targets_N
        hidden_ND = self.model.hidden_states(batch)
        _, best_N1 = self.output.topk(hidden_ND, 1)
        score_N = self.output.score(hidden_ND, target_N)
        correct_N = best_N1.squeeze(1) == target_N
        sums = {"nll": -wide(score_N).sum(), "correct": correct_N.sum(), "tokens": torch.full_like(correct_N, 1).sum()}
        return {**sums, **self.output.monitors(hidden_ND, target_N)}


def _balanced(counts_V: Tensor | None) -> list[float]:
    """A weight for each class by which all weigh alike; what does not occur needs none."""
    if counts_V is None:
        raise RequestError("objective.class_weights=balanced needs training examples to count, and there are none.")
    return [float(counts_V.sum()) / (len(counts_V) * count) if count else 1.0 for count in counts_V.tolist()]


def _unit(batch: Batch) -> str:
    """What one prediction of the batch is: a target token of a generator, or a whole text of a classifier."""
    return "tokens" if batch.labels_B is None else "texts"
