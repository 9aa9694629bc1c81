"""Maximum likelihood with a weight for each class, against torch's weighted cross-entropy."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.outputs.softmax import Softmax
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import SGD
from seqgen_cli.training.schedules import Constant
from tests.helpers import random_texts
from tests.toys import OneProcess

CLASSES = 3


class MeanOfWords(nn.Module):
    """A classifier: the mean of a text's word vectors."""

    hidden_size = 4
    classifies = True

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 4)

    def hidden_states(self, batch: Batch) -> Tensor:
        real_BS = torch.arange(batch.source_BS.shape[1]) < batch.source_lengths_B[:, None]
        return (self.words(batch.source_BS) * real_BS[..., None]).sum(1) / batch.source_lengths_B[:, None]


def classifier(weights: list[float] | None) -> MaximumLikelihood:
    torch.manual_seed(4)
    return MaximumLikelihood(MeanOfWords(), Softmax(4, CLASSES), weights).double()


def texts(seed: int, size: int) -> Batch:
    return random_texts(seed, batch_size=size, classes=CLASSES)


def weighted_mean(objective: MaximumLikelihood, batches: list[Batch], weights: list[float] | None) -> Tensor:
    """torch's: sum of w_label nll over the sum of w_label, over all texts at once."""
    score_NC = torch.cat([objective.output.log_probs(objective.model.hidden_states(batch)) for batch in batches])
    weight_C = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return cross_entropy(score_NC, torch.cat([batch.labels_B for batch in batches]), weight_C)


@pytest.mark.parametrize("weights", [None, [1.0, 2.5, 0.3], [0.01, 0.02, 0.05]])
@pytest.mark.parametrize("sizes", [[6, 1, 3], [1], [2]])
def test_training_minimises_the_weighted_mean_and_logs_it(weights: list[float] | None, sizes: list[int]) -> None:
    """Over a group of unequal batches; also where weights, or the predictions of a window, are few and sum to less than 1."""
    objective = classifier(weights)
    batches = [texts(seed, size) for seed, size in enumerate(sizes)]
    mean = weighted_mean(objective, batches, weights)
    gradients, expected = torch.autograd.grad(mean, list(objective.parameters())), float(mean.detach())
    before = [parameter.detach().clone() for parameter in objective.parameters()]
    stream = chain(batches, repeat(batches[0]))
    loop = Loop(objective.updates(SGD(lr=1.0).make), stream, OneProcess(), Constant(), seed=1, accumulate=len(sizes))
    loop.step()
    for old, new, gradient in zip(before, objective.parameters(), gradients, strict=True):
        assert_close(old - new.detach(), gradient, rtol=0, atol=1e-12)
    assert loop.take_figures()["loss"] == pytest.approx(expected, rel=1e-12)
    totals = {name: float(value) for name, value in loop.totals.items()}
    labels = torch.cat([batch.labels_B for batch in batches]).tolist()
    assert totals["texts"] == sum(sizes) and totals.keys() == ({"texts"} if weights is None else {"texts", "weight"})
    assert weights is None or totals["weight"] == pytest.approx(sum(weights[label] for label in labels), rel=1e-12)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    """n / (C n_c), as scikit-learn's class_weight="balanced"; a class that does not occur weighs nothing anyway."""
    torch.manual_seed(4)
    counts_C = torch.tensor([6, 3, 1])
    objective = MaximumLikelihood(MeanOfWords(), Softmax(4, CLASSES), "balanced", counts_C)
    assert objective.class_weights == pytest.approx([10 / (3 * count) for count in (6, 3, 1)], rel=1e-15)
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.repeat(np.arange(3), counts_C)
    assert objective.class_weights == pytest.approx(
        sklearn.compute_class_weight("balanced", classes=np.arange(3), y=labels), rel=1e-15
    )
    with_none = MaximumLikelihood(MeanOfWords(), Softmax(4, CLASSES), "balanced", torch.tensor([6, 0, 2]))
    assert with_none.class_weights == pytest.approx([8 / 18, 1.0, 8 / 6])
    with pytest.raises(RequestError, match=r"class_weights=balanced needs training examples"):
        MaximumLikelihood(MeanOfWords(), Softmax(4, CLASSES), "balanced")


def test_evaluation_weighs_all_texts_alike() -> None:
    objective, batch = classifier([1.0, 2.5, 0.3]), texts(1, 9)
    sums = objective.evaluate(batch)
    assert float(sums["nll"]) == pytest.approx(9 * weighted_mean(objective, [batch], None).item(), rel=1e-12)
    best_N = objective.output.log_probs(objective.model.hidden_states(batch)).argmax(-1)
    assert int(sums["correct"]) == int((best_N == batch.labels_B).sum()) and int(sums["tokens"]) == 9


def test_a_class_that_no_text_of_the_batch_has_divides_nothing() -> None:
    objective: Any = classifier([1.0, 2.5, 0.3])
    batch = replace(texts(1, 4), labels_B=torch.full((4,), 2))
    assert objective.counts(batch) == {"texts": 4, "weight": pytest.approx(4 * 0.3)}
