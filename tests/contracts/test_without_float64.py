"""All that a run does on a device without float64, such as a Mac's GPU: on the CPU, under a mode that refuses it as that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqgen_cli.bench.synthetic import SyntheticWords
from seqgen_cli.cli.main import main
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.config.listing import read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import generate, predict
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.outputs.base import Draw
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.optimizers import Adam
from seqgen_cli.training.schedules import Constant
from tests.helpers import BOS, EOS, PAD, UNK, choices, random_batch, random_texts

SIZES = ["hidden_size=8", "embedding_size=6", "ffn_size=12", "heads=2", "encoder=tiny", "gru_hidden=4"]
MODELS, OUTPUTS = choices("model"), choices("output")
COMBINATIONS = [
    *((model, "sigmoid" if model == "bert_gru" else "softmax", "mle") for model in MODELS),
    *(("rnn_lm", output, "mle") for output in OUTPUTS if output != "sigmoid"),
    *((model, "class_softmax", objective) for objective in choices("objective") for model in ("attention", "transformer")),
]
"""Every model, every output layer and every objective."""
HALF = ["objective/decay=constant", "objective.decay.value=0.5"]
MIXINGS = [
    (model, "softmax", "scheduled_sampling", [*HALF, f"objective.mixing={mixing}"])
    for model in ("attention", "transformer")
    for mixing in ("argmax", "sampled", "gumbel", "expected")
]


class RefusesFloat64(TorchDispatchMode):
    """No tensor is made in float64, or turned into it."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in tree_leaves((args, found))):
            raise TypeError(f"{function}: this device has no float64")
        return found


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"cpu", "meta", "mps"})
    with RefusesFloat64():
        yield


def composed(model: str, output: str, objective: str, *more: str) -> Any:
    sizes = [f"model.{key}" for key in SIZES if key.partition("=")[0] in read_settings(f"model/{model}")]
    sizes += ["output.samples=5"] if "samples" in read_settings(f"output/{output}") else []
    return config_of("train", [f"model={model}", f"output={output}", f"objective={objective}", *sizes, *more])


def made(config: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(2)
    classes = 2 if config.choices["model"] == "bert_gru" else 13
    model, output = build.network(config, 11, classes, torch.arange(classes, device="cpu"))
    return model, output, build.objective(config, model, output, SyntheticWords(13), "en")


def batches(config: Any) -> list[Any]:
    return [random_texts(seed) if config.choices["model"] == "bert_gru" else random_batch(seed) for seed in range(2)]


def label(value: Any) -> str:
    return str(value)


def trained_and_evaluated(config: Any) -> tuple[dict[str, float], dict[str, float]]:
    objective = made(config)[2]
    runtime = Runtime(device="cpu")
    loop = Loop(objective.updates(Adam(lr=1e-3).make), iter(batches(config) * 2), runtime, Constant(), seed=1, clip_norm=1.0)
    for _ in range(3):
        loop.step()
    objective.eval()
    sums = objective.evaluate(batches(config)[0])
    return loop.take_figures() | {"seen": float(next(iter(loop.totals.values())))}, {key: float(sums[key]) for key in sums}


@pytest.mark.parametrize(("model", "output", "objective", "more"), [*((*each, []) for each in COMBINATIONS), *MIXINGS], ids=label)
def test_training_and_validation_give_the_same_figures(
    monkeypatch, model: str, output: str, objective: str, more: list[str]
) -> None:
    """Without dropout. Draws have fewer bits there, the highest of those that they have elsewhere: the same words are drawn."""
    own = read_settings(f"model/{model}")
    still = [f"model.{each}=0" for each in ("dropout", "attention_dropout", "activation_dropout") if each in own]
    config = composed(model, output, objective, *still, *more)
    wide = trained_and_evaluated(config)
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"cpu"})
    with RefusesFloat64():
        single = trained_and_evaluated(config)
    for ours, theirs in zip(single, wide, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("model", "output", "objective"), [each for each in COMBINATIONS if each[2] == "mle"], ids=label)
def test_scoring_sampling_and_search_give_the_same(monkeypatch, model: str, output: str, objective: str) -> None:
    if model == "bert_gru":
        pytest.skip("it generates nothing")
    config = composed(model, output, objective)
    network = made(config)[:2]
    for each in network:
        each.eval()
    batch, specials, limits = random_batch(), Specials(PAD, UNK, BOS, EOS), {"max_length_factor": 0.0, "max_length_offset": 6}
    decoders = [part({**read_settings(f"decoding/{name}"), **limits}, "decoding", {})() for name in ("greedy", "beam")]
    sampling = read_settings("decoding/sample")
    samplers = [
        part({**sampling, **limits, "samples": 4, **cut}, "decoding", {})() for cut in ({}, {"temperature": 0.7, "top_p": 0.9})
    ]

    def decoded() -> list[Any]:
        found = [generate([network], decoder, batch, specials) for decoder in decoders]
        for sampler in samplers:
            generate([network], sampler, batch, specials)
        with torch.no_grad():
            return [*((each.ids_BKT, each.scores_BK) for each in found), (predict([network], batch).score(batch.targets_N),)]

    wide = decoded()
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"cpu"})
    with RefusesFloat64():
        single = decoded()
    for ours, theirs in zip(single, wide, strict=True):
        assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("model", "output", "objective"), COMBINATIONS, ids=label)
def test_training_runs_on_the_meta_device(single: None, model: str, output: str, objective: str) -> None:
    config = composed(model, output, objective)
    with torch.device("meta"):
        objective_of = made(config)[2]
    batch = batches(config)[0].to("meta")
    for update in objective_of.updates(lambda named: torch.optim.SGD([parameter for _, parameter in named], lr=0.1)):
        loss = update.module(batch, Progress(0, Key.of(1, 0)))
        terms = list(loss.terms.values())
        torch.stack(terms).sum().backward()
        assert all(term.dtype == torch.float32 for term in terms)
        assert any(parameter.grad is not None for parameter in objective_of.parameters())


@pytest.mark.parametrize("bits", [lambda count: 0, lambda count: 2**count - 1], ids=["lowest", "highest"])
def test_no_number_drawn_is_0_or_1(single: None, monkeypatch, bits: Any) -> None:
    monkeypatch.setattr(Key, "high_bits", lambda key, count, place: torch.full_like(place, bits(count)))
    assert 0 < float(Key.of("draws").uniform(torch.zeros(1, dtype=torch.int64))) < 1


@pytest.mark.parametrize("output", [output for output in OUTPUTS if output != "sigmoid"])
def test_words_drawn_in_float32_follow_the_distribution(single: None, output: str) -> None:
    """Every word within five standard deviations of its expected count, ids excluded and not."""
    layer = build.output_layer(output, hidden_size=4, vocab_size=40, counts=list(range(1, 41)))
    hidden_1D, draws = torch.randn(1, 4, generator=torch.Generator().manual_seed(1)) * 2, 100_000
    uniform_N = Key.of("draws").uniform(torch.arange(draws))
    assert uniform_N.dtype == torch.float32 and float(uniform_N.min()) > 0 and float(uniform_N.max()) < 1
    for excluded in ([], [3, 17, 39]):
        exclude_NX = torch.tensor(excluded, dtype=torch.int64).expand(draws, -1)
        word_N = layer.eval().sample(hidden_1D.expand(draws, -1), Draw(uniform_N, exclude_NX=exclude_NX))
        p_V = layer.log_probs(hidden_1D)[0].exp().tolist()
        p_V = np.array([0.0 if word in excluded else p for word, p in enumerate(p_V)])
        expected_V = draws * p_V / p_V.sum()
        counted_V = np.bincount(word_N.numpy(), minlength=40)
        assert (np.abs(counted_V - expected_V) <= 5 * np.sqrt(expected_V) + 1).all()
        assert (counted_V[excluded] == 0).all()


def test_counts_of_a_long_run_stay_exact(single: None) -> None:
    """float32 holds no odd number above 2^24."""
    config = composed("rnn_lm", "softmax", "mle")
    objective = made(config)[2]
    loop = Loop(objective.updates(Adam().make), iter(batches(config)), Runtime(device="cpu"), Constant(), seed=1)
    state = loop.state_dict()
    loop.load_state_dict({**state, "totals": {"tokens": 2.0**40 + 1}})
    loop.step()
    assert float(loop.totals["tokens"]) == 2**40 + 1 + batches(config)[0].targets_N.shape[0]


COMMON = [
    "runtime.device=cpu",
    "trainer.epochs=null",
    "trainer.steps=2",
    "trainer.ema_decay=0.9",
]
COMMON += ["trainer.evaluate_every=1", "trainer.tensorboard=false", "trainer.plots=false", "data.train_size=300"]
COMMON += ["data.valid_size=20", "data.test_size=20", "tokenizer.vocab_size=700", "batching.max_tokens=400"]
SMALL = ["model.hidden_size=16", "model.ffn_size=16", "decoding.max_length_factor=0", "decoding.max_length_offset=5"]
TEXTS = [
    "data=mini_reviews",
    "data.limit=60",
    "model.encoder=tiny",
    "trainer.epochs=null",
    "trainer.steps=2",
    "trainer.plots=false",
]


@pytest.mark.parametrize("task", ["translate", "generate", "classify"])
def test_the_commands_run_from_training_to_text(single: None, tmp_path: Path, capsys, monkeypatch, task: str) -> None:
    """What `make demo` does: train with validation, evaluate, score, and use, for each kind of model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.ja").write_text("駅はどこですか。\n犬が好きです。\n", encoding="utf-8")
    (tmp_path / "a.en").write_text("Where is the station?\nI like dogs.\n", encoding="utf-8")
    train = {
        "translate": ["model=transformer", *COMMON, *SMALL],
        "generate": ["model=transformer_lm", "output=huffman_tree", *COMMON, *SMALL],
        "classify": ["model=bert_gru", "runtime.device=cpu", *TEXTS],
    }[task]
    use = {
        "translate": ["translate", "--input", "a.ja", "decoding.max_length_factor=0", "decoding.max_length_offset=5"],
        "generate": ["generate", "--prompt", "the", "--n", "2", "max_length=5"],
        "classify": ["classify", "--text", "Not dull at all."],
    }[task]
    assert main(["train", *train, "--json", "trained.json"]) == 0
    run, on_cpu = json.loads((tmp_path / "trained.json").read_text())["run"], "runtime.device=cpu"
    assert main(["eval", "--ckpt", run, on_cpu, *([] if task == "classify" else ["limit=5"])]) == 0
    assert main([use[0], "--ckpt", run, on_cpu, *use[1:]]) == 0
    if task == "translate":
        assert main(["score", "--ckpt", run, "--source", "a.ja", "--target", "a.en", on_cpu]) == 0
    said = capsys.readouterr()
    assert "float64" not in said.err and said.out.strip()
