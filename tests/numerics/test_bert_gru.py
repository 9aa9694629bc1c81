"""BERT-GRU against transformers and torch.nn.GRU on packed sequences; independence of padding and batch; what freezing means."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqgen_cli.data.batch import Batch, pad
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.bidirectional import BidirectionalGRU
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.outputs.sigmoid import Sigmoid
from seqgen_cli.training.optimizers import AdamW

pytest.importorskip("transformers")

from seqgen_cli.models.bert_gru import BertGru
from seqgen_cli.models.encoders import max_positions, random_encoder

LENGTHS = [9, 2, 14, 3, 14, 6]


def tiny(**settings: Any) -> BertGru:
    torch.manual_seed(3)
    return BertGru(50, encoder="tiny", gru_hidden=7, **settings)


def texts(lengths: list[int] = LENGTHS, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(4, 50, size=length) for length in lengths]


def batch_of(rows: list[np.ndarray], width: int | None = None, filler: int = 0) -> Batch:
    source_BS, lengths_B = pad(rows, filler, min_length=width or 1)
    return Batch(torch.arange(len(rows)), source_BS, lengths_B, labels_B=torch.arange(len(rows)) % 2)


def packed_gru(ours: BidirectionalGRU, input_size: int, hidden: int, layers: int) -> nn.GRU:
    """torch's bidirectional GRU with the same weights."""
    theirs = nn.GRU(input_size, hidden, layers, bidirectional=True).to(next(ours.parameters()).dtype)
    with torch.no_grad():
        for layer in range(layers):
            for suffix, part in (("", ours.forwards[layer]), ("_reverse", ours.backwards[layer])):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, f"{name}_l{layer}{suffix}").copy_(getattr(part, f"{name}_l0"))
    return theirs


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_gru_is_torchs_on_packed_sequences(layers: int) -> None:
    torch.manual_seed(0)
    ours = BidirectionalGRU(5, 4, layers, dropout=0.0).double()
    theirs = packed_gru(ours, 5, 4, layers)
    lengths_B = torch.tensor(LENGTHS)
    input_SBI = torch.randn(max(LENGTHS) + 3, len(LENGTHS), 5, dtype=torch.float64, requires_grad=True)
    again_SBI = input_SBI.detach().clone().requires_grad_()
    output_SBD, last_BD = ours(input_SBI, lengths_B)
    packed, final = theirs(pack_padded_sequence(again_SBI, lengths_B, enforce_sorted=False))
    expected_SBD, _ = pad_packed_sequence(packed)
    real_SB1 = (torch.arange(max(LENGTHS))[:, None] < lengths_B)[:, :, None]
    torch.testing.assert_close(output_SBD[: max(LENGTHS)] * real_SB1, expected_SBD, rtol=0, atol=1e-12)
    torch.testing.assert_close(last_BD, torch.cat([final[-2], final[-1]], dim=-1), rtol=0, atol=1e-12)
    weight_BD = torch.randn_like(last_BD)
    (last_BD * weight_BD).sum().backward()
    (torch.cat([final[-2], final[-1]], dim=-1) * weight_BD).sum().backward()
    torch.testing.assert_close(input_SBI.grad, again_SBI.grad, rtol=0, atol=1e-12)
    for layer in range(layers):
        for suffix, part in (("", ours.forwards[layer]), ("_reverse", ours.backwards[layer])):
            for name, parameter in part.named_parameters():
                expected = getattr(theirs, name.replace("_l0", f"_l{layer}{suffix}")).grad
                torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-12)


def test_autocast_leaves_the_gru_as_it_is() -> None:
    torch.manual_seed(0)
    gru = BidirectionalGRU(24, 16, 2, dropout=0.0)
    input_SBI, lengths_B = torch.randn(14, len(LENGTHS), 24), torch.tensor(LENGTHS)
    weight_BD = torch.randn(len(LENGTHS), 32)
    gradients = []
    for low in (False, True):
        gru.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            _, last_BD = gru(input_SBI, lengths_B)
            (last_BD * weight_BD).sum().backward()  # also where backward itself runs under autocast
        gradients.append([last_BD.detach(), *(parameter.grad for parameter in gru.parameters())])
    for outside, inside in zip(*gradients, strict=True):
        assert torch.equal(outside, inside)


def test_gru_on_a_padded_batch_is_the_loop_over_true_lengths() -> None:
    torch.manual_seed(1)
    gru = BidirectionalGRU(5, 4, 2, dropout=0.0).double()
    input_SBI = torch.randn(max(LENGTHS), len(LENGTHS), 5, dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        input_SBI[length:, row] = 1e6  # whatever stands there
    _, last_BD = gru(input_SBI, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        _, alone_1D = gru(input_SBI[:length, row : row + 1], torch.tensor([length]))
        torch.testing.assert_close(last_BD[row], alone_1D[0], rtol=0, atol=1e-12)


def test_logit_is_that_of_plain_transformers_and_torch() -> None:
    model, output = tiny().eval(), Sigmoid(14, 2)
    theirs = packed_gru(model.gru, 64, 7, 2)
    batch = batch_of(texts(), width=17, filler=31)
    ours_B = output.logit(model.hidden_states(batch)).squeeze(-1)
    mask_BS = (torch.arange(17) < batch.source_lengths_B[:, None]).long()
    features_BSE = model.encoder(input_ids=batch.source_BS, attention_mask=mask_BS).last_hidden_state
    packed = pack_padded_sequence(features_BSE, batch.source_lengths_B, batch_first=True, enforce_sorted=False)
    _, final = theirs(packed)
    logit_B = nn.functional.linear(torch.cat([final[-2], final[-1]], dim=-1), output.logit.weight, output.logit.bias).squeeze(-1)
    torch.testing.assert_close(ours_B, logit_B, rtol=0, atol=1e-5)
    loss_B = nn.functional.binary_cross_entropy_with_logits(logit_B, batch.labels_B.float(), reduction="none")
    torch.testing.assert_close(output.loss(model.hidden_states(batch), batch.labels_B), loss_B, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_between_layers_of_the_gru_and_on_the_pooled_vector(mark: Any, pooling: str, training: bool) -> None:
    """A frozen encoder, which has dropout of its own, is left alone."""
    model, batch = tiny(pooling=pooling, dropout=0.3).train(training), batch_of(texts())
    drop = (lambda value: mark(value, 0.3)) if training else (lambda value: value)
    lengths_B = batch.source_lengths_B
    input_SBI = model.encoder.eval()(batch.source_BS, (batch.source_BS > 0).long()).last_hidden_state.transpose(0, 1)
    for layer, size in enumerate((64, 14)):
        one = BidirectionalGRU(size, 7, 1, dropout=0.0)
        one.forwards[0], one.backwards[0] = model.gru.forwards[layer], model.gru.backwards[layer]
        input_SBI = drop(input_SBI) if layer else input_SBI
        packed, final = packed_gru(one, size, 7, 1)(pack_padded_sequence(input_SBI, lengths_B, enforce_sorted=False))
        input_SBI, _ = pad_packed_sequence(packed)
    pooled_BD = torch.cat([final[0], final[1]], dim=-1) if pooling == "last" else input_SBI.sum(0) / lengths_B[:, None]
    torch.testing.assert_close(model.hidden_states(batch), drop(pooled_BD), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_texts_vector_does_not_depend_on_its_batch(pooling: str) -> None:
    model = tiny(pooling=pooling).eval()
    rows = texts()
    together_BD = model.hidden_states(batch_of(rows, width=40, filler=9))
    for row, hidden_D in zip(rows, together_BD, strict=True):
        torch.testing.assert_close(model.hidden_states(batch_of([row]))[0], hidden_D, rtol=0, atol=1e-5)


def test_pooling_over_positions() -> None:
    """Mean, maximum and attention, each from the GRU's outputs one text at a time."""
    rows = texts([5, 3])
    for pooling in ("mean", "max", "attention"):
        model = tiny(pooling=pooling).eval()
        batch = batch_of(rows)
        pooled_BD = model.hidden_states(batch)
        features_BSE = model.features(batch.source_BS, batch.source_lengths_B)
        for number, row in enumerate(rows):
            length = torch.tensor([len(row)])
            output_SP = model.gru(features_BSE[number, : len(row), None], length)[0][:, 0]
            expected = {"mean": output_SP.mean(0), "max": output_SP.max(0).values}
            if model.attention is not None:
                expected["attention"] = model.attention(output_SP.tanh()).softmax(0).T @ output_SP
            torch.testing.assert_close(pooled_BD[number], expected[pooling].flatten(), rtol=0, atol=1e-5)


def test_normalized_features_have_mean_zero_and_variance_one() -> None:
    model, plain, batch = tiny(normalize=True).eval(), tiny().eval(), batch_of(texts())
    features_BSE = model.features(batch.source_BS, batch.source_lengths_B)
    mean_BS1, variance_BS1 = features_BSE.mean(-1, keepdim=True), features_BSE.var(-1, keepdim=True, correction=0)
    expected_BSE = (features_BSE - mean_BS1) / (variance_BS1 + 1e-5).sqrt()
    cached = Batch(batch.index_B, source_lengths_B=batch.source_lengths_B, labels_B=batch.labels_B, features_BSE=expected_BSE)
    torch.testing.assert_close(model.hidden_states(batch), plain.hidden_states(cached), rtol=0, atol=1e-6)


def test_features_stand_in_for_ids() -> None:
    model, batch = tiny(normalize=True).eval(), batch_of(texts())
    features_BSE = model.features(batch.source_BS, batch.source_lengths_B)
    cached = Batch(batch.index_B, source_lengths_B=batch.source_lengths_B, labels_B=batch.labels_B, features_BSE=features_BSE)
    assert torch.equal(model.hidden_states(cached), model.hidden_states(batch))


def test_features_are_named_by_all_that_decides_them() -> None:
    """Every weight of the encoder but its pooler's, and its shape; nothing of what reads the features."""
    model = tiny()
    names = {model.features_fingerprint(), tiny().features_fingerprint()}
    assert len(names) == 1
    for name, parameter in model.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
        decides = name.startswith("encoder.") and not name.startswith("encoder.pooler.")
        assert (model.features_fingerprint() not in names) == decides, name
        parameter.data = before
    model.shape = {**model.shape, "num_attention_heads": 4}
    assert model.features_fingerprint() not in names


def test_parameters_of_the_reference() -> None:
    """SPEC.md section 1: 112,241,409 of which 2,759,169 train, from bert-base-uncased's shape alone."""
    with torch.device("meta"):
        parameters = [*BertGru(None).parameters(), *Sigmoid(512, 2).parameters()]
    assert sum(parameter.numel() for parameter in parameters) == 112_241_409
    assert sum(parameter.numel() for parameter in parameters if parameter.requires_grad) == 2_759_169


def steps(model: BertGru, count: int) -> tuple[dict[str, Tensor], torch.optim.Optimizer]:
    """The weights before `count` updates of everything that trains, and the optimizer."""
    before = copy.deepcopy(model.state_dict())
    objective = MaximumLikelihood(model, Sigmoid(14, 2))
    optimizer = objective.updates(AdamW(lr=0.1).make)[0].optimizers[0]
    objective.train()
    for update in range(count):
        loss = objective(batch_of(texts(seed=update)), Progress(update, Key.of(1, update)))
        loss.terms["texts"].backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, optimizer


def test_a_frozen_encoder_never_changes() -> None:
    model = tiny()
    before, optimizer = steps(model, 3)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in model.encoder.named_parameters():
        assert torch.equal(parameter, before[f"encoder.{name}"])
        assert parameter.grad is None and id(parameter) not in held
    assert not any(module.training for module in model.train().encoder.modules()) and model.gru.training
    assert not torch.equal(model.gru.forwards[0].weight_ih_l0, before["gru.forwards.0.weight_ih_l0"])
    batch = batch_of(texts())
    one, two = (model.features(batch.source_BS, batch.source_lengths_B) for _ in range(2))
    assert torch.equal(one, two) and not one.requires_grad


@pytest.mark.parametrize(("unfreeze", "moving"), [(1, "layer.1."), ("all", "")])
def test_unfrozen_layers_train_at_their_own_rate(unfreeze: Any, moving: str) -> None:
    model = tiny(unfreeze=unfreeze, encoder_lr=1e-3)
    assert not model.features_are_fixed
    before, optimizer = steps(model, 1)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in model.encoder.named_parameters():
        trains = moving in name and not name.startswith("pooler.")
        assert rates.get(id(parameter)) == (1e-3 if trains else None), name
        moved = (parameter - before[f"encoder.{name}"]).abs().max()
        assert moved <= 1.1e-3 if trains else moved == 0, name
    assert optimizer.param_groups[0]["lr"] == 0.1
    modes = {name: module.training for name, module in model.train().encoder.named_modules() if isinstance(module, nn.Dropout)}
    assert any(modes.values()) and all(mode == (moving in name) for name, mode in modes.items() if name)
    assert not any(module.training for module in model.eval().modules())
    frozen = tiny()
    frozen.load_state_dict(model.state_dict())
    assert torch.equal(model.hidden_states(batch_of(texts())), frozen.eval().hidden_states(batch_of(texts())))


@pytest.mark.parametrize(
    "shape",
    [
        {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 40},
        {"model_type": "electra", "embedding_size": 16, "max_position_embeddings": 40},
        {"model_type": "albert", "embedding_size": 16, "max_position_embeddings": 40},
        {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 40},
    ],
    ids=lambda shape: shape["model_type"],
)
def test_the_bert_family(shape: dict[str, Any]) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 50}
    if shape["model_type"] == "distilbert":
        sizes = {"vocab_size": 50}
    torch.manual_seed(0)
    model = BertGru(50, encoder="of a checkpoint", max_length=38, gru_hidden=4, shape={**sizes, **shape}).eval()
    together_BD = model.hidden_states(batch_of(texts(), width=20, filler=shape.get("pad_token_id", 0)))
    torch.testing.assert_close(model.hidden_states(batch_of(texts()[:1]))[0], together_BD[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 40), ("roberta", 38)])
def test_an_encoder_reads_as_much_as_transformers_lets_it(kind: str, longest: int) -> None:
    shape = {"model_type": kind, "pad_token_id": 1, "max_position_embeddings": 40, "vocab_size": 50, "hidden_size": 32}
    shape |= {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    assert max_positions(shape) == longest
    encoder = random_encoder(shape)
    encoder(input_ids=torch.full((1, longest), 5))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=torch.full((1, longest + 1), 5))


def test_encoders_that_do_not_fit_are_refused(tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(RequestError, match=r"gpt2 model; bert_gru reads encoders of the BERT family"):
        BertGru(50, encoder=str(tmp_path))
    with pytest.raises(RequestError, match="not a folder"):
        BertGru(50, encoder="./nowhere")
    with pytest.raises(RequestError, match=r"longer than what model.encoder=tiny reads, 512"):
        tiny(max_length=513)
    with pytest.raises(RequestError, match="2 layers; use that or less"):
        tiny(unfreeze=3)
    with pytest.raises(RequestError, match="auto_map"):
        random_encoder({"model_type": "bert", "auto_map": "someone/code"})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 24}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(RequestError, match="cannot be loaded"):
        BertGru(50, encoder=str(tmp_path))
