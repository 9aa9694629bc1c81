"""seqgen generate, and the TextGenerator behind it: texts that begin with their prompt, whatever the batches."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import seqgen_cli
from seqgen_cli.checkpoints import manifest, writing
from seqgen_cli.checkpoints.weights import network_weights
from seqgen_cli.cli.main import main
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.tokenizers.pair import save_pair
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.decoding.beam import BeamSearch
from seqgen_cli.decoding.sample import Sampling
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.generate.generator import TextGenerator
from tests import corpus_files

MODELS = {
    "rnn_lm": ["model.hidden_size=16", "model.embedding_size=16"],
    "transformer_lm": ["model.hidden_size=16", "model.ffn_size=32", "model.heads=2", "model.layers=2"],
}
LEARNED = ["model.positions=learned", "model.max_positions=12"]
TEXTS = [target for _, target in corpus_files.sentences(12, 4)]
PROMPTS = ["", "the cat", TEXTS[0], "dogs", "   ", "the", *TEXTS[1:6]]

every_model = pytest.mark.parametrize("model", sorted(MODELS))


def tokenizer(seed: int = 0) -> Tokenizer:
    lines = [target for _, target in corpus_files.sentences(200, seed)]
    return Tokenizer(SentencePiece(vocab_size=60).train("target", lines)[0])


def save(folder: Path, model: str, more: list[str] | None = None, seed: int = 1, words: int = 0) -> Path:
    """A run with one checkpoint of a random language model that is far from indifferent."""
    config = config_of("train", [f"model={model}", *MODELS[model], *(more or [])])
    target = tokenizer(words)
    torch.manual_seed(seed)
    network, output = build.network(config, None, target.vocab_size)
    with torch.no_grad():
        output.weight.mul_(6.0)
        output.bias[target.eos] += 2.0
    writing.write(
        folder / "checkpoints" / "step-1",
        manifest.Manifest(1),
        weights=network_weights(network, output),
        state=None,
        config=config.values,
        save_tokenizers=lambda place: save_pair(place, None, target),
    )
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {model: save(tmp_path_factory.mktemp("generate") / model, model) for model in MODELS}


def loaded(run: Path, *overrides: str) -> TextGenerator:
    generator = seqgen_cli.load(run, list(overrides), device="cpu")
    assert isinstance(generator, TextGenerator)
    for network in generator.networks:
        for part in network:
            assert isinstance(part, torch.nn.Module)
            part.double()
    return generator


def generate(*arguments: str) -> int:
    return main(["generate", *arguments, "runtime.device=cpu"])


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool = False) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal(content), encoding="utf-8"))


@torch.no_grad()
def log_p(generator: TextGenerator, ids: list[int]) -> torch.Tensor:
    """log p of every word at every position of `<s>` and these ids, from one pass without any state: (T, V)."""
    model, output = generator.networks[0]
    inputs_1T = torch.tensor([[generator.target_tokenizer.bos, *ids]])
    hidden_1TD, _ = model.decode(model.embed(inputs_1T), model.encode(None))  # type: ignore[arg-type]
    return output.log_probs(hidden_1TD[0])


def most_probable(generator: TextGenerator, prompt: str, most: int) -> tuple[list[int], float]:
    """The ids that begin with the prompt's and go on with the best word at each step, and their log p."""
    vocabulary = generator.target_tokenizer
    ids = vocabulary.encode([prompt])[0].tolist()
    for _ in range(most):
        log_p_V = log_p(generator, ids)[-1]
        log_p_V[[vocabulary.pad, vocabulary.bos, vocabulary.unk]] = -torch.inf
        ids.append(int(log_p_V.argmax()))
        if ids[-1] == vocabulary.eos:
            break
    return ids, float(log_p(generator, ids)[range(len(ids)), ids].sum())


@every_model
def test_greedy_text_is_that_of_a_loop_over_the_best_words(model: str, runs: dict[str, Path]) -> None:
    generator = loaded(runs[model], "decoding=greedy", "max_length=9")
    ends = set()
    for prompt, generation in zip(PROMPTS, generator.generate(PROMPTS), strict=True):
        ids, log_prob = most_probable(generator, prompt.strip(), 9)
        (best,) = generation.n_best
        assert generation.text == generator.target_tokenizer.decode([ids])[0]
        assert (best.tokens, best.truncated) == (len(ids), ids[-1] != generator.target_tokenizer.eos)
        assert best.log_prob == pytest.approx(log_prob, abs=1e-6)
        assert generation.text.startswith(prompt.strip()) and len(ids) > len(generator.target_tokenizer.encode([prompt])[0])
        ends.add(best.truncated)
    assert ends == {True, False}


@every_model
def test_sampled_texts_have_the_log_probability_that_scoring_gives(model: str, runs: dict[str, Path]) -> None:
    generator = loaded(runs[model], "max_length=15")
    found, unlike, texts = 0, 0, set()
    for generation in generator.generate(PROMPTS, n=6):
        assert len(generation.texts) == 6
        texts.update(generation.texts)
        for text, scored in zip(generation.n_best, generator.score(generation.texts), strict=True):
            assert text.text.startswith(generation.prompt.strip())
            if not text.truncated and scored.tokens == text.tokens:
                same = scored.log_prob == pytest.approx(text.log_prob, abs=1e-5)
                found, unlike = found + same, unlike + (not same)
    assert len(texts) > 30 and found > 10 > 2 * unlike  # a text may be cut into other pieces than those it was drawn in


@every_model
def test_windows_batches_and_neighbours_change_nothing(model: str, runs: dict[str, Path]) -> None:
    generator = loaded(runs[model], "max_length=12")
    together = [generation.texts for generation in generator.generate(PROMPTS, n=3)]
    assert [generation.texts for generation in generator.stream(PROMPTS, 3, window=2)] == together
    generator.batch_tokens = 1
    assert [generation.texts for generation in generator.generate(PROMPTS, n=3)] == together
    nothing = [generation.text for generation in generator.generate([""] * 8)]
    assert len(set(nothing)) > 4  # a draw depends on the prompt's number
    assert nothing[0] == together[0][0]


def test_a_prompt_too_long_for_the_model_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text is what follows the last tokens that fit, after the whole prompt."""
    run = save(tmp_path / "run", "transformer_lm", LEARNED)
    generator = loaded(run, "decoding=greedy", "max_length=5")
    ids = generator.target_tokenizer.encode([" ".join(TEXTS)])[0]
    prompt = generator.target_tokenizer.decode([ids[:30]])[0]
    (generation, short) = generator.generate([prompt, "the cat"])
    assert generation.cut and not short.cut
    read = generator.target_tokenizer.encode([prompt])[0][-7:].tolist()
    words = list(read)
    while len(words) < 12 and words[-1] != generator.target_tokenizer.eos:
        log_p_V = log_p(generator, words)[-1]
        log_p_V[[generator.target_tokenizer.pad, generator.target_tokenizer.bos, generator.target_tokenizer.unk]] = -torch.inf
        words.append(int(log_p_V.argmax()))
    assert (
        generation.text == generator.target_tokenizer.decode([[*generator.target_tokenizer.encode([prompt])[0][:-7], *words]])[0]
    )
    assert generation.n_best[0].tokens == len(words)
    (unbounded,) = loaded(run, "decoding=greedy", "max_length=100", "decoding.min_length=90").generate([""])
    assert unbounded.n_best[0].tokens == 12 and unbounded.n_best[0].truncated
    assert generate("--ckpt", str(run), "--prompt", prompt, "--max-length", "5") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(prompt) and "1 from a prompt too long for the model, which read its end" in captured.err


def test_a_prompt_stands_in_its_text_as_it_was_given(runs: dict[str, Path]) -> None:
    """Unknown signs too, and only the model's part is the model's spelling."""
    generator = loaded(runs["rnn_lm"], "decoding=greedy")
    for prompt in ("the Ж cat", " the  cat "):
        (generation,) = generator.generate([prompt])
        assert generation.text.startswith(prompt.strip())
    assert generator.target_tokenizer.unk in generator.target_tokenizer.encode(["the Ж cat"])[0]


def test_ensembles_average_their_models(runs: dict[str, Path], tmp_path: Path) -> None:
    other = save(tmp_path / "other", "rnn_lm", seed=2)
    alone = [loaded(run).score(TEXTS) for run in (runs["rnn_lm"], other)]
    both = seqgen_cli.load([runs["rnn_lm"], other], device="cpu")
    assert isinstance(both, TextGenerator)
    for model, output in both.networks:
        model.double(), output.double()  # type: ignore[attr-defined]
    vocabulary = both.target_tokenizer
    for place, (text, together) in enumerate(zip(TEXTS, both.score(TEXTS), strict=True)):
        ids = [*vocabulary.encode([text])[0].tolist(), vocabulary.eos]
        each = []
        for network in both.networks:
            single = TextGenerator([network], vocabulary, Sampling(), both.runtime)
            each.append(log_p(single, ids)[range(len(ids)), ids])
        assert together.log_prob == pytest.approx(float(torch.stack(each).exp().mean(0).log().sum()), abs=1e-8)
        assert [scored[place].log_prob for scored in alone] == pytest.approx([float(one.sum()) for one in each], abs=1e-8)
    with pytest.raises(RequestError, match="different vocabularies"):
        seqgen_cli.load([runs["rnn_lm"], save(tmp_path / "stranger", "rnn_lm", words=9)], device="cpu")


def test_prompts_from_files_standard_input_and_nowhere(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt, generator = ["--ckpt", str(runs["rnn_lm"])], seqgen_cli.load(runs["rnn_lm"], device="cpu")
    assert isinstance(generator, TextGenerator)
    prompts = ["the cat", "", "dogs"]
    expected = [generation.text for generation in generator.generate(prompts)]
    (tmp_path / "in").write_text("\n".join(prompts), encoding="utf-8")
    assert generate(*ckpt, "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "window=1") == 0
    assert (tmp_path / "out").read_text(encoding="utf-8").split("\n") == [*expected, ""]
    capsys.readouterr()
    stdin(monkeypatch, "\n".join(prompts).encode())
    assert generate(*ckpt) == 0
    assert capsys.readouterr().out.split("\n") == [*expected, ""]
    for terminal in (True, False):  # nobody is asked: a text from nothing
        stdin(monkeypatch, b"", terminal)
        assert generate(*ckpt, "--n", "2") == 0
        captured = capsys.readouterr()
        assert captured.out.splitlines() == generator.generate([""], n=2)[0].texts
        assert "2 texts in" in captured.err
    (tmp_path / "in").write_text("", encoding="utf-8")
    assert generate(*ckpt, "--input", str(tmp_path / "in")) == 0
    assert capsys.readouterr().out == ""


def test_json_lines(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("--ckpt", str(runs["rnn_lm"]), "--prompt", "the", "dogs", "--n", "2", "--jsonl", "decoding=beam") == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    found = seqgen_cli.load(runs["rnn_lm"], ["decoding=beam"], device="cpu").generate(["the", "dogs"], n=2)  # type: ignore[union-attr]
    expected = [
        {"prompt": each.prompt, "text": text.text, "log_prob": text.log_prob, "tokens": text.tokens, "truncated": text.truncated}
        for each in found
        for text in each.n_best
    ]
    assert rows == expected and [row["prompt"] for row in rows] == ["the", "the", "dogs", "dogs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "seqgen generate needs --ckpt RUN"),
        (["--ckpt", "nowhere"], "nowhere does not exist"),
        (["--ckpt", "{run}", "--prompt", "a", "--input", "b"], "Give either --prompt TEXT or --input FILE."),
        (
            ["--ckpt", "{run}", "--n", "7", "decoding=beam", "--prompt", "a"],
            "decoding.n_best=7 is more than decoding.beam_size=5",
        ),
        (
            ["--ckpt", "{run}", "decoding.max_length_offset=9"],
            "decoding.max_length_offset does not bound generated texts: use max_l",
        ),
        (["--ckpt", "{run}", "--input", "{run}/in", "--output", "{run}/in"], "is the input itself"),
        (["--ckpt", "{run}", "--input", "missing"], "missing does not exist"),
        (["--ckpt", "{run}", "model=rnn"], "model cannot be set in seqgen generate: it comes from the checkpoint"),
    ],
)
def test_wrong_requests(runs: dict[str, Path], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["rnn_lm"]
    (run / "in").write_text("the\n", encoding="utf-8")
    assert generate(*[argument.format(run=run) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message.format(run=run) in error and "Traceback" not in error
    assert (run / "in").read_text(encoding="utf-8") == "the\n"


def test_each_command_says_which_one_is_for_a_checkpoint(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["rnn_lm"]
    for command in ("translate", "classify"):
        with pytest.raises(
            RequestError, match=rf"a language model, which has no source: it cannot {command}. Use seqgen generate"
        ):
            _open(command, run)
    from tests.cli.test_translate import save as save_translator

    translator = save_translator(tmp_path / "translator", seed=1)
    with pytest.raises(RequestError, match=r"holds a translation model: it cannot generate\. Use seqgen translate"):
        _open("generate", translator)


def _open(command: str, run: Path) -> None:
    from seqgen_cli.tasks.classify.classifier import open_classifier
    from seqgen_cli.tasks.generate.generator import open_generator
    from seqgen_cli.tasks.translate.translator import open_translator

    runtime = config_of("translate").runtime
    {"translate": open_translator, "classify": open_classifier, "generate": open_generator}[command](run, runtime)


def test_a_model_in_training_stays_in_training(runs: dict[str, Path]) -> None:
    """Validation borrows the live model."""
    generator = loaded(runs["rnn_lm"])
    model = generator.networks[0][0]
    assert isinstance(model, torch.nn.Module)
    expected = [generation.text for generation in generator.generate(PROMPTS)]
    model.train()
    assert [generation.text for generation in generator.generate(PROMPTS)] == expected
    assert all(module.training for module in model.modules())


def test_the_decoder_s_own_bounds_count_the_prompt_as_the_source(runs: dict[str, Path]) -> None:
    """At most factor * prompt + offset tokens, where no greatest length is given in their place."""
    networks = loaded(runs["rnn_lm"]).networks
    decoder = BeamSearch(beam_size=1, max_length_factor=1.5, max_length_offset=4, min_length=999)
    generator = TextGenerator(networks, tokenizer(), decoder, config_of("generate").runtime)
    for prompt, generation in zip(PROMPTS, generator.generate(PROMPTS), strict=True):
        length = len(np.asarray(tokenizer().encode([prompt.strip()])[0]))
        assert generation.n_best[0].tokens == max(int(1.5 * length) + 4, length + 1)
