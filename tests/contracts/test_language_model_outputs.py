"""Every output layer under every language model: a few updates by maximum likelihood lower the exact perplexity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from tests.helpers import choices, random_batch

WORDS = 50
MODELS = {
    "rnn_lm": ["model.hidden_size=16", "model.embedding_size=16", "model.layers=1"],
    "transformer_lm": ["model.hidden_size=16", "model.ffn_size=32", "model.heads=2", "model.layers=1"],
}
SMALL = {"importance": ["output.samples=20"], "nce": ["output.samples=20"]}
OUTPUTS = [output for output in choices("output") if output != "sigmoid"]


def test_seven_layers_are_tried() -> None:
    assert len(OUTPUTS) == 7


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_language_model_learns_with_every_layer(model: str, output: str) -> None:
    settings = [f"model={model}", *MODELS[model], f"output={output}", *SMALL.get(output, []), "optimizer.lr=0.03"]
    config = config_of("train", [*settings, "model.dropout=0"])
    torch.manual_seed(1)
    counts_V = torch.arange(WORDS).flip(0)
    objective = build.objective(config, *build.network(config, None, WORDS, counts_V))
    batch = replace(random_batch(target_vocab_size=WORDS), source_BS=None, source_lengths_B=None)
    updates = objective.updates(config.optimizer.make)
    before = objective.evaluate(batch)
    for number in range(25):
        for update in updates:
            objective.zero_grad()
            loss = update.module(batch, Progress(number, Key.of(1, number)))
            (sum(loss.terms.values()) / batch.targets_N.shape[0]).backward()
            for optimizer in update.optimizers:
                optimizer.step()
    after = objective.evaluate(batch)
    assert float(after["nll"]) < 0.6 * float(before["nll"])
    assert int(after["tokens"]) == batch.targets_N.shape[0]
