"""The laws every objective keeps, over every YAML of configs/objective, the models that generate and every output layer."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.bench.synthetic import SyntheticWords
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batch import Batch
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from tests.helpers import choices, fits, random_batch
from tests.pairs import pairs

WORDS = 13
MODELS = {
    "rnn": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "attention": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "rnn_lm": ["model.hidden_size=8", "model.embedding_size=6", "model.layers=1"],
    "transformer": [
        "model.hidden_size=8",
        "model.ffn_size=12",
        "model.heads=2",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
    ],
    "transformer_lm": ["model.hidden_size=8", "model.ffn_size=12", "model.heads=2", "model.layers=1"],
}
SMALL = {"importance": ["output.samples=6"], "nce": ["output.samples=6"]}
OUTPUTS = [output for output in choices("output") if output != "sigmoid"]

USED = {
    "mle": [],
    "scheduled_sampling": ["objective/decay=constant", "objective.decay.value=0.4"],
    "raml": ["objective.tau=0.5"],
    "reinforce": [
        "objective/reward=chrf",
        "objective.samples=3",
        "objective.max_length_factor=1.0",
        "objective.max_length_offset=1",
    ],
    "minimum_risk": [
        "objective/reward=chrf",
        "objective.samples=3",
        "objective.max_length_factor=1.0",
        "objective.max_length_offset=1",
    ],
}
"""Settings under which each does what it is for, in little time."""

MIXINGS = [
    *(["objective.mixing=" + mixing] for mixing in ("sampled", "gumbel", "expected")),
    ["objective.mixing=sampled", "objective.per=sequence", "objective.passes=2"],
]
CHOICES: list[tuple[str, list[str]]] = [(objective, []) for objective in choices("objective")]
VARIANTS = [*CHOICES, *(("scheduled_sampling", mixing) for mixing in MIXINGS)]

CASES = pairs(VARIANTS, list(MODELS), OUTPUTS, fits=lambda variant, model, output: fits(model, output, variant[0]))
CASES = [(*variant, model, output) for variant, model, output in CASES]

every_case = pytest.mark.parametrize(
    ("objective", "more", "model", "output"), CASES, ids=lambda v: v if isinstance(v, str) else None
)


def made(objective: str, more: list[str], model: str, output: str) -> Any:
    """The objective over small random networks in float64, without dropout."""
    words = [f"model={model}", *MODELS[model], "model.dropout=0", f"output={output}", *SMALL.get(output, [])]
    config = config_of("train", [*words, f"objective={objective}", *USED[objective], *more])
    torch.manual_seed(2)
    source = 11 if config.task.reads_source else None
    networks = build.network(config, source, WORDS, torch.arange(WORDS).flip(0))
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return build.objective(config, *networks, SyntheticWords(WORDS)).double()


def batch_for(model: str) -> Batch:
    batch = random_batch(seed=3, batch_size=6, target_vocab_size=WORDS)
    return batch if "lm" not in model else replace(batch, source_BS=None, source_lengths_B=None)


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """These rows alone, padded as they were."""
    parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
    chosen = {name: part[rows] for name, part in parts.items() if part is not None and name != "valid_N"}
    width = batch.targets_BT.shape[1]
    inside = torch.arange(width) < chosen["target_lengths_B"][:, None]
    return Batch(**chosen, valid_N=inside.flatten().nonzero().squeeze(1))


def sums_and_gradient(objective: Any, batches: list[Batch], update: int = 3) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Counts, terms and metrics of all batches added up, and the gradient of the terms' sum."""
    (update_,) = objective.updates(lambda named: torch.optim.SGD([parameter for _, parameter in named], lr=0.1))
    objective.zero_grad()
    sums: dict[str, float] = {}
    for batch in batches:
        loss = update_.module(batch, Progress(update, Key.of(5, update)))
        torch.stack(list(loss.terms.values())).sum().backward()
        counts = {f"count {name}": value for name, value in update_.module.counts(batch).items()}
        terms = {f"term {name}": value.detach() for name, value in loss.terms.items()}
        for name, value in {**counts, **terms, **loss.metrics}.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    found = {name: parameter.grad for name, parameter in objective.named_parameters() if parameter.grad is not None}
    return sums, {name: gradient.to_dense() for name, gradient in found.items()}


def test_every_choice_is_tried() -> None:
    assert set(USED) == set(choices("objective")) == {objective for objective, _, _, _ in CASES}
    assert {output for _, _, _, output in CASES} == set(OUTPUTS) and len(OUTPUTS) == 7


@every_case
def test_how_a_batch_is_cut_changes_nothing(objective: str, more: list[str], model: str, output: str) -> None:
    """Sums over micro-batches in any order are those of the whole: accumulation and ranks leave the gradient as it is."""
    trained, batch = made(objective, more, model, output), batch_for(model)
    whole, gradient = sums_and_gradient(trained, [batch])
    torch.manual_seed(77)  # nothing is drawn from torch's generator
    parts, parts_gradient = sums_and_gradient(trained, [rows_of(batch, rows) for rows in ([4, 1], [0], [2, 5, 3])])
    assert parts == pytest.approx(whole, rel=1e-6)
    assert any(each.any() for each in gradient.values()) and parts_gradient.keys() <= gradient.keys()
    for name, value in gradient.items():
        own = parts_gradient.get(name, torch.zeros_like(value))
        assert_close(own, value, rtol=1e-9, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")
    if objective != "mle" or output in ("importance", "nce"):
        assert sums_and_gradient(trained, [batch], update=4)[0] != whole, "each update draws anew"


@pytest.mark.parametrize(("objective", "more"), VARIANTS, ids=lambda v: v if isinstance(v, str) else None)
@pytest.mark.parametrize(("model", "output"), [("attention", "softmax"), ("transformer", "softmax"), ("rnn", "huffman_tree")])
def test_autocast_reaches_every_parameter_that_float32_does(objective: str, more: list[str], model: str, output: str) -> None:
    trained, batch = made(objective, more, model, output).float(), batch_for(model)
    _, full = sums_and_gradient(trained, [batch])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums, half = sums_and_gradient(trained, [batch])
    assert half.keys() == full.keys()
    assert all(torch.isfinite(torch.tensor(value)) for value in sums.values())
    for name, value in full.items():
        assert half[name].dtype == torch.float32 and half[name].isfinite().all()
        assert half[name].any() or value.norm() < 1e-3, name
