"""The laws every way of decoding keeps with every model: what is cached, batched, forced or averaged changes no result.

Shapes: B sentences, K hypotheses, T target length, V words.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.decoding.base import Decoder, Hypotheses, Specials
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.decoding.steps import Network, begin, generate, make_step
from seqgen_cli.models.base import Generator
from seqgen_cli.outputs import base
from seqgen_cli.outputs.base import Draw
from tests.helpers import BOS, EOS, PAD, UNK, choices, generators, make_choice, random_batch, settings

SOURCE_WORDS, TARGET_WORDS = 11, 13
SPECIALS = Specials(PAD, UNK, BOS, EOS)
SMALL = {"embedding_size": 6, "hidden_size": 8, "ffn_size": 12, "heads": 2, "encoder_layers": 2, "decoder_layers": 2}

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "beam": [
        {"n_best": 5},
        {"beam_size": 3, "n_best": 2, "stop": "bound", "length_penalty_kind": "gnmt"},
        {"beam_size": 4, "n_best": 4, "no_repeat_ngram_size": 2, "min_length": 3},
    ],
    "sample": [{"samples": 4}, {"samples": 3, "top_p": 0.8, "temperature": 1.4}],
}
DECODERS = [(choice, {}) for choice in choices("decoding")] + [
    (choice, more) for choice, list_ in VARIANTS.items() for more in list_
]


@cache
def network(choice: str, seed: int = 0) -> Network:
    """A small model with random weights and a sharp softmax, in float64."""
    torch.manual_seed(100 + seed)
    small = {key: value for key, value in SMALL.items() if key in settings("model", choice)}
    model = make_choice("model", choice, small, source_vocab_size=SOURCE_WORDS, target_vocab_size=TARGET_WORDS)
    assert isinstance(model, Generator)
    output = make_choice("output", "softmax", hidden_size=model.hidden_size, vocab_size=TARGET_WORDS)
    with torch.no_grad():
        for part in (model, output):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
        output.weight.mul_(2)
    assert isinstance(model, nn.Module)
    return model.double().eval(), output.double().eval()


def decoder(choice: str, more: dict[str, Any]) -> Decoder:
    made: Decoder = make_choice("decoding", choice, {"max_length_factor": 1.0, "max_length_offset": 6, **more})
    return made


def batch_of(size: int = 12) -> Batch:
    return random_batch(seed=7, batch_size=size, source_vocab_size=SOURCE_WORDS, target_vocab_size=TARGET_WORDS)


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    assert batch.source_BS is not None and batch.source_lengths_B is not None
    lengths_B = batch.source_lengths_B[rows]
    return Batch(batch.index_B[rows], batch.source_BS[rows, : int(lengths_B.max())], lengths_B)


def listed(found: Hypotheses) -> list[list[tuple[tuple[int, ...], float]]]:
    return [
        [(tuple(ids[:length].tolist()), float(score)) for ids, length, score in zip(*parts, strict=True)]
        for parts in zip(found.ids_BKT, found.lengths_BK, found.scores_BK, strict=True)
    ]


def assert_same(left: Hypotheses, right: Hypotheses) -> None:
    for ours, theirs in zip(listed(left), listed(right), strict=True):
        assert [ids for ids, _ in ours] == [ids for ids, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-8)


def label(value: Any) -> str | None:
    return "-".join(map(str, value.values())) or "default" if isinstance(value, dict) else value


every_model = pytest.mark.parametrize("model", generators())
every_decoder = pytest.mark.parametrize(("choice", "more"), DECODERS, ids=label)


@every_model
@every_decoder
def test_reported_scores_are_those_of_one_pass(model: str, choice: str, more: dict[str, Any]) -> None:
    """Cached = uncached: every hypothesis, scored teacher-forced in one pass, has the log p that the search gave it."""
    decode, batch = decoder(choice, more), batch_of()
    assert batch.source_BS is not None and batch.source_lengths_B is not None
    found = generate([network(model)], decode, batch, SPECIALS)
    assert found.ids_BKT.shape[:2] == (len(batch), decode.outputs)
    lengths = set()
    for row, hypotheses in enumerate(listed(found)):
        source = batch.source_BS[row, : batch.source_lengths_B[row] - 1].numpy()
        for rank, (ids, score) in enumerate(hypotheses):
            if score == float("-inf"):
                continue
            assert (ids[-1] == EOS) != bool(found.truncated_BK[row, rank]) and EOS not in ids[:-1]
            log_p_T = one_pass(network(model), source, ids)
            assert float(log_p_T.sum()) == pytest.approx(float(found.log_probs_BK[row, rank]), abs=1e-6)
            lengths.add(len(ids))
    reads_source = getattr(network(model)[0], "reads_source", True)  # greedy search without one finds one text
    assert len(lengths) > 1 or not reads_source


def one_pass(net: Network, source: np.ndarray, ids: tuple[int, ...]) -> Tensor:
    """log p of each of the words, with or without a final `</s>`."""
    ended = [*ids[:-1]] if ids[-1] == EOS else [*ids]
    batch = make_batch([0], [source], [np.array(ended)], source_pad=PAD, target_pad=PAD, bos=BOS, eos=EOS, source_eos=EOS)
    model, output = net
    with torch.no_grad():
        return output.score(model.hidden_states(batch), batch.targets_N)[: len(ids)]


@every_model
@every_decoder
def test_a_sentence_does_not_depend_on_its_batch(model: str, choice: str, more: dict[str, Any]) -> None:
    decode, batch, networks = decoder(choice, more), batch_of(), [network(model)]
    together = generate(networks, decode, batch, SPECIALS)
    order = [5, 2, 9, 0, 11, 3, 1, 8, 4, 10, 7, 6]
    assert_same(generate(networks, decode, rows_of(batch, order), SPECIALS), together.select(torch.tensor(order)))
    for row in range(4):
        assert_same(generate(networks, decode, rows_of(batch, [row]), SPECIALS), together.select(torch.tensor([row])))


@every_decoder
def test_a_tokenizer_without_padding_fills_with_what_ends(choice: str, more: dict[str, Any]) -> None:
    """What fills the rows changes neither the words, nor their scores, nor what counts as cut."""
    model, output = copy.deepcopy(network("rnn"))
    with torch.no_grad():
        output.bias[PAD] = -1e4  # an ordinary word now, which no search may find
        output.bias[EOS] += 5
    with_padding, without = (
        generate([(model, output)], decoder(choice, more), batch_of(), replace(SPECIALS, pad=pad)) for pad in (PAD, EOS)
    )
    assert_same(with_padding, without)
    assert torch.equal(with_padding.truncated_BK, without.truncated_BK) and not without.truncated_BK.all()


@every_model
def test_greedy_is_beam_of_one(model: str) -> None:
    narrow = {"beam_size": 1}
    greedy = generate([network(model)], decoder("greedy", {}), batch_of(), SPECIALS)
    assert_same(greedy, generate([network(model)], decoder("beam", narrow), batch_of(), SPECIALS))
    # stop=bound takes the general search; at penalty 0 it stops where greedy does: log p only falls.
    general = decoder("beam", {**narrow, "stop": "bound", "length_penalty": 0.0})
    found = generate([network(model)], general, batch_of(), SPECIALS)
    for ours, theirs in zip(listed(greedy), listed(found), strict=True):
        if ours[0][0][-1] == EOS:
            assert ours[0][0] == theirs[0][0]


@every_model
@every_decoder
def test_ensemble_of_twins_is_the_single_model(model: str, choice: str, more: dict[str, Any]) -> None:
    decode, batch = decoder(choice, more), batch_of()
    twins = generate([network(model), network(model)], decode, batch, SPECIALS)
    # A sum of logarithms may break a draw's tie otherwise, so samples of an ensemble are compared by their own law below.
    if not isinstance(decode, Sampling):
        assert_same(twins, generate([network(model)], decode, batch, SPECIALS))
    assert twins.ids_BKT.shape[:2] == (len(batch), decode.outputs)


@pytest.mark.parametrize("rows", [3, 256])
def test_ensemble_averages_probabilities(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three different models, step by step against the naive average, however many rows at a time; and the scores of what
    it finds."""
    monkeypatch.setattr(base, "_LEAST_ROWS", rows)
    monkeypatch.setattr(base, "_CHUNK_ELEMENTS", 1)
    networks = [network("transformer"), network("rnn"), network("attention")]
    batch = batch_of(4)
    words_R = torch.tensor([BOS, 5, 7, 12])
    with torch.no_grad():
        predictions, _ = make_step(networks)(words_R, begin(networks, batch))
        naive_RV = torch.zeros(4, TARGET_WORDS, dtype=torch.float64)
        for net, output in networks:
            hidden_R1D, _ = net.decode(net.embed(words_R[:, None]), net.encode(batch))
            naive_RV += output.log_probs(hidden_R1D[:, 0]).exp() / 3
        best_RV, id_RV = predictions.topk(TARGET_WORDS, words_R[:, None])
        masked_RV = naive_RV.scatter(1, words_R[:, None], 0.0)
        assert_close(best_RV.exp(), masked_RV.gather(1, id_RV), rtol=0, atol=1e-12)
        assert (best_RV.diff(dim=1) <= 0).all()
        assert_close(predictions.score(words_R), naive_RV.gather(1, words_R[:, None]).squeeze(1).log(), rtol=0, atol=1e-12)
        uniform_R = torch.full((4,), 0.999, dtype=torch.float64)
        drawn_R = predictions.sample(Draw(uniform_R, top_k=2))
        assert drawn_R.equal(naive_RV.topk(2).indices[:, 1])


@every_model
@every_decoder
def test_forced_prefix(model: str, choice: str, more: dict[str, Any]) -> None:
    decode, batch, networks = decoder(choice, more), batch_of(4), [network(model)]
    prefixes = [[], [7], [4, 12, 5], [9, 9]]
    padded = torch.tensor([prefix + [PAD] * (3 - len(prefix)) for prefix in prefixes])
    lengths = torch.tensor([len(prefix) for prefix in prefixes])
    found = generate(networks, decode, batch, SPECIALS, prefix_BP=padded, prefix_lengths_B=lengths)
    assert_same(found.select(torch.tensor([0])), generate(networks, decode, batch, SPECIALS).select(torch.tensor([0])))
    assert batch.source_BS is not None and batch.source_lengths_B is not None
    for row, (prefix, hypotheses) in enumerate(zip(prefixes, listed(found), strict=True)):
        source = batch.source_BS[row, : batch.source_lengths_B[row] - 1].numpy()
        for rank, (ids, score) in enumerate(hypotheses):
            if score > float("-inf"):
                assert list(ids[: len(prefix)]) == prefix
                total = float(one_pass(networks[0], source, ids).sum())
                assert total == pytest.approx(float(found.log_probs_BK[row, rank]), abs=1e-6)


@every_decoder
def test_an_ensemble_writes_no_more_than_its_shortest_network_can(choice: str, more: dict[str, Any]) -> None:
    """Learned positions bound one to 6 tokens, another to 8; the third has no bound."""
    options = {"hidden_size": 8, "ffn_size": 12, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    networks = [network("rnn")]
    for positions in (8, 6):
        words = {**options, "positions": "learned", "max_positions": positions}
        model = make_choice("model", "transformer", words, source_vocab_size=SOURCE_WORDS, target_vocab_size=TARGET_WORDS)
        output = make_choice("output", "softmax", hidden_size=8, vocab_size=TARGET_WORDS)
        networks.append((model.double().eval(), output.double().eval()))
    decode = replace(decoder(choice, more), max_length_factor=0, max_length_offset=20)
    found = generate(networks, decode, random_batch(batch_size=12, max_source_length=5), SPECIALS)
    assert int(found.lengths_BK.max()) == 6


def test_a_decoding_choice_is_a_decoder() -> None:
    for choice in choices("decoding"):
        made = make_choice("decoding", choice)
        assert isinstance(made, Decoder) and made.outputs == 1
    assert BeamSearch() == make_choice("decoding", "beam")  # one default, written in two places
    assert replace(BeamSearch(), beam_size=1) == make_choice("decoding", "greedy")
    assert Sampling() == make_choice("decoding", "sample")
