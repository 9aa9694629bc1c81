"""seqgen eval and seqgen score: likelihood against closed forms and stepping, quality against sacrebleu, files kept."""

import json
import logging
import math
import re
import shutil

import pytest
import sacrebleu
import torch

from seqgen_cli.checkpoints import manifest, writing
from seqgen_cli.checkpoints.weights import network_weights
from seqgen_cli.cli.main import main
from seqgen_cli.commands import eval as evaluation
from seqgen_cli.commands import score
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from seqgen_cli.data.tokenizers.pair import save_pair
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.nearest_copy import nearest_copy_bleu
from seqgen_cli.tasks.translate.translator import open_translator
from tests import corpus_files

TINY_RUN = ["model.hidden_size=16", "model.ffn_size=32", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=1"]


class Run:
    """An untrained model saved as a run, with its text."""

    def __init__(self, folder, uniform):
        prefixes = {
            name: corpus_files.write(folder / name, corpus_files.sentences(n, n)) for name, n in (("train", 200), ("test", 23))
        }
        prefixes["valid"] = corpus_files.write(folder / "valid", corpus_files.sentences(7, 7))
        data = [f"data.{name}={prefix}" for name, prefix in prefixes.items()]
        languages = ["data=text", "data.source_language=ja", "data.target_language=en", "tokenizer.vocab_size=60"]
        self.runtime = ["runtime.device=cpu", f"runtime.cache_folder={folder}/cache"]
        config = config_of("train", [*languages, *data, *TINY_RUN, *self.runtime])
        prepared = build.prepared(config)
        self.source, self.target = prepared.source_tokenizer, prepared.target_tokenizer
        torch.manual_seed(5)
        self.model, self.output = build.network(config, self.source.vocab_size, self.target.vocab_size)
        with torch.no_grad():
            for parameter in self.output.parameters():
                parameter.mul_(0.0 if uniform else 8.0)  # all words alike, or far from alike
        self.pairs = corpus_files.sentences(23, 23)
        self.checkpoint = writing.write(
            folder / "run" / "checkpoints" / "step-3",
            manifest.Manifest(3),
            weights=network_weights(self.model, self.output),
            state=None,
            config=config.values,
            save_tokenizers=lambda place: save_pair(place, self.source, self.target),
        )
        self.folder = folder / "run"

    def forget(self):
        """Remove the translations kept so far."""
        shutil.rmtree(self.folder / "eval", ignore_errors=True)

    def evaluate(self, *overrides):
        return evaluation.run(config_of("eval", [f"ckpt={self.folder}", *self.runtime, *overrides]))

    @torch.no_grad()
    def log_prob(self, source, target):
        """log p word by word, alone in its batch, and the number of words with </s>."""
        model, output = self.model.eval(), self.output.eval()
        ids = torch.tensor([[*self.source.encode([source])[0], self.source.eos]])
        batch = Batch(torch.zeros(1, dtype=torch.int64), ids, torch.tensor([ids.shape[1]]))
        memory, state, total, last = model.encode(batch), None, 0.0, self.target.bos
        words = [*self.target.encode([target])[0].tolist(), self.target.eos]
        for word in words:
            hidden_11D, state = model.decode(model.embed(torch.tensor([[last]])), memory, state)
            total += output.log_probs(hidden_11D[:, 0])[0, word].item()
            last = word
        return total, len(words)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("eval"), uniform=False)


@pytest.fixture(scope="module")
def uniform_run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("uniform"), uniform=True)


def test_a_uniform_model_has_the_vocabulary_size_as_perplexity(uniform_run):
    figures = uniform_run.evaluate("decoding=greedy", "metrics.bootstrap=0")
    targets = [target for _, target in uniform_run.pairs]
    tokens = sum(len(ids) + 1 for ids in uniform_run.target.encode(targets))
    characters = sum(map(len, targets))
    assert figures["perplexity"] == pytest.approx(uniform_run.target.vocab_size, rel=1e-6)
    assert figures["nll_per_character"] == pytest.approx(tokens * math.log(uniform_run.target.vocab_size) / characters, rel=1e-6)
    assert (figures["target_tokens"], figures["target_characters"], figures["sentences"]) == (tokens, characters, 23)


def test_perplexity_is_that_of_stepping_through_each_sentence_alone(run):
    totals = [run.log_prob(*pair) for pair in run.pairs]
    figures = run.evaluate("decoding=greedy", "metrics.bootstrap=0")
    truth = math.exp(-sum(log_prob for log_prob, _ in totals) / sum(tokens for _, tokens in totals))
    assert figures["perplexity"] == pytest.approx(truth, rel=1e-4)
    assert truth > 2 * run.target.vocab_size  # far from uniform, so a wrong position would show


def test_figures_are_those_of_the_translations_kept(run, capsys):
    run.forget()
    figures = json.loads(json.dumps(run.evaluate("metrics.bootstrap=50")))
    (kept,) = (run.folder / "eval").glob("test-*.txt")
    hypotheses = kept.read_text(encoding="utf-8").splitlines()
    translator = open_translator(run.folder, config_of("eval").runtime)
    assert figures["translations"] == str(kept)
    assert hypotheses == [translator.translate([source])[0].text for source, _ in run.pairs]  # in the order of the split
    references = [[target for _, target in run.pairs]]
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF()), ("ter", sacrebleu.TER())):
        assert figures[name] == metric.corpus_score(hypotheses, references, n_bootstrap=50).score
        assert figures[f"{name}_signature"] == str(metric.get_signature())
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
    assert figures["sentences_per_second"] > 0
    assert figures["tokens_per_second"] > figures["sentences_per_second"]
    assert "copy_bleu" not in figures
    printed = capsys.readouterr().out
    assert f"{figures['bleu']:.2f}" in printed and figures["bleu_signature"] in printed
    assert "95 % interval" in printed and str(kept) in printed and "BLEU's words: 13a" in printed


def test_each_way_of_decoding_keeps_its_own_file(run):
    run.forget()
    for overrides in (
        ["decoding=greedy"],
        ["decoding.beam_size=2"],
        ["decoding.beam_size=2"],
        ["split=valid", "decoding=greedy"],
    ):
        run.evaluate("metrics.bootstrap=0", *overrides)
    names = sorted(path.name.split("-")[0] for path in (run.folder / "eval").iterdir())
    assert names == ["test", "test", "valid"]


def test_other_data_or_fewer_sentences(run, tmp_path):
    pairs = run.pairs[5:9]
    prefix = corpus_files.write(tmp_path / "other", pairs)
    quick = ["decoding=greedy", "metrics.bootstrap=0"]
    key = run.evaluate(*quick, f"data.test={prefix}")
    whole = run.evaluate(*quick, "data=text", f"data.test={prefix}", "data.source_language=ja", "data.target_language=en")
    totals = [run.log_prob(*pair) for pair in pairs]
    truth = math.exp(-sum(log_prob for log_prob, _ in totals) / sum(tokens for _, tokens in totals))
    assert key["perplexity"] == whole["perplexity"] == pytest.approx(truth, rel=1e-4)
    assert run.evaluate(*quick, "limit=6")["sentences"] == 6


def test_the_phrasebook_comes_with_the_bleu_of_copying(run, monkeypatch):
    quick = ["decoding=greedy", "metrics.names=[bleu]", "metrics.bootstrap=0", "limit=3", "data=phrasebook"]
    sizes = ["data.train_size=40", "data.valid_size=5", "data.test_size=5"]
    first = run.evaluate(*quick, *sizes)["copy_bleu"]
    splits = Phrasebook(train_size=40, valid_size=5, test_size=5).splits()
    assert first == nearest_copy_bleu(splits["train"], list(splits["test"])[:3], "13a").score
    monkeypatch.setattr(
        "seqgen_cli.tasks.translate.evaluation.nearest_copy_bleu", None
    )  # the second time it is found in the cache
    assert run.evaluate(*quick, *sizes)["copy_bleu"] == first
    for other in ("split=valid", "limit=4"):
        with pytest.raises(TypeError):
            run.evaluate(*quick, *sizes, other)


def test_what_belongs_to_the_checkpoint_cannot_be_set(run):
    with pytest.raises(RequestError, match="comes from the checkpoint"):
        run.evaluate("model.hidden_size=32")
    with pytest.raises(RequestError, match="no split train2; it has test, train and valid"):
        run.evaluate("split=train2")


def test_files_are_scored_without_a_model(tmp_path, capsys):
    hypotheses, references = ["a b c d e", "f g h i", "x"], [["a b c d z", "f g h i", "y"], ["a b c d e", "f g q i", "x y"]]
    for name, lines in zip(("hyp", "one.en", "two.en"), (hypotheses, *references), strict=True):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("hyp", "one.en", "two.en")]
    place = tmp_path / "figures.json"
    assert main(["eval", "--hyp", paths[0], "--ref", paths[1], paths[2], "--json", str(place)]) == 0
    figures = json.loads(place.read_text(encoding="utf-8"))
    assert figures["bleu"] == sacrebleu.BLEU().corpus_score(hypotheses, references).score
    assert figures["bleu_signature"].startswith("nrefs:2|bs:1000|seed:12345|")
    out, err = capsys.readouterr()
    assert f"{figures['bleu']:.2f}" in out
    assert err == ""


def test_the_reference_s_ending_or_target_language_chooses_the_tokenizer(tmp_path, capsys):
    for name in ("hyp", "ref.ja", "ref.txt", "ref.ja_JP", "ref.jpn"):
        (tmp_path / name).write_text("駅はどこにありますか。\n", encoding="utf-8")

    def signature(*overrides):
        config = config_of("eval", [f"hyp={tmp_path}/hyp", "metrics.names=[bleu]", "metrics.bootstrap=0", *overrides])
        return evaluation.run(config)["bleu_signature"]

    assert "tok:ja-mecab" in signature(f"ref={tmp_path}/ref.ja")
    assert "tok:ja-mecab" in signature(f"ref={tmp_path}/ref.ja_JP") and "tok:ja-mecab" in signature(f"ref={tmp_path}/ref.jpn")
    capsys.readouterr()
    assert "tok:13a" in signature(f"ref={tmp_path}/ref.txt")
    assert "13a cuts at spaces" in " ".join(capsys.readouterr().out.split())
    assert "tok:ja-mecab" in signature(f"ref={tmp_path}/ref.txt", "target_language=ja")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hyp", "{0}/three", "--ref", "{0}/two"], "three has 3 lines but .*two has 2"),
        (["--hyp", "{0}/three"], "give both --hyp FILE and --ref FILE"),
        (["--hyp", "{0}/absent", "--ref", "{0}/two"], "absent does not exist"),
        ([], "needs --ckpt RUN, or --hyp FILE and --ref FILE"),
        (["--hyp", "{0}/none", "--ref", "{0}/none"], "nothing to score"),
        (["--ckpt", "{0}/nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_requests_exit_with_2_and_a_sentence(arguments, message, tmp_path, capsys):
    for name, count in (("three", 3), ("two", 2), ("none", 0)):
        (tmp_path / name).write_text("a\n" * count, encoding="utf-8")
    assert main(["eval", *(argument.format(tmp_path) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


def test_score_writes_log_p_tokens_and_perplexity_of_each_line(run, tmp_path, caplog, capsys):
    prefix = corpus_files.write(tmp_path / "given", run.pairs)
    config = config_of("score", [f"ckpt={run.folder}", *run.runtime, f"source={prefix}.ja", f"target={prefix}.en"])
    with caplog.at_level(logging.INFO, "seqgen_cli"):
        logging.getLogger("seqgen_cli").propagate = True
        totals = score.run(config)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    truth = [run.log_prob(*pair) for pair in run.pairs]
    assert [int(tokens) for _, tokens, _ in rows] == [tokens for _, tokens in truth]
    assert [float(row[0]) for row in rows] == pytest.approx([log_prob for log_prob, _ in truth], rel=1e-4)
    assert [float(row[2]) for row in rows] == pytest.approx([math.exp(-log_prob / n) for log_prob, n in truth], rel=1e-3)
    assert totals["log_prob"] == pytest.approx(sum(log_prob for log_prob, _ in truth), rel=1e-5)
    assert totals["target_tokens"] == sum(tokens for _, tokens in truth)
    assert totals["perplexity"] == pytest.approx(math.exp(-totals["log_prob"] / totals["target_tokens"]))
    assert f"perplexity {totals['perplexity']:.4f}" in caplog.text


def test_score_to_a_file_and_wrong_requests(run, tmp_path, capsys, monkeypatch):
    prefix = corpus_files.write(tmp_path / "given", run.pairs)
    short = corpus_files.write(tmp_path / "short", run.pairs[:4])
    monkeypatch.setattr("seqgen_cli.tasks.translate.task.WINDOW", 2)  # the lines are counted before any is scored
    files = ["--ckpt", str(run.folder), *run.runtime, "--source", f"{prefix}.ja"]
    assert main(["score", *files, "--target", f"{prefix}.en", "--output", f"{tmp_path}/scores"]) == 0
    assert len((tmp_path / "scores").read_text(encoding="utf-8").splitlines()) == 23
    assert capsys.readouterr().out == ""
    assert main(["score", *files, "--target", f"{short}.en"]) == 2
    out, err = capsys.readouterr()
    assert "has 23 lines but" in err and out == ""
    assert main(["score", *files]) == 2
    assert "needs --ckpt RUN, --source FILE and --target FILE" in capsys.readouterr().err
    assert main(["score", *files, "--target", f"{tmp_path}/absent"]) == 2
    assert "absent does not exist" in capsys.readouterr().err
