"""Scheduled sampling against a plain loop over sentences and positions, in float64: same words, same loss, same gradient.

Shapes: B sentences, T target length, V words, E embedding.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.config import build
from seqgen_cli.data.batch import Batch, make_block_batch
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import generate
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Decay, Progress
from seqgen_cli.objectives.decays import Constant, Linear
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.objectives.scheduled_sampling import ScheduledSampling, straight_through_gumbel
from seqgen_cli.outputs.base import Draw
from tests.helpers import BOS, EOS, PAD, make_choice, random_batch, settings
from tests.pairs import pairs

WORDS = 13
EPS = Constant(0.4)
SMALL = {"embedding_size": 6, "hidden_size": 8, "ffn_size": 12, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "layers": 1}
MIXINGS = ["argmax", "sampled", "gumbel", "expected"]
RECURRENT = ["rnn", "attention", "rnn_lm"]
OTHERS = ["transformer", "transformer_lm"]


def objective(
    model: str, mixing: str = "argmax", decay: Decay = EPS, output: str = "softmax", **changed: Any
) -> ScheduledSampling:
    """The objective over small random networks in float64, without dropout."""
    torch.manual_seed(5)
    small = {key: value for key, value in SMALL.items() if key in settings("model", model)}
    networks = make_choice("model", model, {**small, "dropout": 0.0}, source_vocab_size=11, target_vocab_size=WORDS)
    counts_V = torch.arange(WORDS).flip(0)
    layer = build.output_layer(output, hidden_size=networks.hidden_size, vocab_size=WORDS, counts=counts_V)
    both = nn.ModuleList([networks, layer])
    with torch.no_grad():
        for parameter in both.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.4)
    both.double()
    temperature = {} if mixing == "argmax" else {"temperature": 0.7}
    made: ScheduledSampling = make_choice(
        "objective",
        "scheduled_sampling",
        {"mixing": mixing, **temperature, **changed},
        model=networks,
        output=layer,
        target_tokenizer=None,
        decay=decay,
    )
    return made


def loss_and_gradient(made: MaximumLikelihood, batch: Batch, update: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    made.zero_grad()
    loss = made(batch, Progress(update, Key.of(9, update)))
    torch.stack(list(loss.terms.values())).sum().backward()
    found = {name: parameter.grad for name, parameter in made.named_parameters() if parameter.grad is not None}
    dense = {name: grad.to_dense() if grad.is_sparse else grad for name, grad in found.items()}
    return torch.stack(list(loss.terms.values())).sum().detach(), dense


def alone(batch: Batch, row: int) -> Batch:
    """One sentence of the batch, without padding."""
    target = int(batch.target_lengths_B[row])
    lengths = None if batch.source_lengths_B is None else batch.source_lengths_B[row : row + 1]
    return Batch(
        batch.index_B[row : row + 1],
        None if lengths is None else batch.source_BS[row : row + 1, : int(lengths)],
        lengths,
        batch.inputs_BT[row : row + 1, :target],
        batch.targets_BT[row : row + 1, :target],
        batch.target_lengths_B[row : row + 1],
        torch.arange(target),
    )


def is_replaced(made: ScheduledSampling, example: int, place: int, update: int) -> bool:
    """Whether input number `place` (1, 2, ...; 0 is `<s>`) is the model's own: the definition, one number at a time."""
    counters = [torch.tensor(example), torch.tensor(place - 1)]
    if made.per == "sequence":
        del counters[1]
    return Key.of(9, update).fold("replace inputs").uniform(*counters).item() >= made.decay(update)


def own_embedding(made: ScheduledSampling, hidden_D: Tensor, example: int, place: int, update: int) -> Tensor:
    """What the model reads for its own word at an input: (E,), with its gradient."""
    key, tau = Key.of(9, update).fold("own words"), made.temperature
    log_p_V = made.output.log_probs(hidden_D[None])[0]
    allowed = [word for word in range(WORDS) if word not in (PAD, BOS)]
    weight_VE = made.model.embedding.weight
    scale = math.sqrt(weight_VE.shape[1])
    where = (torch.tensor(example), torch.tensor(place))
    if made.mixing == "argmax":
        return weight_VE[max(allowed, key=lambda word: log_p_V[word].item())] * scale
    soft_A = (log_p_V[allowed] / tau).softmax(-1)
    if made.mixing == "expected":
        return scale * sum(p * weight_VE[word] for p, word in zip(soft_A, allowed, strict=True))
    if made.mixing == "sampled":
        never_1X = torch.tensor([[PAD, BOS]])
        return weight_VE[made.output.sample(hidden_D[None], Draw(key.uniform(*where)[None], tau, exclude_NX=never_1X))[0]] * scale
    noise = [-math.log(-math.log(key.uniform(*where, torch.tensor(word)).item())) for word in allowed]
    noisy_A = log_p_V[allowed] + torch.tensor(noise, dtype=torch.float64)
    soft_A = (noisy_A / tau).softmax(-1)
    hard_A = torch.zeros_like(soft_A)
    hard_A[noisy_A.argmax()] = 1
    return scale * ((hard_A - soft_A).detach() + soft_A) @ weight_VE[allowed]


def plain_loop(made: ScheduledSampling, batch: Batch, update: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    """Every sentence alone, every position alone; by whole passes each pass over one sentence."""
    made.zero_grad()
    model, total = made.model, torch.zeros((), dtype=torch.float64)
    for row in range(len(batch)):
        one, example = alone(batch, row), int(batch.index_B[row])
        gold_TE = model.embed(one.inputs_BT)[0]
        width = len(gold_TE)
        memory = model.encode(one)
        own = [place for place in range(1, width) if is_replaced(made, example, place, update)]
        if made.passes == "stepwise":
            inputs, state = [gold_TE[0]], None
            for place in range(1, width):
                hidden_11D, state = model.decode(inputs[-1][None, None], memory, state)
                hidden_D = hidden_11D[0, 0]
                inputs.append(own_embedding(made, hidden_D, example, place, update) if place in own else gold_TE[place])
            inputs = torch.stack(inputs)
        else:
            inputs = gold_TE
            for _ in range(made.passes):
                hidden_TD = model.decode(inputs[None], memory)[0][0]
                inputs = torch.stack(
                    [
                        own_embedding(made, hidden_TD[place - 1], example, place, update) if place in own else gold_TE[place]
                        for place in range(width)
                    ]
                )
        hidden_TD = model.decode(inputs[None], memory)[0][0]
        log_p_TV = made.output.log_probs(hidden_TD)
        total = total - log_p_TV[torch.arange(width), one.targets_BT[0]].sum()
    total.backward()
    return total.detach(), {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


BATCHES = {True: random_batch(seed=2, batch_size=4, target_vocab_size=WORDS)}
BATCHES[False] = replace(BATCHES[True], source_BS=None, source_lengths_B=None)


def batch_for(made: ScheduledSampling) -> Batch:
    return BATCHES[getattr(made.model, "reads_source", True)]


PASSES = ["auto", 2, "stepwise"]
OUTPUTS = ["softmax", "huffman_tree", "class_softmax", "adaptive_softmax"]


@pytest.mark.parametrize(
    ("model", "mixing", "output", "passes", "per"),
    pairs(RECURRENT + OTHERS, MIXINGS, OUTPUTS, PASSES, ["token", "sequence"]),
)
def test_loss_and_gradient_are_those_of_a_plain_loop(model: str, mixing: str, output: str, passes: Any, per: str) -> None:
    made = objective(model, mixing, output=output, passes=passes, per=per)
    batch = batch_for(made)
    loss, gradient = loss_and_gradient(made, batch)
    expected, expected_gradient = plain_loop(made, batch)
    assert_close(loss, expected, rtol=1e-11, atol=0)
    assert gradient.keys() == expected_gradient.keys()
    for name in gradient:
        assert_close(
            gradient[name], expected_gradient[name], rtol=1e-9, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )
    plain = MaximumLikelihood(made.model, made.output)
    assert abs(loss - loss_and_gradient(plain, batch)[0]) > 1e-3, "something was replaced"


def test_auto_steps_what_reads_step_by_step_and_passes_once_over_what_does_not() -> None:
    assert {model: objective(model, passes="auto").passes for model in RECURRENT} == dict.fromkeys(RECURRENT, "stepwise")
    assert {model: objective(model, passes="auto").passes for model in OTHERS} == dict.fromkeys(OTHERS, 1)


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("model", RECURRENT + OTHERS)
def test_as_many_passes_as_words_are_stepping(model: str, mixing: str) -> None:
    stepping, passing = (objective(model, mixing, Constant(0.3), passes=passes) for passes in ("stepwise", 6))
    batch = batch_for(stepping)
    loss, gradient = loss_and_gradient(stepping, batch)
    other, other_gradient = loss_and_gradient(passing, batch)
    assert_close(other, loss, rtol=1e-11, atol=0)
    for name in gradient:
        assert_close(other_gradient[name], gradient[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("model", ["attention", "transformer"])
def test_eps_1_is_mle_to_the_last_bit_and_at_its_cost(model: str, mixing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = objective(model, mixing, Linear(k=1.0, c=0.1))
    batch = batch_for(made)
    expected = loss_and_gradient(MaximumLikelihood(made.model, made.output), batch, update=0)
    passes = []
    decode = made.model.decode
    with monkeypatch.context() as patch:
        patch.setattr(made.model, "decode", lambda *given: passes.append(given) or decode(*given))
        loss, gradient = loss_and_gradient(made, batch, update=0)
    assert len(passes) == 1
    assert torch.equal(loss, expected[0])
    assert gradient.keys() == expected[1].keys()
    assert all(torch.equal(gradient[name], expected[1][name]) for name in gradient)
    assert loss_and_gradient(made, batch, update=5)[0] != loss_and_gradient(made, batch, update=0)[0]


def inputs_read(made: ScheduledSampling, batch: Batch, update: int = 3) -> Tensor:
    """The ids that the trained pass reads: what is embedded last."""
    seen = []
    embed = made.model.embed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.model, "embed", lambda ids: seen.append(ids) or embed(ids))
        made(batch, Progress(update, Key.of(9, update)))
    return seen[-1]


@pytest.mark.parametrize("model", RECURRENT + OTHERS)
def test_eps_0_reads_what_greedy_decoding_writes(model: str) -> None:
    made = objective(model, decay=Constant(0.0), passes="stepwise")
    batch = batch_for(made)
    read_BT = inputs_read(made, batch)
    greedy = make_choice("decoding", "greedy", {"suppress_unknown": False, "max_length_offset": 20})
    starts_BP, no_words_B = batch.inputs_BT[:, :0], torch.zeros_like(batch.index_B)
    prefix = {} if batch.source_BS is not None else {"prefix_BP": starts_BP, "prefix_lengths_B": no_words_B}
    written = generate([(made.model, made.output)], greedy, batch, Specials(0, 1, 2, 3), **prefix)
    compared = 0
    for row in range(len(batch)):
        length = min(int(batch.target_lengths_B[row]) - 1, int(written.lengths_BK[row, 0]))
        assert read_BT[row, 1 : 1 + length].tolist() == written.ids_BKT[row, 0, :length].tolist()
        compared += length
    assert compared >= 4 and (read_BT[:, 0] == BOS).all()


@pytest.mark.parametrize("passes", ["stepwise", 1])
@pytest.mark.parametrize("mixing", ["argmax", "sampled"])
def test_own_words_are_never_fillers_and_the_first_input_stays(mixing: str, passes: Any) -> None:
    """The layer's biases want <pad> and <s> before all else."""
    made = objective("rnn", mixing, Constant(0.0), passes=passes)
    with torch.no_grad():
        made.output.bias[[PAD, BOS]] += 50.0
    batch = batch_for(made)
    read_BT = inputs_read(made, batch)
    inside_BT = torch.arange(1, read_BT.shape[1]) < batch.target_lengths_B[:, None]
    assert not torch.isin(read_BT[:, 1:][inside_BT], torch.tensor([PAD, BOS])).any()
    assert (read_BT[:, 0] == BOS).all()
    assert torch.equal(read_BT[:, 1:][~inside_BT], batch.inputs_BT[:, 1:][~inside_BT]), "padding is left alone"


@pytest.mark.parametrize("mixing", ["gumbel", "expected"])
def test_soft_words_have_nothing_of_the_fillers(mixing: str) -> None:
    made = objective("rnn", mixing, Constant(0.0))
    batch = batch_for(made)
    before = loss_and_gradient(made, batch)
    assert before[1]["model.embedding.weight"][PAD].eq(0).all(), "no gradient reaches <pad>"
    with torch.no_grad():
        made.model.embedding.weight[PAD] += 100.0
    assert torch.equal(loss_and_gradient(made, batch)[0], before[0])


@pytest.mark.parametrize("per", ["token", "sequence"])
def test_which_inputs_are_replaced(per: str) -> None:
    """A share 1 - eps of them; of a sequence all or none; anew at each update; whoever shares the batch."""
    made = objective("rnn", "sampled", Constant(0.3), per=per)
    batch = replace(random_batch(seed=4, batch_size=64, target_vocab_size=WORDS), index_B=torch.arange(64) * 3)
    width = batch.inputs_BT.shape[1]
    found = [set(made._replaced(batch, 0.3, Key.of(9, update)).tolist()) for update in range(6)]
    inputs = {row * width + place for row in range(64) for place in range(1, int(batch.target_lengths_B[row]))}
    assert all(each <= inputs for each in found) and len({frozenset(each) for each in found}) == 6
    rows = [(each, {place for place in inputs if place // width == row}) for each in found for row in range(64)]
    if per == "sequence":
        assert all(own & each in (set(), own) for each, own in rows)
        drawn = [bool(own & each) for each, own in rows if own]
    else:
        drawn = [place in each for each in found for place in sorted(inputs)]
    assert binomtest(sum(drawn), len(drawn), 0.7).pvalue > 1e-3
    whole = inputs_read(made, batch)
    for row in (0, 17, 63):
        assert torch.equal(inputs_read(made, alone(batch, row))[0], whole[row, : int(batch.target_lengths_B[row])])


def test_the_context_of_a_block_is_never_replaced() -> None:
    made = objective("rnn_lm", "sampled", Constant(0.0), passes=1)
    random = np.random.default_rng(3)
    windows = [random.integers(EOS + 1, WORDS, size=9) for _ in range(6)]
    batch = make_block_batch(range(6), windows, [0, 3, 4, 4, 8, 2], PAD)
    read_BT = inputs_read(made, batch)
    for row, context in enumerate([0, 3, 4, 4, 8, 2]):
        assert torch.equal(read_BT[row, : context + 1], batch.inputs_BT[row, : context + 1])
        if context < 7:
            assert not torch.equal(read_BT[row, context + 1 :], batch.inputs_BT[row, context + 1 :])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_straight_through_gumbel_draws_from_p_and_has_the_gradient_of_the_soft_one(temperature: float) -> None:
    draws, words = 20_000, 5
    log_p_V = torch.tensor([0.1, 0.25, 0.05, 0.6, 0.0], dtype=torch.float64).log()
    key, draw_M, word_V = Key.of("gumbel"), torch.arange(draws), torch.arange(words)
    uniform_MV = key.uniform(draw_M[:, None], word_V)
    drawn_MV = straight_through_gumbel(log_p_V.expand(draws, -1), uniform_MV, temperature)
    assert torch.equal(drawn_MV.sort(-1).values, torch.tensor([0.0, 0, 0, 0, 1], dtype=torch.float64).expand(draws, -1))
    counts = drawn_MV.sum(0)
    assert counts[4] == 0 and chisquare(counts[:4].numpy(), log_p_V.exp()[:4].numpy() * draws).pvalue > 1e-3
    log_p_MV = torch.randn(7, words, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight_MV = torch.randn(7, words, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradient = torch.autograd.grad((straight_through_gumbel(log_p_MV, uniform_MV[:7], temperature) * weight_MV).sum(), log_p_MV)[
        0
    ]
    soft_MV = ((log_p_MV - (-uniform_MV[:7].log()).log()) / temperature).softmax(-1)
    assert_close(gradient, torch.autograd.grad((soft_MV * weight_MV).sum(), log_p_MV)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mixing", ["argmax", "gumbel"])
@pytest.mark.parametrize("model", ["attention", "transformer"])
def test_autocast_loses_no_gradient(model: str, mixing: str) -> None:
    """Converted weights are kept by autocast; those first used without gradient would have none."""
    made = objective(model, mixing, Constant(0.3)).float()
    batch = batch_for(made)
    _, gradient = loss_and_gradient(made, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made(batch, Progress(3, Key.of(9, 3)))
    made.zero_grad()
    loss.terms["tokens"].backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        if gradient[name].norm() > 1e-3:
            assert parameter.grad.any(), name


def test_what_is_logged() -> None:
    made = objective("rnn", decay=Linear(k=1.0, c=0.25))
    batch = batch_for(made)
    for update, eps in enumerate([1.0, 0.75, 0.5, 0.25, 0.0]):
        metrics = made(batch, Progress(update, Key.of(9, update))).metrics
        tokens = made.counts(batch)["tokens"]
        assert float(metrics["eps"]) / tokens == pytest.approx(eps, rel=1e-6)
        expected = sum(
            is_replaced(made, int(batch.index_B[row]), place, update)
            for row in range(len(batch))
            for place in range(1, int(batch.target_lengths_B[row]))
        )
        assert int(metrics["replaced"]) == expected
    assert expected == tokens - len(batch)


def test_a_temperature_that_changes_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match=r"objective.temperature=0.7 changes no argmax"):
        objective("rnn", "argmax", temperature=0.7)


def test_soft_words_need_dense_tables() -> None:
    assert objective("rnn", "sampled", output="huffman_tree").output.dense_because is None
    assert "objective.mixing=gumbel" in str(objective("rnn", "gumbel", output="huffman_tree").output.dense_because)
