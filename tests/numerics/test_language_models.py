"""The language models against torch's own: a loop over its cells, and its Transformer encoder under a causal mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.language_model import LanguageModelMetrics
from seqgen_cli.models.rnn_lm import RnnLm
from seqgen_cli.models.transformer_lm import TransformerLm
from tests.helpers import make_choice, random_batch
from tests.numerics.test_rnn import Drop, loop
from tests.numerics.test_transformer import DROPOUTS, Reference, naive_positions, set_dropouts

SMALL = {"embedding_size": 6, "hidden_size": 8}
TINY = {"hidden_size": 12, "ffn_size": 20, "heads": 3, "layers": 3}


def made(choice: str, **options: Any) -> Any:
    """The model in float64, its weights far from the linear range of gates and from the LayerNorms' 0 and 1."""
    torch.manual_seed(1)
    model = make_choice("model", choice, options, target_vocab_size=13).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2).add_(torch.randn_like(parameter), alpha=0.1)
    return model


def loop_of(model: RnnLm, inputs: Tensor, lstm: bool, drop: Drop) -> Tensor:
    """Hidden vectors (T, D) of one text, word by word from the zero state; `drop` acts on what each layer computes."""
    zeros = (torch.zeros(8, dtype=torch.float64),) * (2 if lstm else 1)
    vectors = list(model.embedding.weight[inputs] * math.sqrt(6))
    for layer in model.layers.layers:
        outputs, _ = loop(layer.cell, vectors, zeros)
        outputs = [drop(h) for h in outputs]
        vectors = outputs if layer.skip is None else [layer.skip(x) + h for x, h in zip(vectors, outputs, strict=True)]
    return torch.stack(vectors)


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "layers": 3}, {"residual": False}], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_the_recurrent_one_equals_a_loop_over_torch_cells(mark: Any, options: dict[str, Any], training: bool) -> None:
    model, batch = made("rnn_lm", **SMALL, **options, dropout=0.3).train(training), random_batch(batch_size=4)
    drop: Drop = (lambda value: mark(value, 0.3)) if training else (lambda value: value)
    lengths = batch.target_lengths_B.tolist()
    lstm = options.get("cell", "lstm") == "lstm"
    expected = [loop_of(model, inputs[:length], lstm, drop) for inputs, length in zip(batch.inputs_BT, lengths, strict=True)]
    assert_close(model.hidden_states(batch), torch.cat(expected), rtol=0, atol=1e-11)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("training", [True, False])
def test_the_transformer_equals_torch_s_encoder_under_a_causal_mask(
    mark: Any, norm: str, activation: str, training: bool
) -> None:
    """In training with dropout where torch has it, and on the embeddings."""
    model: TransformerLm = made("transformer_lm", **TINY, norm=norm, activation=activation, **DROPOUTS).train(training)
    batch = random_batch(batch_size=6)
    settings: dict[str, Any] = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": norm == "pre"}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 3, 20, **settings), 3, enable_nested_tensor=False).double()
    for ours, theirs in zip(model.layers, encoder.layers, strict=True):
        theirs.load_state_dict(Reference.weights_of(ours))
        set_dropouts(theirs, *DROPOUTS.values())
    length = batch.inputs_BT.shape[1]
    read_BTD = model.embedding.weight[batch.inputs_BT] * math.sqrt(12) + naive_positions(length, 12)
    read_BTD = mark(read_BTD, DROPOUTS["dropout"]) if training else read_BTD
    hidden_BTD = model.norm(encoder.train(training)(read_BTD, mask=torch.ones(length, length, dtype=torch.bool).triu(1)))
    assert_close(model.hidden_states(batch), hidden_BTD.flatten(0, 1)[batch.valid_N], rtol=0, atol=1e-11)


def test_learned_positions_bound_the_text() -> None:
    assert made("transformer_lm", **TINY, positions="learned", max_positions=7).longest == 7
    assert made("transformer_lm", **TINY).longest is None
    with pytest.raises(RequestError, match=r"8 tokens.*model\.max_positions=7"):
        made("transformer_lm", **TINY, positions="learned", max_positions=7).hidden_states(random_batch(max_target_length=8))
    with pytest.raises(RequestError, match=r"hidden_size=12 cannot be divided among model\.heads=5"):
        made("transformer_lm", **{**TINY, "heads": 5})


def test_metrics_are_ratios_of_sums_and_their_intervals_those_of_resampled_texts() -> None:
    random = np.random.default_rng(3)
    tokens_L = np.array([3, 0, 8, 5, 1])
    nll_L, correct_L = random.uniform(1, 4, 5) * tokens_L, np.array([1, 0, 6, 2, 0])
    found = LanguageModelMetrics(bootstrap=4000, confidence=0.9).compute(nll_L, correct_L, tokens_L)
    assert found["nll"].value == pytest.approx(nll_L.sum() / 17, rel=1e-14)
    assert found["perplexity"].value == pytest.approx(math.exp(nll_L.sum() / 17), rel=1e-14)
    assert found["accuracy"].value == pytest.approx(9 / 17, rel=1e-14)
    # The four texts that predict anything, in all 4^4 resamples: the exact distribution that the bootstrap draws from.
    held = tokens_L > 0
    every = np.stack(np.meshgrid(*[np.arange(4)] * 4), axis=-1).reshape(-1, 4)
    ratios = nll_L[held][every].sum(1) / tokens_L[held][every].sum(1)
    low, high = np.quantile(ratios, [0.05, 0.95])
    assert (found["nll"].low, found["nll"].high) == pytest.approx((low, high), abs=0.08)
    assert found["perplexity"].low == pytest.approx(math.exp(found["nll"].low), rel=1e-12)
    with pytest.raises(RequestError, match="nothing to measure"):
        LanguageModelMetrics().compute(*[np.zeros(2)] * 3)
