"""Attention scores against closed forms in numpy, and whole decoders against a plain loop over one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.attention import Attention
from seqgen_cli.models.attention import RecurrentAttention
from tests.helpers import make_choice, random_batch
from tests.numerics.test_rnn import Drop, loop

SMALL = {"embedding_size": 6, "hidden_size": 8}


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def naive_weights(attention: Attention, query: np.ndarray, encoded: np.ndarray, kind: str) -> np.ndarray:
    """alpha over the words of one sentence, score by score."""
    weights = {name: weight.detach().numpy() for name, weight in attention.named_parameters()}
    scores = []
    for word in encoded:
        if kind == "additive":
            inner = weights["key.weight"] @ word + weights["query.weight"] @ query + weights["query.bias"]
            scores.append(float(weights["energy.weight"][0] @ np.tanh(inner)))
        elif kind == "general":
            scores.append(float(word @ weights["key.weight"].T @ query))
        else:
            scores.append(float(word @ query) / (np.sqrt(len(query)) if kind == "scaled_dot" else 1.0))
    return softmax(np.array(scores))


@pytest.mark.parametrize("score", ["additive", "dot", "general", "scaled_dot"])
@pytest.mark.parametrize("beams", [1, 3])
def test_scores_follow_their_formulas(score: str, beams: int) -> None:
    torch.manual_seed(0)
    attention = Attention(score, 5).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn_like(parameter))
    encoded_BSD = torch.randn(2, 6, 5, dtype=torch.float64)
    query_RTD = torch.randn(2 * beams, 4, 5, dtype=torch.float64)
    lengths = [6, 3]
    mask_BS = torch.arange(6) < torch.tensor(lengths)[:, None]
    context_RTD, weight_RTS = attention(query_RTD, attention.key(encoded_BSD), encoded_BSD, mask_BS)
    for row in range(2 * beams):
        real = encoded_BSD[row // beams, : lengths[row // beams]].numpy()
        for place in range(4):
            expected = naive_weights(attention, query_RTD[row, place].numpy(), real, score)
            assert_close(weight_RTS[row, place, : len(real)].detach().numpy(), expected, rtol=0, atol=1e-12)
            assert (weight_RTS[row, place, len(real) :] == 0).all()
            assert_close(context_RTD[row, place].detach().numpy(), expected @ real, rtol=0, atol=1e-12)


def reference(
    model: RecurrentAttention, encoded_SD: Tensor, initial: list[tuple[Tensor, ...]], inputs: Tensor, style: str, drop: Drop
) -> Any:
    """Hidden vectors and weights of one sentence: SPEC.md's equations, one step and one layer at a time; `drop` acts on what each
    layer computes."""

    def attend(query_D: Tensor) -> tuple[Tensor, Tensor]:
        weight_S = torch.from_numpy(naive_weights(model.attention, query_D.numpy(), encoded_SD.numpy(), "general"))
        return weight_S @ encoded_SD, weight_S

    states, fed_D = list(initial), torch.zeros(8, dtype=torch.float64)
    hidden, weights = [], []
    for word in inputs:
        vector = model.embedding.weight[word] * 6**0.5
        if style == "bahdanau":
            context_D, weight_S = attend(states[-1][0])
            vector = torch.cat([vector, context_D])
        elif style == "feeding":
            vector = torch.cat([vector, fed_D])
        for number, layer in enumerate(model.decoder.layers):
            (output,), states[number] = loop(layer.cell, [vector], states[number])
            output = drop(output)
            vector = output if layer.skip is None else layer.skip(vector) + output
        if style != "bahdanau":
            context_D, weight_S = attend(vector)
            vector = fed_D = torch.tanh(model.combine.weight @ torch.cat([vector, context_D]))
        hidden.append(vector)
        weights.append(weight_S)
    return torch.stack(hidden), torch.stack(weights)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("style", ["bahdanau", "luong", "feeding"])
@pytest.mark.parametrize("training", [True, False])
def test_decoder_equals_a_plain_loop(mark: Any, style: str, residual: bool, cell: str, training: bool) -> None:
    torch.manual_seed(2)
    options = {"style": style if style == "bahdanau" else "luong", "input_feeding": style == "feeding", "score": "general"}
    options |= {"residual": residual, "cell": cell, "hand_over": "all", "dropout": 0.3, **SMALL}
    model = make_choice("model", "attention", options, source_vocab_size=11, target_vocab_size=13).double().train(training)
    drop: Drop = (lambda value: mark(value, 0.3)) if training else (lambda value: value)
    batch = random_batch(batch_size=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        memory = model.encode(batch)
        hidden = model.hidden_states(batch).split(batch.target_lengths_B.tolist())
        alignment_BTS = model.alignments(batch)
        for row in range(3):
            source_length, length = int(batch.source_lengths_B[row]), int(batch.target_lengths_B[row])
            initial = [tuple(part[row] for part in layer) for layer in memory.initial.layers]
            encoded_SD = memory.encoded_BSD[row, :source_length]
            expected_TD, weights_TS = reference(model, encoded_SD, initial, batch.inputs_BT[row, :length], style, drop)
            assert_close(hidden[row], expected_TD, rtol=0, atol=1e-11)
            assert_close(alignment_BTS[row, :length, :source_length], weights_TS, rtol=0, atol=1e-11)


def test_encoder_outputs_combine_both_directions(mark: Any) -> None:
    torch.manual_seed(3)
    options = {**SMALL, "layers": 1, "dropout": 0.3}
    model = make_choice("model", "attention", options, source_vocab_size=11, target_vocab_size=13).double().train()
    batch = random_batch(batch_size=4)
    encoded_BSD = model.encode(batch).encoded_BSD
    (layer,) = model.encoder.layers
    zeros = (torch.zeros(8, dtype=torch.float64),) * 2
    for row, length in enumerate(batch.source_lengths_B.tolist()):
        vectors = list(model.source_embedding.weight[batch.source_BS[row, :length]] * 6**0.5)
        forward, backward = loop(layer.forward_cell, vectors, zeros)[0], loop(layer.backward_cell, vectors[::-1], zeros)[0]
        combined = [mark(layer.combine(torch.cat(pair)), 0.3) for pair in zip(forward, backward[::-1], strict=True)]
        expected_SD = torch.stack([layer.skip(x) + h for x, h in zip(vectors, combined, strict=True)])
        assert_close(encoded_BSD[row, :length], expected_SD, rtol=0, atol=1e-12)


def test_input_feeding_belongs_to_luong() -> None:
    with pytest.raises(RequestError, match=r"model\.input_feeding=true belongs to model\.style=luong"):
        make_choice("model", "attention", {"input_feeding": True}, source_vocab_size=11, target_vocab_size=13)


@pytest.mark.parametrize(("score", "count"), [("dot", 0), ("scaled_dot", 0), ("general", 25), ("additive", 25 + 30 + 5)])
def test_scores_have_the_parameters_of_their_formulas(score: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in Attention(score, 5).parameters()) == count
