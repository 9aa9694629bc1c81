"""The recurrent encoder and decoder against a plain loop of torch's cells over each sentence's true length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.layers.recurrent import Cell, RecurrentStack, StackSettings, SteppedStack
from seqgen_cli.layers.recurrent_encoder import HandOver, RecurrentEncoder, read_to_end
from seqgen_cli.models.rnn import Rnn
from tests.helpers import make_choice, random_batch

SMALL = {"embedding_size": 6, "hidden_size": 8}

OPTIONS: list[dict[str, Any]] = [
    {},
    {"cell": "gru"},
    {"hand_over": "all"},
    {"residual": False, "layers": 2},
    {"bidirectional": True},
    {"bidirectional": True, "hand_over": "all", "layers": 2},
    {"bidirectional": True, "cell": "gru", "hand_over": "all", "layers": 1},
]


def small(**options: Any) -> Rnn:
    torch.manual_seed(1)
    model = make_choice("model", "rnn", {**SMALL, **options}, source_vocab_size=11, target_vocab_size=13).double().eval()
    with torch.no_grad():  # far from the linear range of the gates
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def torch_cell(cell: nn.RNNBase) -> nn.LSTMCell | nn.GRUCell:
    kind = nn.LSTMCell if isinstance(cell, nn.LSTM) else nn.GRUCell
    copy = kind(cell.input_size, cell.hidden_size).double()
    copy.load_state_dict({name.removesuffix("_l0"): weight for name, weight in cell.state_dict().items()})
    return copy


def loop(cell: nn.RNNBase, inputs: list[Tensor], state: tuple[Tensor, ...]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """One cell over one sentence, step by step."""
    outputs = []
    for vector in inputs:
        after = torch_cell(cell)(vector, state if len(state) == 2 else state[0])
        state = after if isinstance(after, tuple) else (after,)
        outputs.append(state[0])
    return outputs, state


Drop = Callable[[Tensor], Tensor]


def reference(model: Rnn, source: Tensor, inputs: Tensor, hand_over: str, drop: Drop = lambda value: value) -> Tensor:
    """Hidden vectors (T, D) of one sentence of true length; `drop` acts on what each layer computes."""
    lstm = isinstance(model.encoder.layers[0].forward_cell, nn.LSTM)
    zeros = (torch.zeros(8, dtype=torch.float64),) * (2 if lstm else 1)
    vectors = list(model.source_embedding.weight[source] * 6**0.5)
    handed = []
    for layer in model.encoder.layers:
        outputs, state = loop(layer.forward_cell, vectors, zeros)
        if layer.backward_cell is not None:
            backward, backward_state = loop(layer.backward_cell, vectors[::-1], zeros)
            hidden = layer.bridge_hidden(torch.cat([state[0], backward_state[0]])).tanh()
            cell = layer.bridge_cell(torch.cat([state[1], backward_state[1]])) if layer.bridge_cell is not None else None
            state = (hidden,) if cell is None else (hidden, cell)
            if layer.combine is not None:
                outputs = [layer.combine(torch.cat(pair)) for pair in zip(outputs, backward[::-1], strict=True)]
        handed.append((state[0], state[1] if hand_over == "all" else zeros[0]) if lstm else state)
        outputs = [drop(h) for h in outputs]
        vectors = outputs if layer.skip is None else [layer.skip(x) + h for x, h in zip(vectors, outputs, strict=True)]
    vectors = list(model.embedding.weight[inputs] * 6**0.5)
    for layer, state in zip(model.decoder.layers, handed, strict=True):
        outputs, _ = loop(layer.cell, vectors, state)
        outputs = [drop(h) for h in outputs]
        vectors = outputs if layer.skip is None else [layer.skip(x) + h for x, h in zip(vectors, outputs, strict=True)]
    return torch.stack(vectors)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_equals_a_loop_over_torch_cells(mark: Any, options: dict[str, Any], training: bool) -> None:
    """In training with dropout on what each layer computes, before its residual connection, and on nothing else."""
    model = small(**options, dropout=0.3).train(training)
    batch = random_batch(batch_size=4)
    drop: Drop = (lambda value: mark(value, 0.3)) if training else (lambda value: value)
    expected = [
        reference(model, source[:source_length], inputs[:length], options.get("hand_over", "hidden"), drop)
        for source, source_length, inputs, length in zip(
            batch.source_BS, batch.source_lengths_B, batch.inputs_BT, batch.target_lengths_B, strict=True
        )
    ]
    assert_close(model.hidden_states(batch), torch.cat(expected), rtol=0, atol=1e-11)


def test_reference_configuration_has_its_parameters() -> None:
    model = make_choice("model", "rnn", source_vocab_size=8000, target_vocab_size=8000)
    output = nn.Linear(model.hidden_size, 8000)
    assert sum(parameter.numel() for module in (model, output) for parameter in module.parameters()) == 25_428_800


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_padding_leaves_the_cell_state_alone_exactly(dtype: torch.dtype) -> None:
    """Bit for bit, after any amount of padding with any content, in the gradient too."""
    torch.manual_seed(0)
    cell = nn.LSTM(3, 5, batch_first=True).to(dtype)
    sentence_1SI = torch.randn(1, 4, 3, dtype=dtype) * 5
    padded_1SI = torch.cat([sentence_1SI, torch.randn(1, 60, 3, dtype=dtype) * 100], dim=1)
    results = []
    for input_1SI in (sentence_1SI, padded_1SI):
        cell.zero_grad()
        _, state = read_to_end(cell, input_1SI, torch.tensor([4]), with_cell=True)
        sum(part.square().sum() for part in state).backward()
        results.append((state, cell.weight_ih_l0.grad))
    (state, gradient), (padded_state, padded_gradient) = results
    assert_close(padded_state, state, rtol=0, atol=0)
    assert_close(padded_gradient, gradient, rtol=1e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-6)
    if dtype is not torch.bfloat16:
        _, (hidden_11D, cell_11D) = cell(sentence_1SI)
        assert_close(state, (hidden_11D[0], cell_11D[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", ["encoder", "encoder, c too", "at once", "step by step"])
def test_autocast_leaves_cells_as_they_are(kind: str, cell: Cell, low: torch.dtype) -> None:
    """Bit for bit, outputs, states and gradients, also where what comes in was rounded before."""
    torch.manual_seed(0)
    hand_over: HandOver = "all" if kind == "encoder, c too" else "hidden"
    settings = StackSettings(6, 8, 2, cell, residual=False, dropout=0.0)
    encoder = RecurrentEncoder(settings, False, hand_over, outputs=True)
    stack = RecurrentStack(settings)
    input_BTI, lengths_B = torch.randn(3, 5, 6).to(low), torch.tensor([5, 3, 1])
    known_BTI, further_TBX = input_BTI[..., :4], input_BTI[..., 4:].transpose(0, 1)

    def run() -> list[Tensor]:
        if kind.startswith("encoder"):
            output_BTD, state = encoder(input_BTI, lengths_B)
            return [output_BTD, *(part for layer in state.layers for part in layer)]
        state = stack.start(input_BTI)
        if kind == "at once":
            output_BTD, state = stack(input_BTI, state)
            return [output_BTD, *(part for layer in state.layers for part in layer)]
        steps, outputs = SteppedStack(stack, known_BTI), []
        for place, further_BX in enumerate(further_TBX):
            output_BD, state = steps.step(place, further_BX, state)
            outputs.append(output_BD)
        return [*outputs, *(part for layer in state.layers for part in layer)]

    found = []
    for on in (False, True):
        encoder.zero_grad()
        stack.zero_grad()
        with torch.autocast("cpu", low, enabled=on):
            values = run()
        sum((value * torch.arange(1, value.numel() + 1).view_as(value)).sum() for value in values).backward()
        gradients = [each.grad for each in [*encoder.parameters(), *stack.parameters()] if each.grad is not None]
        assert len(gradients) == 8
        found.append([*(value.detach() for value in values), *gradients])
    for outside, inside in zip(*found, strict=True):
        assert outside.dtype == inside.dtype == torch.float32
        assert torch.equal(outside, inside)


def test_handing_over_the_cell_changes_the_decoder() -> None:
    batch = random_batch()
    assert not torch.allclose(small().hidden_states(batch), small(hand_over="all").hidden_states(batch))
