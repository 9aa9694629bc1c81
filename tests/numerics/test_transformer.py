"""The Transformer against torch.nn's, and its positions against their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.errors import RequestError
from seqgen_cli.layers import blocks
from seqgen_cli.layers.positions import Rotation, sinusoidal
from seqgen_cli.models.transformer import Transformer
from tests.helpers import make_choice, random_batch

TINY = {"hidden_size": 12, "ffn_size": 20, "heads": 3, "encoder_layers": 2, "decoder_layers": 3}


def tiny(source_vocab_size: int = 11, target_vocab_size: int = 13, **options: Any) -> Transformer:
    torch.manual_seed(0)
    return make_choice(
        "model", "transformer", {**TINY, **options}, source_vocab_size=source_vocab_size, target_vocab_size=target_vocab_size
    ).eval()


def naive_positions(length: int, size: int) -> Tensor:
    table = np.zeros((length, size))
    for position in range(length):
        for channel in range(size):
            angle = position / 10000 ** ((channel - channel % 2) / size)
            table[position, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return torch.from_numpy(table)


def set_dropouts(layer: nn.Module, dropout: float, attention: float, activation: float) -> None:
    """Give one of torch's layers its three probabilities: of sublayers' outputs, attention weights, and inside the FFN."""
    for name, module in layer.named_children():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = attention
        elif isinstance(module, nn.Dropout):
            module.p = activation if name == "dropout" else dropout


class Reference(nn.Module):
    """torch.nn's Transformer layers with the weights of one of ours."""

    def __init__(
        self, model: Transformer, norm: str, activation: str, dropouts: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> None:
        super().__init__()
        self.model = model
        self.pre = norm == "pre"
        self.dropout = nn.Dropout(dropouts[0])  # of the embeddings

        def layer(kind: type[nn.Module]) -> nn.Module:
            return kind(12, 3, 20, dropout=0.0, activation=activation, batch_first=True, norm_first=self.pre)

        self.encoder = nn.ModuleList(layer(nn.TransformerEncoderLayer) for _ in model.encoder_layers)
        self.decoder = nn.ModuleList(layer(nn.TransformerDecoderLayer) for _ in model.decoder_layers)
        for ours, theirs in zip([*model.encoder_layers, *model.decoder_layers], [*self.encoder, *self.decoder], strict=True):
            theirs.load_state_dict(self.weights_of(ours))
            set_dropouts(theirs, *dropouts)
        self.to(model.embedding.weight.dtype).eval()

    @staticmethod
    def weights_of(layer: nn.Module) -> dict[str, Tensor]:
        attention, feed_forward = layer.attention, layer.feed_forward
        norms = [layer.attention_residual.norm, layer.feed_forward_residual.norm]
        weights = {
            "self_attn.in_proj_weight": attention.query_key_value.weight,
            "self_attn.in_proj_bias": attention.query_key_value.bias,
            "self_attn.out_proj.weight": attention.output.weight,
            "self_attn.out_proj.bias": attention.output.bias,
            "linear1.weight": feed_forward[0].weight,
            "linear1.bias": feed_forward[0].bias,
            "linear2.weight": feed_forward[3].weight,
            "linear2.bias": feed_forward[3].bias,
        }
        if hasattr(layer, "cross_attention"):
            cross = layer.cross_attention
            norms.insert(1, layer.cross_residual.norm)
            weights["multihead_attn.in_proj_weight"] = torch.cat([cross.query.weight, cross.key_value.weight])
            weights["multihead_attn.in_proj_bias"] = torch.cat([cross.query.bias, cross.key_value.bias])
            weights["multihead_attn.out_proj.weight"] = cross.output.weight
            weights["multihead_attn.out_proj.bias"] = cross.output.bias
        for number, norm in enumerate(norms, start=1):
            weights[f"norm{number}.weight"], weights[f"norm{number}.bias"] = norm.weight, norm.bias
        return weights

    def read(self, ids: Tensor, weight: Tensor) -> Tensor:
        return self.dropout(weight[ids] * math.sqrt(12) + naive_positions(ids.shape[1], 12).to(weight.dtype))

    def encode(self, batch: Any) -> tuple[Tensor, Tensor]:
        padding_BS = torch.arange(batch.source_BS.shape[1]) >= batch.source_lengths_B[:, None]
        hidden_BSD = self.read(batch.source_BS, self.model.source_embedding.weight)
        for layer in self.encoder:
            hidden_BSD = layer(hidden_BSD, src_key_padding_mask=padding_BS)
        return self.model.encoder_norm(hidden_BSD), padding_BS

    def decode(self, batch: Any, layers: int) -> Tensor:
        memory_BSD, padding_BS = self.encode(batch)
        hidden_BTD = self.read(batch.inputs_BT, self.model.embedding.weight)
        causal_TT = torch.ones(hidden_BTD.shape[1], hidden_BTD.shape[1], dtype=torch.bool).triu(1)
        for layer in self.decoder[:layers]:
            hidden_BTD = layer(hidden_BTD, memory_BSD, tgt_mask=causal_TT, memory_key_padding_mask=padding_BS)
        return hidden_BTD

    def alignments(self, batch: Any, number: int) -> Tensor:
        memory_BSD, padding_BS = self.encode(batch)
        hidden_BTD = self.decode(batch, number - 1)
        causal_TT = torch.ones(hidden_BTD.shape[1], hidden_BTD.shape[1], dtype=torch.bool).triu(1)
        layer = self.decoder[number - 1]
        if self.pre:
            reads_BTD = layer.norm1(hidden_BTD)
            hidden_BTD = hidden_BTD + layer.self_attn(reads_BTD, reads_BTD, reads_BTD, attn_mask=causal_TT)[0]
            query_BTD = layer.norm2(hidden_BTD)
        else:
            query_BTD = layer.norm1(hidden_BTD + layer.self_attn(hidden_BTD, hidden_BTD, hidden_BTD, attn_mask=causal_TT)[0])
        return layer.multihead_attn(query_BTD, memory_BSD, memory_BSD, key_padding_mask=padding_BS)[1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torch_transformer(norm: str, activation: str, dtype: torch.dtype, tolerance: float) -> None:
    model = tiny(norm=norm, activation=activation)
    with torch.no_grad():  # biases and LayerNorms away from 0 and 1
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.to(dtype)
    batch = random_batch(batch_size=6)
    reference = Reference(model, norm, activation)
    expected_BTD = model.decoder_norm(reference.decode(batch, 3))
    assert_close(model.hidden_states(batch), expected_BTD.flatten(0, 1)[batch.valid_N], rtol=0, atol=tolerance)
    for number in (1, 2, 3):
        model.alignment_layer = number
        assert_close(model.alignments(batch), reference.alignments(batch, number), rtol=0, atol=tolerance)


DROPOUTS = {"dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.3}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_dropout_acts_where_torch_has_it_and_on_embeddings(mark: Any, norm: str, training: bool) -> None:
    """Each kind at its places and nowhere else; in evaluation none of them."""
    model = tiny(norm=norm, **DROPOUTS).double().train(training)
    batch = random_batch(batch_size=6)
    reference = Reference(model, norm, "relu", tuple(DROPOUTS.values())).train(training)
    expected_BTD = model.decoder_norm(reference.decode(batch, 3))
    assert_close(model.hidden_states(batch), expected_BTD.flatten(0, 1)[batch.valid_N], rtol=0, atol=1e-10)
    plain_ND = tiny(norm=norm, **dict.fromkeys(DROPOUTS, 0.0)).double().hidden_states(batch)
    assert torch.equal(model.hidden_states(batch), plain_ND) != training


def test_alignment_layer_defaults_to_the_last_but_one() -> None:
    assert [tiny(decoder_layers=layers).alignment_layer for layers in (1, 2, 6)] == [1, 1, 5]


def test_sinusoidal_positions_follow_their_formula() -> None:
    like = torch.empty(0, dtype=torch.float64)
    assert_close(sinusoidal(0, 50, 10, like), naive_positions(50, 10), rtol=0, atol=1e-13)
    assert_close(sinusoidal(17, 5, 10, like), naive_positions(50, 10)[17:22], rtol=0, atol=1e-13)
    # In half precision the angle itself must not be rounded: position 2049 has no float16.
    half = sinusoidal(2049, 1, 10, torch.empty(0, dtype=torch.float16))
    assert_close(half.double(), naive_positions(2050, 10)[2049:], rtol=0, atol=1e-3)


def test_rotary_positions_are_complex_rotations() -> None:
    heads_RHTC = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    rotated_RHTC = Rotation(4, 5, 8, heads_RHTC)(heads_RHTC)
    complex_RHTP = torch.view_as_complex(heads_RHTC.unflatten(-1, (4, 2)))
    angle_TP = torch.arange(4.0, 9.0, dtype=torch.float64)[:, None] * 10000 ** (-torch.arange(4, dtype=torch.float64) / 4)
    expected_RHTC = torch.view_as_real(complex_RHTP * torch.exp(1j * angle_TP)).flatten(-2)
    assert_close(rotated_RHTC, expected_RHTC, rtol=0, atol=1e-13)


def test_rotary_products_depend_on_the_distance_only() -> None:
    query_T1C, key_T1C = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def product(query_at: int, key_at: int) -> float:
        turned = Rotation(query_at, 1, 8, query_T1C)(query_T1C) * Rotation(key_at, 1, 8, key_T1C)(key_T1C)
        return float(turned.sum())

    assert product(3, 1) == pytest.approx(product(103, 101), abs=1e-12)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)


def test_rotary_attention_ignores_a_shift_of_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model applies rotations in every self-attention and nowhere else."""
    model = tiny(positions="rotary").double()
    batch = random_batch()
    embedded_BTD = model.embed(batch.inputs_BT)
    memory = model.encode(batch)
    expected_BTD, _ = model.decode(embedded_BTD, memory)
    turned = blocks.rotation_of
    monkeypatch.setattr(blocks, "rotation_of", lambda hidden_RTD, start, size: turned(hidden_RTD, start + 50, size))
    assert_close(model.decode(embedded_BTD, memory)[0], expected_BTD, rtol=0, atol=1e-12)
    monkeypatch.setattr(blocks, "rotation_of", lambda *_: None)
    assert (model.decode(embedded_BTD, memory)[0] - expected_BTD).abs().max() > 1e-3


def test_learned_positions_add_their_row() -> None:
    model = tiny(positions="learned", max_positions=7)
    rows_D = model.target_positions.table.weight * math.sqrt(12)
    embedded_RTD = torch.randn(2, 3, 12)
    assert_close(model.target_positions(embedded_RTD, 4), embedded_RTD + rows_D[4:7])
    with pytest.raises(RequestError, match=r"8 tokens.*model\.max_positions=7"):
        model.target_positions(embedded_RTD, 5)
    with pytest.raises(RequestError, match=r"model\.max_positions=7"):
        model.encode(random_batch(max_source_length=8))


def test_shared_embeddings_are_one_table() -> None:
    separate, shared = (tiny(11, 11, share_embeddings=share) for share in (False, True))
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (separate, shared)]
    assert count[0] - count[1] == 11 * 12
    batch = random_batch(target_vocab_size=11)
    separate.load_state_dict({**shared.state_dict(), "source_embedding.weight": shared.embedding.weight})
    assert_close(separate.hidden_states(batch), shared.hidden_states(batch), rtol=0, atol=0)
    shared.encode(batch).layers[0].keys.sum().backward()
    assert shared.embedding.weight.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share_embeddings": True}, "11 words and the target 13"),
        ({"heads": 5}, "hidden_size=12 cannot be divided among model.heads=5"),
        ({"positions": "rotary", "heads": 4}, "even number of channels for each head, not 12 / 4"),
        ({"hidden_size": 9}, "even model.hidden_size, not 9"),
        ({"alignment_layer": 4}, "alignment_layer=4 is not one of the 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tiny(**options)


def test_embeddings_start_at_unit_variance() -> None:
    """And the rows of the table, which an output layer may share, at unit length."""
    model = tiny(target_vocab_size=4000, hidden_size=48)
    embedded_RTD = model.embed(torch.arange(4000)[None])
    assert float(embedded_RTD.detach().std()) == pytest.approx(1.0, abs=0.01)
    assert float(model.embedding.weight.detach().square().sum(1).mean()) == pytest.approx(1.0, abs=0.02)
