"""Optimizers against their published update rules, worked out in float64; and what is exempt from weight decay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.errors import RequestError
from seqgen_cli.training.optimizers import SGD, Adam, AdamW
from tests.helpers import choices, make_choice

GRADIENTS = torch.tensor([[0.5, -2.0], [0.1, 1.0], [-3.0, 0.0]], dtype=torch.float64)


def descend(settings: Adam | AdamW | SGD, start: Tensor) -> Tensor:
    weight = nn.Parameter(start.clone())
    optimizer = settings.make([("weight", weight)])
    for gradient in GRADIENTS:
        weight.grad = gradient.expand_as(weight).clone()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_the_papers_algorithm(decay: float) -> None:
    start = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    expected, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t, gradient in enumerate(GRADIENTS, start=1):
        m = 0.8 * m + 0.2 * gradient
        v = 0.9 * v + 0.1 * gradient**2
        step = m / (1 - 0.8**t) / ((v / (1 - 0.9**t)).sqrt() + 1e-3)
        expected = expected - 0.05 * (step + decay * expected)
    if decay:
        found = descend(AdamW(lr=0.05, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay=decay), start)
    else:
        found = descend(Adam(lr=0.05, beta1=0.8, beta2=0.9, eps=1e-3), start)
    assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_momentum(nesterov: bool) -> None:
    start = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    expected, velocity = start.clone(), torch.zeros_like(start)
    for gradient in GRADIENTS:
        decayed = gradient + 0.1 * expected
        velocity = 0.9 * velocity + decayed
        expected = expected - 0.05 * (decayed + 0.9 * velocity if nesterov else velocity)
    found = descend(SGD(lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=0.1), start)
    assert_close(found, expected, rtol=0, atol=1e-12)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.linear = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize("settings", [AdamW(weight_decay=0.1), SGD(weight_decay=0.1)])
def test_only_matrices_that_are_no_embeddings_decay(settings: AdamW | SGD) -> None:
    net = Net()
    decayed, kept = settings.make(net.named_parameters()).param_groups
    assert [id(p) for p in decayed["params"]] == [id(net.linear.weight)] and decayed["weight_decay"] == 0.1
    wanted = [net.embedding.weight, net.linear.bias, net.norm.weight, net.norm.bias]
    assert [id(p) for p in kept["params"]] == [id(p) for p in wanted] and kept["weight_decay"] == 0


@pytest.mark.parametrize("choice", choices("optimizer"))
def test_shipped_optimizers_step_on_the_device(choice: str) -> None:
    """Fused, so that the check for non-finite gradients needs no host."""
    optimizer = make_choice("optimizer", choice).make(Net().named_parameters())
    assert optimizer._step_supports_amp_scaling


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(RequestError, match=r"optimizer\.momentum"):
        SGD(nesterov=True)
