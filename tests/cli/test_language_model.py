"""A language model's life through the commands: trained, measured, scored, continued; on lines and on running text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqgen_cli
from seqgen_cli.checkpoints import finding, manifest
from seqgen_cli.cli.main import main
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.generate.generator import TextGenerator
from tests import corpus_files

TINY = [
    "model=rnn_lm",
    "model.hidden_size=16",
    "model.embedding_size=16",
    "model.layers=1",
    "data=text",
    "data.target_language=en",
    "tokenizer.vocab_size=60",
    "batching.max_tokens=400",
    "optimizer.lr=0.02",
    "schedule=constant",
    "trainer.epochs=null",
    "trainer.steps=12",
    "trainer.evaluate_every=6",
    "trainer.samples=3",
    "trainer.plots=false",
    "trainer.tensorboard=false",
]
BLOCK, CONTEXT = 11, 4


class Trained:
    """A run on files of its own, whose test lines hold a sign that the vocabulary does not know."""

    def __init__(self, folder: Path, *more: str) -> None:
        lines = {name: [target for _, target in corpus_files.sentences(count, count)] for name, count in SIZES.items()}
        lines["test"][3] += " Ж"
        for name, texts in lines.items():
            (folder / f"{name}.en").write_text("\n".join(texts) + "\n", encoding="utf-8")
        self.lines, self.folder = lines, folder
        self.runtime = ["runtime.device=cpu", f"runtime.cache_folder={folder}/cache"]
        data = [f"data.{name}={folder}/{name}" for name in lines]
        self.asked = ["train", *TINY, *data, *more, *self.runtime, f"runtime.runs_folder={folder}/runs"]
        assert main(self.asked) == 0
        (self.run,) = (folder / "runs").iterdir()
        self.generator = seqgen_cli.load(self.run, device="cpu")
        assert isinstance(self.generator, TextGenerator)

    def figures(self, command: str, *more: str) -> dict[str, Any]:
        place = self.folder / "figures.json"
        assert main([command, "--ckpt", str(self.run), "--json", str(place), *more, *self.runtime]) == 0
        figures: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return figures

    def encoded(self, split: str) -> list[list[int]]:
        vocabulary = self.generator.target_tokenizer
        return [[*ids.tolist(), vocabulary.eos] for ids in vocabulary.encode(self.lines[split])]

    @torch.no_grad()
    def log_p(self, inputs: list[int]) -> torch.Tensor:
        """log p of every word after each of these inputs: (T, V)."""
        model, output = self.generator.networks[0]
        hidden_1TD, _ = model.decode(model.embed(torch.tensor([inputs])), model.encode(None))  # type: ignore[arg-type]
        return output.log_probs(hidden_1TD[0]).double()


SIZES = {"train": 200, "valid": 20, "test": 23}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("lines"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("running"), f"data.block={BLOCK}", f"data.context={CONTEXT}", "model.residual=false")


def test_eval_is_stepping_through_each_line_alone(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    figures = trained.figures("eval")
    vocabulary = trained.generator.target_tokenizer
    nll_L, correct, rows = [], 0, trained.encoded("test")
    for ids in rows:
        log_p_TV = trained.log_p([vocabulary.bos, *ids[:-1]])
        nll_L.append(-float(log_p_TV[range(len(ids)), ids].sum()))
        correct += int((log_p_TV.argmax(-1) == torch.tensor(ids)).sum())
    tokens, characters = sum(map(len, rows)), sum(map(len, trained.lines["test"]))
    assert (figures["lines"], figures["target_tokens"], figures["target_characters"]) == (23, tokens, characters)
    assert figures["nll"] == pytest.approx(sum(nll_L) / tokens, rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(sum(nll_L) / tokens), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(sum(nll_L) / math.log(2) / characters, rel=1e-5)
    assert figures["accuracy"] == pytest.approx(correct / tokens, abs=1e-9)
    assert figures["unknown_rate"] == pytest.approx(1 / tokens, rel=1e-9)
    lengths_L = np.array([len(ids) for ids in rows])
    drawn = np.random.default_rng(5).integers(23, size=(20_000, 23))
    truth = np.quantile(np.array(nll_L)[drawn].sum(1) / lengths_L[drawn].sum(1), [0.025, 0.975])
    assert (figures["nll_low"], figures["nll_high"]) == pytest.approx(tuple(truth), abs=0.02)
    printed = capsys.readouterr().out
    assert "test, 23 lines" in printed and f"{1 / tokens:.3%}" in printed and "Unknown words count as one word" in printed
    assert trained.figures("eval", "limit=5", "metrics=language_model", "metrics.bootstrap=0")["nll"] == pytest.approx(
        sum(nll_L[:5]) / lengths_L[:5].sum(), rel=1e-5
    )


def test_eval_score_and_validation_agree(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    best = manifest.verify(finding.find(trained.run, print)).metrics
    figures = trained.figures("eval", "split=valid")
    assert (figures["nll"], figures["accuracy"]) == pytest.approx((best["nll"], best["accuracy"]), rel=1e-5)
    capsys.readouterr()
    totals = trained.figures("score", "--target", str(trained.folder / "valid.en"))
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 20 and sum(float(row[0]) for row in rows) == pytest.approx(totals["log_prob"], abs=1e-3)
    assert -totals["log_prob"] / totals["target_tokens"] == pytest.approx(best["nll"], rel=1e-5)
    assert main(["score", "--ckpt", str(trained.run), *trained.runtime, "--target", "a", "--source", "b"]) == 2
    (trained.folder / "b").write_text("x\n", encoding="utf-8")
    both = ["--target", str(trained.folder / "b"), "--source", str(trained.folder / "b")]
    assert main(["score", "--ckpt", str(trained.run), *trained.runtime, *both]) == 2
    assert "holds a language model, which reads no source: leave --source out" in capsys.readouterr().err


def test_a_few_texts_from_nothing_are_written_at_each_validation(trained: Trained) -> None:
    """Those that seqgen generate draws from the same weights, at the decoder's own greatest length."""
    names = sorted(path.name for path in (trained.run / "samples").iterdir())
    assert names == ["step-12.txt", "step-6.txt"]
    last = (trained.run / "samples" / "step-12.txt").read_text(encoding="utf-8").splitlines()
    generator = seqgen_cli.load(f"{trained.run}:last", ["max_length=20"], device="cpu")
    assert isinstance(generator, TextGenerator)
    assert last == [generation.text for generation in generator.generate([""] * 3)]
    assert len(set(last)) > 1


def test_the_same_command_finds_its_run_and_a_dry_run_says_what_it_costs(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained.run / "metrics.jsonl").read_text()
    assert main(trained.asked) == 0
    assert (trained.run / "metrics.jsonl").read_text() == before
    capsys.readouterr()
    assert main([*trained.asked, "--dry-run"]) == 0
    shown = {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}
    count = sum(parameter.numel() for part in trained.generator.networks[0] for parameter in part.parameters())  # type: ignore[attr-defined]
    assert shown["parameters"] == f"{count:,}"
    assert shown["train tokens"] == f"{sum(map(len, trained.encoded('train'))):,}"


def test_running_text_is_predicted_once_from_what_a_block_reads(running: Trained) -> None:
    figures = running.figures("eval", "metrics.bootstrap=0")
    vocabulary = running.generator.target_tokenizer
    stream = [token for ids in running.encoded("test") for token in ids]
    nll = 0.0
    for start in range(0, len(stream), BLOCK):
        end, first = min(start + BLOCK, len(stream)), max(0, start - CONTEXT)
        read = ([vocabulary.bos] if first == 0 else [stream[first - 1]]) + stream[first : end - 1]
        log_p_TV = running.log_p(read)[start - first :]
        nll -= float(log_p_TV[range(end - start), stream[start:end]].sum())
    assert figures["blocks"] == -(-len(stream) // BLOCK) and figures["target_tokens"] == len(stream)
    assert figures["nll"] == pytest.approx(nll / len(stream), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(nll / math.log(2) / sum(map(len, running.lines["test"])), rel=1e-5)
    assert "bits_per_character" not in running.figures("eval", "metrics.bootstrap=0", "limit=2")


def test_a_line_of_running_text_begins_after_the_end_of_another(running: Trained) -> None:
    """In scoring and in generating: `<s>` stands once in the whole training text, `</s>` before every line."""
    vocabulary, text = running.generator.target_tokenizer, running.lines["test"][0]
    ids = [*vocabulary.encode([text])[0].tolist(), vocabulary.eos]
    (scored,) = running.generator.score([text])  # type: ignore[union-attr]
    log_p_TV = running.log_p([vocabulary.eos, *ids[:-1]])
    assert scored.log_prob == pytest.approx(float(log_p_TV[range(len(ids)), ids].sum()), rel=1e-5)
    other = running.log_p([vocabulary.bos, *ids[:-1]])
    assert scored.log_prob != pytest.approx(float(other[range(len(ids)), ids].sum()), rel=1e-4)
    greedy = seqgen_cli.load(running.run, ["decoding=greedy", "decoding.min_length=1", "max_length=1"], device="cpu")
    first_V = log_p_TV[0].clone()
    first_V[[vocabulary.pad, vocabulary.bos, vocabulary.unk, vocabulary.eos]] = -math.inf
    assert greedy.generate()[0].text == vocabulary.decode([[int(first_V.argmax())]])[0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model=rnn_lm", "metrics=translation"],
            "model=rnn_lm reads no source; metrics=translation is for models that translate",
        ),
        (["model=rnn", "metrics=language_model"], "model=rnn reads a source; metrics=language_model is for language models. Use"),
        (["model=rnn_lm", "data=imdb"], "model=rnn_lm generates text; data=imdb is for models that classify. Use data="),
        (
            ["model=rnn_lm", "output=sigmoid"],
            "model=rnn_lm generates text; output=sigmoid is for models that classify. Use output=",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        config_of("train", arguments)


def test_embeddings_narrower_than_the_hidden_vectors_cannot_be_tied() -> None:
    with pytest.raises(RequestError, match=r"output\.tied=true needs embeddings as wide as the hidden vectors, but model=rnn_lm"):
        config_of("train", ["model=rnn_lm", "model.embedding_size=8", "model.hidden_size=16", "output.tied=true"])
