"""seqgen translate, and the Translator behind it: lines in, as many lines out, whatever they are."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

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
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.ensemble import Hypothesis
from seqgen_cli.tasks.lines import decoded_lines
from seqgen_cli.tasks.translate.translator import Translation, Translator, _assembled, open_translator
from tests import corpus_files

SMALL = ["model.hidden_size=16", "model.ffn_size=32", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=2"]
RECURRENT = ["model=rnn", "model.hidden_size=16", "model.embedding_size=16", "model.layers=1"]
LINES = [source for source, _ in corpus_files.sentences(30, 4)]


def tokenizer(side: int, seed: int) -> Tokenizer:
    lines = [pair[side] for pair in corpus_files.sentences(200, seed)]
    return Tokenizer(SentencePiece(vocab_size=60).train("joint", lines)[0])


def save(folder: Path, seed: int, overrides: list[str] = SMALL, words: tuple[int, int] = (0, 0)) -> Path:
    """A run with one checkpoint of a random model that is far from indifferent; `words` names its vocabularies."""
    config = config_of("train", overrides)
    source, target = (tokenizer(side, of_side) for side, of_side in enumerate(words))
    torch.manual_seed(seed)
    model, output = build.network(config, source.vocab_size, target.vocab_size)
    with torch.no_grad():
        output.weight.mul_(6.0)
        output.bias[target.eos] += 1.0
    writing.write(
        folder / "checkpoints" / "step-1",
        manifest.Manifest(1),
        weights=network_weights(model, output),
        state=None,
        config=config.values,
        save_tokenizers=lambda place: save_pair(place, source, target),
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("translate") / "run", seed=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("translate") / "other=run, 2", seed=2)


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return seqgen_cli.load(run, device="cpu")


def translate(*arguments: str) -> int:
    return main(["translate", *arguments, "runtime.device=cpu"])


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool = False) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal(content), encoding="utf-8"))


def test_file_to_file_keeps_every_line(run: Path, translator: Translator, tmp_path: Path) -> None:
    lines = ["", *LINES[:5], "   ", "\u3000", *LINES[5:], "あ\u2028い", ""]
    source, target = tmp_path / "a.ja", tmp_path / "a.en"
    source.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    assert translate("--ckpt", str(run), "--input", str(source), "--output", str(target)) == 0
    outputs = target.read_bytes().decode().split("\n")
    assert outputs.pop() == "" and len(outputs) == len(lines)
    translations = translator.translate(lines)
    assert outputs == [translation.text for translation in translations]
    assert [translation.parts for translation in translations] == [int(line.strip() != "") for line in lines]
    assert all(output == "" for line, output in zip(lines, outputs, strict=True) if not line.strip())
    assert sum(output != "" for output in outputs) > 20


def test_standard_input_to_standard_output(
    run: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, "\n".join(LINES[:3]).encode())  # no line end after the last
    assert translate("--ckpt", str(run)) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [translation.text for translation in translator.translate(LINES[:3])]
    assert "3 lines in" in captured.err


def test_a_terminal_is_prompted_line_by_line(
    run: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    plain = Translator._translate

    def watched(self: Translator, lines: Any, *rest: Any) -> Any:
        asked.append(len(lines))
        return plain(self, lines, *rest)

    monkeypatch.setattr(Translator, "_translate", watched)
    stdin(monkeypatch, "\n".join(LINES[:3]).encode(), terminal=True)
    assert translate("--ckpt", str(run)) == 0
    captured = capsys.readouterr()
    assert captured.err.count("> ") == 4 and asked == [1, 1, 1]
    assert captured.out.splitlines() == [translation.text for translation in translator.translate(LINES[:3])]


def test_windows_and_batches_change_nothing(run: Path, translator: Translator) -> None:
    lines = [*LINES[:12], "", *LINES[11::-1]]
    expected = [translation.text for translation in translator.translate(lines)]
    assert len(set(expected)) > 10
    assert [translation.text for translation in translator.stream(lines, window=7)] == expected
    one_by_one = Translator(
        translator.networks, translator.source_tokenizer, translator.target_tokenizer, translator.decoder, translator.runtime, 1
    )
    assert [translation.text for translation in one_by_one.translate(lines)] == expected


def test_sampling_draws_by_line_number(run: Path) -> None:
    drawn = seqgen_cli.load(run, ["decoding=sample", "decoding.samples=3"], device="cpu")
    lines = [LINES[0]] * 6
    together = [[h.text for h in translation.n_best] for translation in drawn.translate(lines)]
    assert len({tuple(texts) for texts in together}) == 6 and len(set(together[0])) == 3
    assert [[h.text for h in translation.n_best] for translation in drawn.stream(lines, window=2)] == together


def test_equal_parts_of_a_line_are_drawn_apart(run: Path) -> None:
    """One line in five parts, most of them alike: greedy search repeats itself, samples do not."""

    def repeats(decoding: str) -> bool:
        translator = seqgen_cli.load(run, [f"decoding={decoding}", "max_source_tokens=9"], device="cpu")
        (translation,) = translator.translate(["あ" * 32])
        assert translation.parts == 5
        return any(translation.text.count(translation.text[i : i + 40]) > 1 for i in range(len(translation.text) - 40))

    assert repeats("greedy") and not repeats("sample")


@pytest.mark.parametrize("decoding", ["beam", "sample"])
def test_outputs_begin_as_asked(run: Path, tmp_path: Path, decoding: str) -> None:
    """A prefix belongs to its line whatever the batches, to the first part of a long line, and to no empty line."""
    lines = [*LINES[:4], "", "あい。" * 40]
    prefixes = ["the cat", "", "dogs", "a", "cat", "the dog"]
    translator = seqgen_cli.load(run, [f"decoding={decoding}", "max_source_tokens=60"], device="cpu")
    free = [translation.text for translation in translator.translate(lines)]
    forced = [translation.text for translation in translator.translate(lines, prefixes=prefixes)]
    assert [text.startswith(prefix) for text, prefix in zip(forced, prefixes, strict=True)] == [True] * 4 + [False, True]
    assert not any(text.startswith(prefixes[0]) for text in free)
    assert forced[1] == free[1] and forced[4] == "" and forced[5][-20:] == free[5][-20:]
    for name, texts in (("a.ja", lines), ("a.en", prefixes)):
        (tmp_path / name).write_text("\n".join(texts), encoding="utf-8")
    files = ["--input", str(tmp_path / "a.ja"), "--prefix", str(tmp_path / "a.en"), "--output", str(tmp_path / "out.en")]
    settings = [f"decoding={decoding}", "max_source_tokens=60", "window=2", "runtime.device=cpu"]
    assert translate("--ckpt", str(run), *files, *settings) == 0
    assert (tmp_path / "out.en").read_text(encoding="utf-8").split("\n") == [*forced, ""]


def test_prefixes_for_other_lines_are_refused(translator: Translator) -> None:
    for prefixes, problem in (["a"], "fewer"), (["a", "b", "c"], "more"):
        with pytest.raises(RequestError, match=rf"{problem} prefixes than lines \({min(2, len(prefixes))}\)"):
            translator.translate(LINES[:2], prefixes=prefixes)


def test_several_outputs_are_a_table(run: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a.ja", tmp_path / "a.tsv"
    source.write_text("\n".join([LINES[0], "", LINES[1]]), encoding="utf-8")
    assert (
        translate(
            "--ckpt", str(run), "--input", str(source), "--output", str(target), "decoding.n_best=3", "decoding.beam_size=4"
        )
        == 0
    )
    rows = [line.split("\t") for line in target.read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] + ["3"] * 3
    expected = seqgen_cli.load(run, ["decoding.n_best=3", "decoding.beam_size=4"], device="cpu").translate(
        [LINES[0], "", LINES[1]]
    )
    hypotheses = [hypothesis for translation in expected for hypothesis in translation.n_best]
    assert [row[2] for row in rows] == [hypothesis.text for hypothesis in hypotheses]
    assert [float(row[1]) for row in rows] == pytest.approx([hypothesis.score for hypothesis in hypotheses], abs=1e-4)


def test_over_long_lines_are_translated_in_parts(
    run: Path, translator: Translator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.ja", tmp_path / "a.en"
    source.write_text("\n".join(["あい。" * 500, LINES[0], "うえ" * 750]), encoding="utf-8")
    arguments = ["--ckpt", str(run), "--input", str(source), "--output", str(target), "max_source_tokens=60", "decoding=greedy"]
    assert translate(*arguments) == 0
    assert len(target.read_text(encoding="utf-8").split("\n")) == 4
    assert "2 over-long, translated in parts" in capsys.readouterr().err
    small = Translator(
        translator.networks,
        translator.source_tokenizer,
        translator.target_tokenizer,
        BeamSearch(beam_size=1),
        translator.runtime,
        max_source_tokens=60,
    )
    sentence = "あい。" * 10
    (whole,) = small.translate([sentence * 5])
    assert whole.parts > 1 and whole.tokens > small.translate([sentence])[0].tokens


def test_a_line_in_parts_is_cut_where_one_of_them_is() -> None:
    """And the rest adds up."""
    first = [Hypothesis("a", -1.0, -2.0, 3, truncated) for truncated in (True, False)]
    second = [Hypothesis("b", -4.0, -5.0, 6, False)] * 2
    wanted = tuple(Hypothesis("a b", -5.0, -7.0, 9, truncated) for truncated in (True, False))
    assert _assembled([first, second]) == Translation(wanted, 2)


def test_an_output_is_one_line_whatever_its_pieces_spell(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "decode", lambda self, rows: ["a\rb\nc" for _ in rows])
    assert [translation.text for translation in translator.translate(LINES[:2])] == ["a b c"] * 2


def test_bytes_that_are_not_utf8(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "a.ja", tmp_path / "a.en"
    source.write_bytes(b"\xef\xbb\xbf" + LINES[0].encode() + b"\n\xff\xfe\n" + LINES[1].encode() + b"\n")
    arguments = ["--ckpt", str(run), "--input", str(source), "--output", str(target)]
    assert translate(*arguments) == 0
    assert len(target.read_text(encoding="utf-8").split("\n")) == 4
    assert "1 not UTF-8, bad bytes replaced" in capsys.readouterr().err
    assert translate(*arguments, "invalid_utf8=error") == 2
    assert "line 2: not valid UTF-8 (byte 0xff at position 0)" in capsys.readouterr().err
    counts: Counter[str] = Counter()
    assert [*decoded_lines([b"a\xffb\r\n", b"c"], None, "replace", counts)] == ["a\ufffdb", "c"]
    assert counts == {"lines": 2, "invalid": 1}


def test_interruption_keeps_finished_lines(
    run: Path, translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.ja", tmp_path / "a.en"
    source.write_text("\n".join(LINES), encoding="utf-8")
    plain, calls, arrived = Translator._translate, [], ""

    def interrupted(self: Translator, lines: Any, *rest: Any) -> Any:
        nonlocal arrived
        calls.append(len(lines))
        if len(calls) == 3:
            arrived = target.read_text(encoding="utf-8")  # what would be there had the process been killed
            raise KeyboardInterrupt
        return plain(self, lines, *rest)

    expected = [translation.text for translation in translator.translate(LINES)]
    monkeypatch.setattr(Translator, "_translate", interrupted)
    assert translate("--ckpt", str(run), "--input", str(source), "--output", str(target), "window=8") == 130
    assert target.read_text(encoding="utf-8").splitlines() == arrived.splitlines() == expected[:16]


def test_a_reader_that_goes_away(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.ja"
    source.write_text("\n".join(LINES * 3), encoding="utf-8")
    command = f"'{sys.executable}' -m seqgen_cli translate --ckpt '{run}' --input '{source}' window=4 decoding=greedy | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stderr and "Error" not in done.stderr


def test_ensemble(run: Path, other: Path) -> None:
    """Two of the same are as one; two different ones score by their average distribution, word by word."""
    alone = seqgen_cli.load(run, device="cpu")
    twice = seqgen_cli.load([run, run], device="cpu")
    assert [t.text for t in twice.translate(LINES)] == [t.text for t in alone.translate(LINES)]
    both = open_translator([str(run), str(other)], alone.runtime)
    targets = ["the cat sees", ""]
    for target, found in zip(targets, both.score(LINES[:2], targets), strict=True):
        ids = [*both.target_tokenizer.encode([target])[0].tolist(), both.target_tokenizer.eos]
        source = both.source_tokenizer.encode([LINES[targets.index(target)]])[0]
        batch = both._batch([0], [source], [np.array(ids[:-1], dtype=np.int32)])
        with torch.no_grad():
            p_MT = [output.log_probs(model.hidden_states(batch))[range(len(ids)), ids].exp() for model, output in both.networks]
        assert found.log_prob == pytest.approx(float(torch.stack(p_MT).mean(0).log().sum()), abs=1e-4)
        assert (found.tokens, found.characters) == (len(ids), len(target))


def test_ensembles_from_the_command_line(run: Path, tmp_path: Path) -> None:
    source, targets = tmp_path / "a.ja", [tmp_path / "1.en", tmp_path / "2.en"]
    source.write_text("\n".join(LINES[:4]), encoding="utf-8")
    for target, ckpt in zip(targets, (f"{run}", f"{run},{run}"), strict=True):
        assert translate("--ckpt", ckpt, "--input", str(source), "--output", str(target)) == 0
    assert targets[0].read_text() == targets[1].read_text()


def test_a_folder_with_signs_in_its_name(other: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a b=c, 日本.ja", tmp_path / "out, 1.en"
    source.write_text(LINES[0], encoding="utf-8")
    assert translate("--ckpt", str(other), "--input", str(source), "--output", str(target)) == 0
    assert target.read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize("words", [(9, 0), (0, 9)])
def test_models_of_different_vocabularies_make_no_ensemble(run: Path, tmp_path: Path, words: tuple[int, int]) -> None:
    stranger = save(tmp_path / "stranger", seed=3, words=words)
    with pytest.raises(RequestError, match="different vocabularies"):
        seqgen_cli.load([run, stranger], device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --ckpt"),
        (["--ckpt", "nowhere"], "nowhere does not exist"),
        (["--ckpt", "{run}", "--input", "missing.ja"], "missing.ja does not exist"),
        (["--ckpt", "{run}", "--input", "{run}/in", "--output", "{run}/in"], "is the input itself"),
        (
            ["--ckpt", "{run}", "--input", "{run}/in", "--output", "{run}/no/out"],
            "--output {run}/no/out: its folder does not exist",
        ),
        (["--ckpt", "{run}", "--input", "{run}/in", "--prefix", "{run}/two"], "in has 1 line but {run}/two has 2"),
        (["--ckpt", "{run}", "--prefix", "missing.en"], "missing.en does not exist"),
        (["--ckpt", "{run}", "decoding.n_best=9"], "decoding.n_best=9 is more than decoding.beam_size=5"),
    ],
)
def test_wrong_requests(run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "in").write_text("あ\n", encoding="utf-8")
    (run / "two").write_text("a\nb", encoding="utf-8")
    assert translate(*[argument.format(run=run) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message.format(run=run) in error and "Traceback" not in error
    assert (run / "in").read_text(encoding="utf-8") == "あ\n"


def test_plots(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, f"{LINES[0]}\n\n{LINES[1]}\n".encode())
    drawn: dict[str, tuple[int, int]] = {}

    def draw(path: Path, source: list[str], target: list[str], weights_TS: np.ndarray) -> None:
        assert weights_TS.shape == (len(target), len(source)) and source[-1] == target[-1] == "</s>"
        assert np.allclose(weights_TS.sum(1), 1, atol=1e-5)
        drawn[path.name] = weights_TS.shape

    monkeypatch.setattr("seqgen_cli.tasks.translate.plots.alignment_plot", draw)
    assert translate("--ckpt", str(run), "--plot", str(tmp_path / "plots")) == 0
    assert sorted(drawn) == ["line-000001.png", "line-000003.png"]


def test_an_alignment_shows_as_much_of_a_source_as_is_translated_at_once(translator: Translator) -> None:
    whole = translator.alignments(LINES[:1])[0].source_pieces
    with pytest.MonkeyPatch.context() as patch:
        for bound in (len(whole), len(whole) - 1):
            patch.setattr(translator, "max_source_tokens", bound)
            (found,) = translator.alignments(LINES[:1], ["a b"])
            assert found.source_pieces == [*whole[: bound - 1], "</s>"] and found.weights_TS.shape[1] == bound


def test_a_model_without_attention_has_no_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, b"")
    recurrent = save(tmp_path / "rnn", 1, RECURRENT)
    assert translate("--ckpt", str(recurrent), "--plot", str(tmp_path / "plots")) == 2
    assert "model=attention or model=transformer" in capsys.readouterr().err


def test_a_model_in_training_stays_in_training(translator: Translator) -> None:
    """Validation borrows the live model: no dropout while it translates, its modes as before afterwards."""
    model = translator.networks[0][0]
    assert isinstance(model, torch.nn.Module)
    expected = [translation.text for translation in translator.translate(LINES)]
    model.train()
    model.encoder_layers.eval()
    modes = [module.training for module in model.modules()]
    assert [translation.text for translation in translator.translate(LINES)] == expected
    assert [module.training for module in model.modules()] == modes and any(modes) and not all(modes)
    model.eval()


def test_reported_scores(translator: Translator) -> None:
    """The score is log p over the length; log p is found again by scoring the text, where it is cut the same way."""
    found_again = 0
    for line, translation in zip(LINES, translator.translate(LINES), strict=True):
        best = translation.n_best[0]
        assert best.score == pytest.approx(best.log_prob / best.tokens, abs=1e-5)
        (again,) = translator.score([line], [best.text])
        if not best.truncated and again.tokens == best.tokens:
            found_again += again.log_prob == pytest.approx(best.log_prob, abs=1e-3)
    assert found_again > 0
