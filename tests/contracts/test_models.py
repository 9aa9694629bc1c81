"""The laws every model keeps, over every YAML of configs/model and the options that change how a model computes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from inspect import getattr_static
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.config.signatures import missing_members
from seqgen_cli.data.batch import Batch
from seqgen_cli.models.base import Aligner, Generator
from tests.helpers import generators, make_choice, random_batch, settings

SOURCE_WORDS, TARGET_WORDS = 11, 13

SMALL = {"embedding_size": 6, "hidden_size": 8, "ffn_size": 12, "heads": 2, "encoder_layers": 2, "decoder_layers": 3}

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "rnn": [
        {"cell": "gru"},
        {"hand_over": "all"},
        {"bidirectional": True, "layers": 1},
        {"bidirectional": True, "hand_over": "all", "residual": False, "layers": 2},
        {"cell": "gru", "bidirectional": True, "hand_over": "all", "layers": 1},
    ],
    "attention": [
        {"score": "dot", "bidirectional": False, "hand_over": "all"},
        {"score": "general", "cell": "gru", "layers": 1, "residual": False},
        {"cell": "gru", "bidirectional": False},
        {"style": "luong", "score": "additive"},
        {"style": "luong", "score": "scaled_dot", "cell": "gru", "bidirectional": False},
        {"style": "luong", "score": "general", "input_feeding": True, "hand_over": "all"},
        {"style": "luong", "score": "dot", "input_feeding": True, "cell": "gru", "residual": False},
    ],
    "transformer": [
        {"norm": "post", "positions": "learned"},
        {"positions": "rotary", "activation": "gelu"},
        {"decoder_layers": 1, "positions": "learned", "max_positions": 9},
        {"norm": "post", "alignment_layer": 3, "positions": "rotary"},
    ],
    "rnn_lm": [{"cell": "gru"}, {"residual": False, "layers": 1}],
    "transformer_lm": [
        {"norm": "post", "positions": "learned"},
        {"positions": "rotary", "activation": "relu"},
        {"layers": 1, "positions": "learned", "max_positions": 9},
    ],
}

MODELS = [(choice, {}) for choice in generators()] + [(choice, options) for choice in OPTIONS for options in OPTIONS[choice]]


def label(value: Any) -> str | None:
    return "-".join(map(str, value.values())) or "default" if isinstance(value, dict) else value


every_model = pytest.mark.parametrize(("choice", "options"), MODELS, ids=label)


@cache
def build(choice: str, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    """The model, small, in float64 and evaluation mode, its weights away from their initial symmetry."""
    torch.manual_seed(3)
    small = {key: value for key, value in SMALL.items() if key in settings("model", choice)}
    model = make_choice(
        "model", choice, {**small, **dict(options)}, source_vocab_size=SOURCE_WORDS, target_vocab_size=TARGET_WORDS
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.double().eval()


def generator(choice: str, options: dict[str, Any]) -> Generator:
    model = build(choice, tuple(options.items()))
    assert isinstance(model, Generator)
    return model


def aligner(choice: str, options: dict[str, Any]) -> Aligner:
    model = generator(choice, options)
    if not isinstance(model, Aligner):
        pytest.skip("does not align")
    return model


def random_ids(rows: int, length: int, seed: int) -> Tensor:
    return torch.randint(TARGET_WORDS, (rows, length), generator=torch.Generator().manual_seed(seed))


def widened(batch: Batch, by: int) -> Batch:
    """The same sentences with `by` more columns of padding on both sides, all padding random ordinary words."""
    assert batch.source_BS is not None and batch.inputs_BT is not None and batch.targets_BT is not None

    def pad(ids: Tensor, lengths: Tensor, vocab_size: int, seed: int) -> Tensor:
        noise = torch.randint(4, vocab_size, (len(ids), ids.shape[1] + by), generator=torch.Generator().manual_seed(seed))
        inside = torch.arange(noise.shape[1]) < lengths[:, None]
        noise[inside] = torch.cat([row[:length] for row, length in zip(ids, lengths, strict=True)])
        return noise

    targets_BT = pad(batch.targets_BT, batch.target_lengths_B, TARGET_WORDS, 1)
    valid_N = (torch.arange(targets_BT.shape[1]) < batch.target_lengths_B[:, None]).flatten().nonzero().squeeze(1)
    return replace(
        batch,
        source_BS=pad(batch.source_BS, batch.source_lengths_B, SOURCE_WORDS, 2),
        inputs_BT=pad(batch.inputs_BT, batch.target_lengths_B, TARGET_WORDS, 3),
        targets_BT=targets_BT,
        valid_N=valid_N,
    )


def rows_of(batch: Batch, index: list[int]) -> Batch:
    """Some sentences of a batch, cut to their own lengths."""
    source_width = int(batch.source_lengths_B[index].max())
    target_width = int(batch.target_lengths_B[index].max())
    lengths = batch.target_lengths_B[index]
    return Batch(
        batch.index_B[index],
        batch.source_BS[index, :source_width],
        batch.source_lengths_B[index],
        batch.inputs_BT[index, :target_width],
        batch.targets_BT[index, :target_width],
        lengths,
        (torch.arange(target_width) < lengths[:, None]).flatten().nonzero().squeeze(1),
    )


@every_model
def test_protocols_are_met_by_what_python_finds_without_asking(choice: str, options: dict[str, Any]) -> None:
    """From 3.12 on isinstance does not call __getattr__, by which torch finds submodules."""
    model = build(choice, tuple(options.items()))
    members = missing_members(object, Generator)
    assert members == ["decode", "embed", "encode", "hidden_size", "hidden_states"]
    assert [name for name in members if getattr_static(model, name, None) is None] == []


@every_model
@pytest.mark.parametrize("pieces", [[1] * 7, [3, 1, 2, 1]], ids=["one by one", "in pieces"])
def test_step_by_step_equals_one_pass(choice: str, options: dict[str, Any], pieces: list[int]) -> None:
    """Also through a search: rows chosen anew between steps, with repeats, and a sentence that leaves."""
    model = generator(choice, options)
    memory = model.encode(random_batch(batch_size=4))
    sentences, beams = 4, 3
    random = torch.Generator().manual_seed(5)
    state, history_RT = None, torch.empty(sentences * beams, 0, dtype=torch.int64)
    for place, length in enumerate(pieces):
        if place == 2:
            kept = torch.tensor([3, 0, 1])
            memory, sentences = memory.select(kept), 3
            rows = (kept[:, None] * beams + torch.arange(beams)).flatten()
            state, history_RT = state.select(rows), history_RT[rows]
        new_RT = random_ids(sentences * beams, length, seed=place)
        hidden_RTD, state = model.decode(model.embed(new_RT), memory, state)
        history_RT = torch.cat([history_RT, new_RT], dim=1)
        expected_RTD, _ = model.decode(model.embed(history_RT), memory)
        assert_close(hidden_RTD, expected_RTD[:, -length:], rtol=0, atol=1e-11)
        beam = torch.randint(beams, (sentences, beams), generator=random)
        rows = (torch.arange(sentences)[:, None] * beams + beam).flatten()
        state, history_RT = state.select(rows), history_RT[rows]


@every_model
def test_a_state_can_be_continued_twice(choice: str, options: dict[str, Any]) -> None:
    """Roll-outs go on from one state in several ways; none may disturb the others."""
    model = generator(choice, options)
    with torch.no_grad():
        memory = model.encode(random_batch(batch_size=3))
        first_RT, one_RT, other_RT = random_ids(3, 4, 0), random_ids(3, 1, 1), random_ids(3, 1, 2)
        _, state = model.decode(model.embed(first_RT), memory)
        _, state = model.decode(model.embed(one_RT), memory, state.select(torch.arange(3)))
        _, after_one = model.decode(model.embed(one_RT), memory, state)
        model.decode(model.embed(other_RT), memory, state)
        hidden_RTD, _ = model.decode(model.embed(other_RT), memory, after_one)
        expected_RTD, _ = model.decode(model.embed(torch.cat([first_RT, one_RT, one_RT, other_RT], dim=1)), memory)
    assert_close(hidden_RTD, expected_RTD[:, -1:], rtol=0, atol=1e-11)


@every_model
def test_padding_changes_nothing(choice: str, options: dict[str, Any]) -> None:
    model = build(choice, tuple(options.items()))
    batch = random_batch(batch_size=6, max_source_length=5, max_target_length=5)
    assert_close(model.hidden_states(widened(batch, 4)), model.hidden_states(batch), rtol=0, atol=1e-11)


@every_model
def test_a_sentence_alone_equals_itself_in_a_batch(choice: str, options: dict[str, Any]) -> None:
    model = build(choice, tuple(options.items()))
    batch = random_batch(batch_size=5)
    alone_ND = torch.cat([model.hidden_states(rows_of(batch, [row])) for row in range(5)])
    assert_close(model.hidden_states(batch), alone_ND, rtol=0, atol=1e-11)


@every_model
def test_batch_order_changes_nothing(choice: str, options: dict[str, Any]) -> None:
    model = build(choice, tuple(options.items()))
    batch = random_batch(batch_size=5)
    order = [3, 0, 4, 2, 1]
    hidden = model.hidden_states(batch).split(batch.target_lengths_B.tolist())
    assert_close(model.hidden_states(rows_of(batch, order)), torch.cat([hidden[row] for row in order]), rtol=0, atol=1e-11)


@every_model
def test_one_memory_row_serves_several_decoder_rows(choice: str, options: dict[str, Any]) -> None:
    model = generator(choice, options)
    memory = model.encode(random_batch(batch_size=3))
    embedded_RTE = model.embed(random_ids(6, 5, seed=1))
    shared_RTD, _ = model.decode(embedded_RTE, memory)
    repeated_RTD, _ = model.decode(embedded_RTE, memory.select(torch.tensor([0, 0, 1, 1, 2, 2])))
    assert_close(shared_RTD, repeated_RTD, rtol=0, atol=1e-11)


@every_model
def test_the_source_matters(choice: str, options: dict[str, Any]) -> None:
    """To a model that reads one; a language model gives the same without any."""
    model = generator(choice, options)
    batch = random_batch(batch_size=3)
    if not getattr(model, "reads_source", True):
        without = replace(batch, source_BS=None, source_lengths_B=None)
        assert_close(model.hidden_states(without), model.hidden_states(batch), rtol=0, atol=0)
        return
    embedded_RTE = model.embed(batch.inputs_BT)
    hidden_RTD, _ = model.decode(embedded_RTE, model.encode(batch))
    other_RTD, _ = model.decode(embedded_RTE, model.encode(random_batch(seed=9, batch_size=3)))
    assert ((hidden_RTD - other_RTD).abs().amax(-1) > 1e-4).all()


@every_model
def test_later_inputs_do_not_reach_earlier_positions(choice: str, options: dict[str, Any]) -> None:
    """And earlier ones reach every later position."""
    model = generator(choice, options)
    memory = model.encode(random_batch(batch_size=2))
    embedded_RTE = model.embed(random_ids(2, 6, seed=1)).detach().requires_grad_()
    hidden_RTD, _ = model.decode(embedded_RTE, memory)
    for place in range(6):
        (gradient_RTE,) = torch.autograd.grad(hidden_RTD[:, place].square().sum(), embedded_RTE, retain_graph=True)
        reach_T = gradient_RTE.abs().amax((0, 2))
        assert (reach_T[place + 1 :] == 0).all()
        assert (reach_T[: place + 1] > 0).all()


@every_model
def test_every_parameter_has_a_gradient(choice: str, options: dict[str, Any]) -> None:
    """A parameter without one is computed for nothing, or never (SPEC.md section 1 names such a slip)."""
    model = build(choice, tuple(options.items()))
    model.zero_grad()
    hidden_ND = model.hidden_states(random_batch(batch_size=6))
    (hidden_ND * torch.randn_like(hidden_ND)).sum().backward()
    dead = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


@every_model
def test_embedding_a_distribution_is_the_expected_embedding(choice: str, options: dict[str, Any]) -> None:
    model = generator(choice, options)
    ids_RT = random_ids(3, 4, seed=1)
    one_hot_RTV = nn.functional.one_hot(ids_RT, TARGET_WORDS).double()
    assert_close(model.embed(one_hot_RTV), model.embed(ids_RT), rtol=0, atol=1e-13)
    probabilities_RTV = torch.rand(3, 4, TARGET_WORDS, dtype=torch.float64).softmax(-1)
    every_word_RTVE = model.embed(torch.arange(TARGET_WORDS).expand(3, 4, -1).flatten(0, 1)).view(3, 4, TARGET_WORDS, -1)
    expected_RTE = (probabilities_RTV[..., None] * every_word_RTVE).sum(2)
    assert_close(model.embed(probabilities_RTV), expected_RTE, rtol=0, atol=1e-13)


@every_model
def test_alignments_are_distributions_over_real_words(choice: str, options: dict[str, Any]) -> None:
    model = aligner(choice, options)
    batch = random_batch(batch_size=5)
    alignment_BTS = model.alignments(batch)
    assert_close(alignment_BTS.sum(-1), torch.ones_like(alignment_BTS[..., 0]), rtol=0, atol=1e-12)
    real_BS = torch.arange(batch.source_BS.shape[1]) < batch.source_lengths_B[:, None]
    assert (alignment_BTS.transpose(1, 2)[~real_BS] == 0).all()
    assert (alignment_BTS.transpose(1, 2)[real_BS] > 0).all()
    for row in range(5):
        alone_1TS = model.alignments(rows_of(batch, [row]))
        assert_close(alone_1TS, alignment_BTS[row : row + 1, : alone_1TS.shape[1], : alone_1TS.shape[2]], rtol=0, atol=1e-11)


@every_model
def test_dropout_acts_in_training_only(choice: str, options: dict[str, Any]) -> None:
    model = build(choice, tuple(options.items()))
    batch = random_batch()
    assert_close(model.hidden_states(batch), model.hidden_states(batch), rtol=0, atol=0)
    try:
        model.train()
        assert not torch.allclose(model.hidden_states(batch), model.hidden_states(batch))
    finally:
        model.eval()


@every_model
def test_runs_on_the_meta_device(choice: str, options: dict[str, Any]) -> None:
    """Forward, loss, backward and a step of decoding: a stray CPU tensor or a hidden device sync fails here."""
    with torch.device("meta"):
        model = make_choice("model", choice, options, source_vocab_size=SOURCE_WORDS, target_vocab_size=TARGET_WORDS)
        output = nn.Linear(model.hidden_size, TARGET_WORDS)
    batch = random_batch().to("meta")
    hidden_ND = model.hidden_states(batch)
    assert hidden_ND.shape == (batch.targets_N.shape[0], model.hidden_size)
    nn.functional.cross_entropy(output(hidden_ND), batch.targets_N).backward()
    assert all(parameter.grad is not None and parameter.grad.is_meta for parameter in model.parameters())
    if isinstance(model, Generator):
        memory = model.encode(batch).select(torch.zeros(2, dtype=torch.int64, device="meta"))
        _, state = model.decode(model.embed(torch.zeros(4, 2, dtype=torch.int64, device="meta")), memory)
        state = state.select(torch.zeros(4, dtype=torch.int64, device="meta"))
        hidden_RTD, _ = model.decode(model.embed(torch.zeros(4, 2, dtype=torch.int64, device="meta")), memory, state)
        assert hidden_RTD.is_meta
    if isinstance(model, Aligner):
        assert model.alignments(batch).is_meta


def has_recurrent_cell(model: nn.Module) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


@every_model
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_runs_in_reduced_precision(choice: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    model = build(choice, tuple(options.items()))
    try:
        model.float()
        batch = random_batch()
        exact_ND = model.hidden_states(batch).detach()
        with torch.autocast("cpu", dtype=dtype):
            hidden_ND = model.hidden_states(batch)
            if isinstance(model, Generator):
                memory = model.encode(batch)
                _, state = model.decode(model.embed(batch.inputs_BT[:, :3]), memory)
                model.decode(model.embed(batch.inputs_BT[:, 3:]), memory, state)
        hidden_ND.float().square().sum().backward()
        assert_close(hidden_ND.detach().float(), exact_ND, rtol=0, atol=0.05 * float(exact_ND.abs().max()))
    finally:
        model.zero_grad()
        model.double()


@pytest.mark.parametrize("low", [False, True], ids=["float64", "bf16"])
@pytest.mark.parametrize("choice", generators())
def test_compiles(choice: str, low: bool) -> None:
    """Traced by torch.compile, whole where there is no nn.LSTM or nn.GRU (those always run uncompiled)."""
    torch._dynamo.reset()  # models share code, and one piece is compiled for a few of them only
    model = build(choice, ())
    batch = random_batch()
    traced = torch.compile(model.hidden_states, backend="eager", fullgraph=not has_recurrent_cell(model))
    try:
        model.float() if low else model.double()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            assert_close(traced(batch), model.hidden_states(batch), rtol=0, atol=1e-12)
    finally:
        model.double()


@every_model
def test_no_two_entries_of_a_state_dict_share_memory(choice: str, options: dict[str, Any]) -> None:
    """Weights are stored by safetensors, which keeps each tensor once."""
    state = build(choice, tuple(options.items())).state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
