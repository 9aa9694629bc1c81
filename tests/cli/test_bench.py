"""seqgen bench: its counts against closed forms, its figures against each other."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from seqgen_cli.bench import model as bench_model
from seqgen_cli.bench import objective as bench_objective
from seqgen_cli.bench import output as bench_output
from seqgen_cli.bench.material import material, networks_of
from seqgen_cli.bench.synthetic import SyntheticWords
from seqgen_cli.commands import bench
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics import scoring
from seqgen_cli.runtime import meters
from seqgen_cli.runtime.meters import Stopwatch, section
from tests.contracts.test_updates import WARM_UP
from tests.helpers import choices

TINY = [
    "synthetic.source_vocab_size=40",
    "synthetic.target_vocab_size=30",
    "synthetic.sentences=60",
    "synthetic.mean_length=6",
    "batching.max_tokens=100",
    "bench.warmup=1",
    "bench.steps=3",
    "bench.sentences=4",
]
SMALL = {
    "rnn": ["model.hidden_size=16", "model.embedding_size=16"],
    "attention": ["model.hidden_size=16", "model.embedding_size=16"],
    "transformer": ["model.hidden_size=16", "model.ffn_size=32"],
    "rnn_lm": ["model.hidden_size=16", "model.embedding_size=16", "output=huffman_tree"],
    "transformer_lm": ["model.hidden_size=16", "model.ffn_size=32", "output=nce", "output.samples=9"],
}


def composed(*overrides):
    return config_of("bench", [*TINY, *overrides])


def material_of(config):
    return material(config, build.start_runtime(config))


def test_the_reference_rnn_has_25_428_800_parameters():
    config = config_of("bench", ["model=rnn", "parameters_only=true"])
    figures = bench.run(config)
    assert (figures["parameters"], figures["trainable_parameters"]) == (25_428_800, 25_428_800)


def test_shared_parameters_count_once():
    counts = {
        tied: bench.run(composed("model.hidden_size=16", f"output.tied={tied}", "parameters_only=true"))["parameters"]
        for tied in ("true", "false")
    }
    assert counts["false"] - counts["true"] == 30 * 16


@pytest.mark.parametrize("model", sorted(set(choices("model")) & set(SMALL)))
def test_figures_of_each_model_agree_with_each_other(model, capsys):
    config = composed(f"model={model}", *SMALL[model])
    figures = json.loads(json.dumps(bench.run(config)))
    low, high = figures["train_tokens_per_second_quartiles"]
    assert 0 < low <= figures["train_tokens_per_second"] <= high
    assert figures["matmul_share"] == figures["train_flops_per_second"] / figures["matmul_flops_per_second"]
    assert 0 < figures["matmul_share"] < 1
    assert figures["relative_to_mle"] == 1.0 == pytest.approx(sum(figures["time"].values()))
    assert figures["time"]["update"] > 0
    assert figures["greedy_sentences_per_second"] > 0 and figures["beam_sentences_per_second"] > 0
    mean = material_of(config).dataset.target_lengths_n.mean()
    assert figures["decode_length"] == round(float(mean))
    printed, kind = capsys.readouterr().out, "sentences" if model.endswith("_lm") else "pairs"
    assert "beam 5, sentences/s" in printed and f"{figures['parameters']:,}" in printed and f"60 synthetic {kind}" in printed
    assert ("source tokens/s" in printed) == (figures["train_source_tokens_per_second"] > 0) == (kind == "pairs")


def test_operations_of_a_step_are_six_for_each_weight_and_position():
    """An LSTM encoder-decoder is matrix products alone: forward, and backward for input and weight, 2 operations each."""
    config = composed("model=rnn", *SMALL["rnn"])
    reads = material_of(config)
    batch = reads.dataset.batch(np.arange(8))
    parameters = dict(networks_of(config, reads, torch.device("meta")).model.named_parameters())
    size = {
        side: sum(p.numel() for name, p in parameters.items() if name.startswith(side) and p.ndim == 2 and "embed" not in name)
        for side in ("encoder", "decoder")
    }
    expected = 6 * (
        size["encoder"] * batch.source_BS.numel() + size["decoder"] * batch.targets_BT.numel() + 30 * 16 * len(batch.targets_N)
    )
    assert min(size.values()) > 0
    np.testing.assert_allclose(bench_model.step_flops(config, reads, [batch]), [expected], rtol=0.05)


def test_operations_are_those_of_the_updates_that_are_due():
    """A warm-up's steps cost the critic's alone, the later ones maximum likelihood besides."""
    plain, both = (
        composed(*SMALL["transformer"]),
        composed(*SMALL["transformer"], "objective._target_=tests.contracts.test_updates.WarmedUp"),
    )
    reads = material_of(plain)
    batches = [reads.dataset.batch(np.arange(8))] * 2
    (mle, _), (early, late) = (
        bench_model.step_flops(plain, reads, batches),
        bench_model.step_flops(both, reads, batches, WARM_UP - 1),
    )
    assert 0 < early < mle and late == early + mle


def test_rates_follow_from_the_times_of_the_steps_after_warm_up(monkeypatch):
    seconds = iter([1.0, 2.0, 4.0])
    monkeypatch.setattr(bench_model, "timed", lambda work, device: (work(), next(seconds))[1])
    config = composed(*SMALL["transformer"], "bench.sentences=0")
    figures = bench.run(config)
    reads = material_of(config)
    stream = TrainStream(reads.dataset, config.batching, config.seed)
    batches = list(itertools.islice(stream, 1, 4))
    targets, sources = (
        [int(getattr(batch, name).sum()) for batch in batches] for name in ("target_lengths_B", "source_lengths_B")
    )
    assert figures["step_seconds"] == 2.0
    assert figures["train_tokens_per_second"] == sorted(n / took for n, took in zip(targets, (1, 2, 4), strict=True))[1]
    assert figures["train_source_tokens_per_second"] == sum(sources) / 7
    assert figures["train_flops_per_second"] == sum(bench_model.step_flops(config, reads, batches)) / 7


@pytest.mark.parametrize("objective", ["reinforce", "minimum_risk"])
def test_an_objective_that_draws_outputs_is_measured_with_outputs_as_long_as_the_references(objective, monkeypatch, capsys):
    rewarded = []
    ask = scoring.ask
    monkeypatch.setattr(scoring, "ask", lambda reward, pairs: (rewarded.extend(pairs), ask(reward, pairs))[1])
    config = composed(*SMALL["transformer"], f"objective={objective}", "objective.samples=2", "bench.sentences=0")
    figures = bench.run(config)
    low, high = figures["relative_to_mle_low"], figures["relative_to_mle_high"]
    assert 0 < low <= figures["relative_to_mle"] <= high
    time = figures["time"]
    assert min(time.values()) > 0 and time["sampling"] > time["update"] and sum(time.values()) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert "share of the time, sampling" in printed and "at most a token after their references" in printed
    drawn = [(len(hypothesis.split()), len(reference.split())) for hypothesis, reference in rewarded]
    assert drawn and all(own <= reference + 2 for own, reference in drawn)  # </s> counts for a reference, and one more is allowed
    assert sum(own for own, _ in drawn) > 0.4 * sum(reference for _, reference in drawn)


def test_time_goes_to_the_section_that_asked_for_it_and_an_inner_ones_not_to_the_outer(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 7.0, 100.0, 108.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(clock))
    with section("nobody looks"):
        pass
    with Stopwatch(torch.device("cpu")) as watch:
        with section("outer"), section("inner"):
            pass
        with pytest.raises(KeyError), section("outer"):
            raise KeyError
    assert watch.seconds == {"outer": 1.0 + 4.0 + 8.0, "inner": 2.0}


class Loop:
    """Steps that are said to take these seconds; of each, half a second in a section."""

    def __init__(self, seconds):
        self.seconds = itertools.cycle(seconds)

    def step(self):
        with section("sampling"):
            pass
        return next(self.seconds)


def test_an_objective_is_compared_with_mle_step_by_step(monkeypatch):
    monkeypatch.setattr(bench_objective, "timed", lambda work, device: work())
    own, mle = Loop([9.0, 2.0, 4.0, 8.0]), Loop([9.0, 1.0, 1.0, 1.0])  # the first is warm-up
    figures = bench_objective.beside_mle(own, mle, 1, 3, torch.device("cpu"))
    assert (figures["updates_per_second"], figures["mle_updates_per_second"], figures["relative_to_mle"]) == (0.25, 1.0, 0.25)
    assert (figures["relative_to_mle_low"], figures["relative_to_mle_high"]) == (0.1875, 0.375)


def test_shares_of_the_time_add_up(monkeypatch):
    clock = itertools.count(step=0.5)
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(bench_objective, "timed", lambda work, device: work())
    time = bench_objective.shares(Loop([2.0]), 5, torch.device("cpu"))
    assert time == {"sampling": 0.25, "rewards": 0.0, "forward_backward": 0.75, "update": 0.0}


def test_synthetic_sentences_have_texts_of_words_that_differ():
    words = SyntheticWords(9000)
    (text,) = words.decode([[2, *range(4, 9000), 3, 0]])
    assert len(set(text.split())) == 8996
    assert words.decode([[2, 4, 5, 83, 84, 5, 3, 0], []]) == ["ba be zu baba be", ""]


def test_every_output_has_the_length_asked_for(monkeypatch):
    seen = []
    generate = bench_model.generate
    monkeypatch.setattr(bench_model, "generate", lambda *given: seen.append(generate(*given)))
    bench.run(composed(*SMALL["transformer"], "bench.decode_length=9", "bench.steps=1"))
    assert len(seen) == 4  # greedy and beam, each once to warm up
    assert all((hypotheses.lengths_BK == 9).all() for hypotheses in seen)


def test_batches_of_a_data_set(tmp_path):
    for side in ("ja", "en"):
        lines = [" ".join(np.random.default_rng(i).choice(list("abcdefgh"), size=5)) for i in range(50)]
        (tmp_path / f"train.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = bench.run(
        composed(
            *SMALL["transformer"],
            "data=text",
            f"data.train={tmp_path}/train",
            "data.source_language=ja",
            "data.target_language=en",
            "tokenizer.vocab_size=14",
            f"runtime.cache_folder={tmp_path}/cache",
            "bench.sentences=0",
        )
    )
    assert figures["train_tokens_per_second"] > 0
    assert "greedy_sentences_per_second" not in figures


def test_a_classifier_is_timed_in_texts_and_its_encoding_by_itself(monkeypatch, tmp_path, capsys):
    pytest.importorskip("transformers")
    seconds = itertools.cycle([1.0, 2.0, 4.0])
    monkeypatch.setattr(bench_model, "timed", lambda work, device: (work(), next(seconds))[1])
    words = ["model=bert_gru", "model.encoder=tiny", "model.gru_hidden=4", "model.max_length=12"]
    words += ["data=mini_reviews", "data.train_size=50"]
    words += ["data.valid_size=2", "data.test_size=2", "batching.sentences=8", "bench.warmup=1", "bench.steps=3"]
    config = config_of("bench", [*words, f"runtime.cache_folder={tmp_path}", "runtime.device=cpu"])
    figures, again = bench.run(config), bench.run(config)
    stream = TrainStream(material_of(config).dataset, config.batching, config.seed)
    batches = list(itertools.islice(stream, 1, 4))
    assert (
        figures["train_texts_per_second"] == sorted(len(batch) / took for batch, took in zip(batches, (1, 2, 4), strict=True))[1]
    )
    assert figures["train_source_tokens_per_second"] == sum(int(batch.source_lengths_B.sum()) for batch in batches) / 7
    printed = capsys.readouterr().out
    for line in ("training, texts/s", "training, word pieces/s", "encoding once, word pieces/s", "word pieces; 2 classes"):
        assert line in printed
    assert "tokens" not in printed and "sentences/s" not in printed
    assert (
        figures["encode_tokens_per_second"] > 0 and "encode_tokens_per_second" not in again
    )  # kept for the second, and for runs
    # Read from what was encoded, the encoder's products are not among a step's operations.
    encoded, anew = (
        bench.run(config_of("bench", [*words, "bench.steps=1", f"data.features={kept}"])) for kept in ("memory", "none")
    )
    assert encoded["train_flops_per_second"] < anew["train_flops_per_second"] / 2


def test_the_output_layer_alone_beside_plain_softmax(capsys):
    alone = ["layer.vocab_sizes=[64,512]", "layer.positions=16", "layer.hidden_size=8", "layer.repeats=1"]
    figures = json.loads(json.dumps(bench.run(composed("output=huffman_tree", *alone))))
    layer, plain = figures["layer"], figures["plain"]
    for measured in (layer, plain):
        for key in ("pass_seconds", "update_seconds", "topk_seconds", "sample_seconds", "peaked_topk_seconds"):
            assert len(measured[key]) == 2 and min(measured[key]) > 0
    first, last = layer["pass_seconds"]
    np.testing.assert_allclose(figures["growth"]["pass"], np.log(last / first) / np.log(8), rtol=1e-9)
    np.testing.assert_allclose([figures["pass_ms"]["64"], figures["pass_ms"]["512"]], [1e3 * first, 1e3 * last])
    np.testing.assert_allclose(layer["peaked_entropy_bits"], [4.0, 4.0], atol=0.05)
    share = last / plain["pass_seconds"][1]
    np.testing.assert_allclose(figures["share"]["pass"], share)
    printed = capsys.readouterr().out
    assert f"({share:.3f})" in printed and "grows as V to the" in printed and "16 positions of width 8" in printed
    assert "the peaked ones 4.0" in printed


def test_the_output_layer_alone_under_an_optimizer_without_a_form_by_rows(capsys):
    alone = ["layer.vocab_sizes=[64]", "layer.positions=16", "layer.hidden_size=8", "layer.repeats=1", "layer.search_k=0"]
    figures = bench.run(composed("output=huffman_tree", "optimizer=sgd", "layer.reference=false", *alone))
    assert figures["layer"]["update_seconds"][0] > 0
    with pytest.raises(RequestError, match=r"output\.tied=true shares an embedding"):
        bench.run(composed("output=importance", "output.tied=true", *alone))


def test_the_growth_law_is_the_exponent_of_a_power():
    sizes = [8192, 32768, 131072, 524288]
    np.testing.assert_allclose(bench_output.growth(sizes, [3e-3 * size**0.5 for size in sizes]), 0.5, rtol=1e-9)


@pytest.mark.parametrize("choice", ["softmax", "binary_tree", "class_softmax"])
def test_peaked_distributions_have_the_entropy_asked_for_and_favour_their_targets(choice):
    """Entropy by scipy on every position that is looked at."""
    torch.manual_seed(0)
    layer = build.output_layer(choice, hidden_size=64, vocab_size=300, counts=np.arange(300) + 1)
    hidden_ND, target_N = torch.randn(32, 64), torch.arange(32) * 9
    vectors_ND = bench_output.peaked(layer, hidden_ND, target_N, 2.0)
    p_NV = layer.log_probs(vectors_ND).exp().detach().double().numpy()
    assert entropy(p_NV, base=2, axis=1).mean() == pytest.approx(2.0, abs=0.01)
    assert (p_NV[np.arange(32), target_N] > 0.2).mean() > 0.8
