"""Wrong requests through the whole command line: each gives its sentence on stderr, nothing on stdout, and exit code 2."""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from seqgen_cli.cli.main import main
from seqgen_cli.config.door import config_of
from seqgen_cli.errors import RequestError

REFUSED = [
    # misspelt keys and choices: the nearest match, with its type and range
    (
        "train model.hiden_size=256",
        "model.hiden_size is not a setting of model=transformer. Did you mean model.hidden_size (int, 2 or more)?",
    ),
    ("train model=rnn model.sell=gru", "model.sell is not a setting of model=rnn. Did you mean model.cell (lstm or gru)?"),
    ("train sed=3", "sed is not a setting of seqgen train. Did you mean seed?"),
    ("train +sed=3", "sed is not a setting. Did you mean seed?"),
    ("train trainer.stepz=3", "Did you mean trainer.steps (int, 1 or more, or null)?"),
    ("train model=transfomer", "model=transfomer is not a choice. Did you mean transformer?"),
    ("train modle=rnn", "modle is not a setting of seqgen train. Did you mean model?"),
    ("train modle.hidden_size=3", "modle.hidden_size is not a setting of seqgen train. Did you mean model?"),
    ("train +model.depth=3", "model.depth is not a setting of model=transformer."),
    ("train experiment=nothing", "experiment=nothing is not a choice."),
    # what a choice chooses in turn
    (
        "train objective=scheduled_sampling objective/decay=lineer",
        "objective/decay=lineer is not a choice. Did you mean linear? objective/decay is one of constant, exponential,",
    ),
    (
        "train objective=scheduled_sampling objective/decai=linear",
        "objective/decai is not a choice of objective=scheduled_sampling. Did you mean objective/decay?",
    ),
    (
        "train objective/decay=linear",
        "objective/decay is not a choice of objective=mle. It belongs to objective=scheduled_sampling.",
    ),
    (
        "train objective=scheduled_sampling objective/decay=linear objective.decay.cc=3",
        "objective.decay.cc is not a setting of objective/decay=linear. Did you mean objective.decay.c (float, 0 or more)?",
    ),
    (
        "train objective=scheduled_sampling +objective.decay.x=1",
        "objective.decay.x is not a setting of objective/decay=inverse_sigmoid.",
    ),
    (
        "train objective=scheduled_sampling objective.decay.k=0.5",
        "objective.decay.k is 0.5; it must be float, 1 or more.",
    ),
    (
        "train objective=scheduled_sampling objective.decay=linear",
        'objective.decay is "linear": choose it by objective/decay=constant, exponential, inverse_sigmoid or linear.',
    ),
    ("train objective=scheduled_sampling ~objective/decay", "objective.decay is missing: choose it by objective/decay="),
    (
        "train objective=scheduled_sampling objective.decay._target_=seqgen_cli.objectives.mle.Tensor",
        "objective.decay._target_=seqgen_cli.objectives.mle.Tensor is not a choice of objective/decay: it lacks __call__.",
    ),
    (
        "translate --ckpt x objective/decay=linear",
        "objective/decay cannot be set in seqgen translate: it comes from the checkpoint.",
    ),
    # wrong types and ranges
    ("train model.hidden_size=big", 'model.hidden_size is "big"; it must be int, 2 or more.'),
    ("train model.hidden_size='256'", 'model.hidden_size is "256"; it must be int, 2 or more.'),
    ("train model.hidden_size=null", "model.hidden_size is null; it must be int, 2 or more."),
    ("train model.hidden_size=true", "model.hidden_size is true; it must be int, 2 or more."),
    ("train model.hidden_size=2.5", "model.hidden_size is 2.5; it must be int, 2 or more."),
    ("train optimizer.lr=-1", "optimizer.lr is -1; it must be"),
    ("train optimizer.lr=nan", "optimizer.lr is NaN; it must be"),
    ("train model=rnn model.cell=gruu", 'model.cell is "gruu"; it must be lstm or gru. Did you mean gru?'),
    ("train seed=-1", "seed is -1; it must be int, 0 or more, at most 2147483647."),
    ("train fresh=3", "fresh is 3; it must be true or false."),
    ("train runtime.device=gpu", 'runtime.device is "gpu"; it must be auto, cpu, cuda, cuda:N, mps or meta.'),
    ("train optimizer.lr=inf", "optimizer.lr is Infinity; it must be finite: float, more than 0."),
    ("train trainer.epochs=inf", "trainer.epochs is Infinity; it must be finite: float, more than 0, or null."),
    ("train trainer.minutes=inf", "trainer.minutes is Infinity; it must be finite"),
    ("train trainer.clip_norm=inf", "trainer.clip_norm is Infinity; it must be finite"),
    ("prepare cleaning.max_ratio=inf", "cleaning.max_ratio is Infinity; it must be finite"),
    ("bench synthetic.length_spread=inf", "synthetic.length_spread is Infinity; it must be finite"),
    ("eval --ckpt x --limit 1.5", "limit is 1.5; it must be int, 1 or more, or null."),
    (
        "train tokenizer.character_coverage=0.5",
        "tokenizer.character_coverage is 0.5; it must be float, 0.98 or more, at most 1, or null.",
    ),
    (
        "train data=text data.target_language=en model=rnn_lm data.train=a data.weights=[1e-6]",
        "data.weights is [1e-06], wrong at [0]; it must be a list of float, 0.001 or more, at most 1000, or null.",
    ),
    # what cannot be chosen
    ("train model=null", "model=null chooses nothing, and seqgen train needs one: model=attention, bert_gru, rnn,"),
    ("train -m model=null,rnn", "model=null chooses nothing, and seqgen train needs one"),
    (
        "train --cfg job model.hiden_size=3",
        "model.hiden_size is not a setting of model=transformer. Did you mean model.hidden_size",
    ),
    ("train ~model", "model=null chooses nothing, and seqgen train needs one"),
    ("eval --ckpt x decoding=null", "decoding=null chooses nothing, and seqgen eval needs one: decoding=beam, greedy or sample."),
    ("train objective=reinforce objective/baseline=null", "objective/baseline=null chooses nothing"),
    ("translate --ckpt x model=null", "model cannot be set in seqgen translate: it comes from the checkpoint."),
    # settings that do not fit one another, or the data's settings
    ("train model.heads=3", "model.hidden_size=256 cannot be divided among model.heads=3: choose a multiple."),
    ("train model=transformer_lm model.heads=3", "model.hidden_size=256 cannot be divided among model.heads=3"),
    ("train model.hidden_size=65 model.heads=5", "model.positions=sinusoidal needs an even model.hidden_size, not 65."),
    (
        "train model.positions=rotary model.hidden_size=36",
        "model.positions=rotary needs an even number of channels for each head",
    ),
    ("train model.alignment_layer=9", "model.alignment_layer=9 is not one of the 3 decoder layers."),
    ("train model=attention model.input_feeding=true", "model.input_feeding=true belongs to model.style=luong"),
    ("train model=bert_gru model.encoder=tiny model.unfreeze=99", "model.unfreeze=99: this encoder has"),
    (
        "train model.share_embeddings=true",
        "model.share_embeddings=true needs one vocabulary for both sides, and tokenizer.joint=false",
    ),
    (
        "train model=rnn model.embedding_size=8 output.tied=true",
        "output.tied=true needs embeddings as wide as the hidden vectors",
    ),
    (
        "train output=adaptive_softmax output.cutoffs=[200,100]",
        "output.cutoffs=[200, 100] must rise, and stay below the 8000 words",
    ),
    ("train output=class_softmax output.num_classes=9000", "output.num_classes=9000 is more than the 8000 words"),
    ("train output=class_softmax output.vectors=x.npy", "output.vectors serves output.grouping=clustered alone"),
    ("train output=class_softmax output.grouping=clustered", "output.grouping=clustered needs word vectors"),
    ("train optimizer=sgd optimizer.nesterov=true", "optimizer.nesterov looks ahead along the velocity: set optimizer.momentum"),
    ("train decoding.n_best=9", "decoding.n_best=9 is more than decoding.beam_size=5: widen the beam."),
    ("translate --ckpt x decoding.n_best=9", "decoding.n_best=9 is more than decoding.beam_size=5: widen the beam."),
    ("train objective=scheduled_sampling objective.temperature=2", "objective.temperature=2 changes no argmax."),
    ("train objective=scheduled_sampling objective.temperature=2 tokenizer=words", "objective.temperature=2 changes no argmax."),
    ("train model.alignment_layer=9 tokenizer=words output=huffman_tree", "model.alignment_layer=9 is not one of the 3 decoder"),
    (
        "train objective=reinforce objective/reward=weighted objective.reward.bleu=0 objective.reward.chrf=0",
        "objective.reward has only weights of 0: nothing would be rewarded.",
    ),
    (
        "train model=bert_gru model.encoder=tiny data=mini_reviews objective.class_weights=[1,2,3]",
        "objective.class_weights has 3 numbers for 2 classes: give one each.",
    ),
    (
        "train model=bert_gru model.encoder=tiny data=mini_reviews model.max_length=16 tokenizer.max_length=17",
        "tokenizer.max_length=17 leaves texts longer than model.max_length=16 says the encoder reads.",
    ),
    ("train trainer.average=3", "trainer.average=3 averages the best checkpoints, but trainer.keep_best=1"),
    ("train trainer.epochs=null", "The run has no budget: set trainer.steps, trainer.epochs or trainer.minutes."),
    ("train schedule=linear trainer.epochs=null trainer.minutes=3", "schedule=linear needs to know where it ends"),
    (
        "train data=text data.train=no/such data.source_language=ja data.target_language=en",
        "data.train: no/such.ja does not exist",
    ),
    # a best checkpoint by what nothing measures
    (
        "train trainer.best_metric=blue",
        "best_metric=blue is not measured in this run. Did you mean bleu? What is: accuracy, bleu, chrf, nll, perplexity, ter.",
    ),
    ("train trainer.best_metric=ter metrics.names=[bleu]", "trainer.best_metric=ter is not measured in this run."),
    (
        "train trainer.best_metric=bleu trainer.decode_limit=0",
        "trainer.best_metric=bleu is not measured in this run (trainer.decode_limit=0 leaves out what takes decoding).",
    ),
    (
        "train model=rnn_lm trainer.best_metric=bleu",
        "trainer.best_metric=bleu is not measured in this run. What is: accuracy, nll,",
    ),
    (
        "train model=bert_gru model.encoder=tiny data=mini_reviews trainer.best_metric=perplexity",
        "trainer.best_metric=perplexity is not measured in this run. What is: accuracy, average_precision,",
    ),
    # grammar
    ("train model=rnn,attention", "model=rnn,attention gives several values: add -m"),
    ("train data.train_size=[1,", "data.train_size=[1, cannot be read as key=value."),
    ("train seed=${model.hiden_size}", "seed cannot be resolved: Interpolation key 'model.hiden_size' not found."),
    ("trian", "trian is not a command of seqgen. Did you mean train?"),
    ("train --dry-rum", "--dry-rum is not a flag of seqgen train. Did you mean --dry-run?"),
    # what a checkpoint decides
    ("translate --ckpt x model=rnn", "model cannot be set in seqgen translate: it comes from the checkpoint."),
    ("eval --ckpt x output.tied=true", "output cannot be set in seqgen eval: it comes from the checkpoint."),
    ("eval --ckpt x data=imdbb", "data=imdbb is not a choice."),
    # missing things
    ("translate --ckpt no/such/run", "no/such/run does not exist"),
    ("eval", "seqgen eval needs --ckpt RUN"),
    ("eval --hyp no/such/file --ref no/such/file", "no/such/file"),
    ("eval --ckpt x --json no/such/folder/f.json", "--json no/such/folder/f.json: its folder does not exist."),
    ("train init_from=no/such/run", "no/such/run"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_wrong_request_is_refused_in_a_sentence(line: str, message: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))  # where data would go once they are read
    code = main(line.split(" "))
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("seqgen: ") and message in err
    assert "Traceback" not in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "a refused request leaves nothing behind"


@pytest.mark.parametrize("objective", [[], ["objective=reinforce", "trainer.decode_limit=0"]])
def test_a_target_language_that_is_none_is_refused_before_data_are_read(objective, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid"):
        for language in ("en", "jp"):
            Path(f"{split}.{language}").write_text("a line\n")
    words = ["train", "data=text", "data.source_language=en", "data.target_language=jp", "data.train=train", "data.valid=valid"]
    assert main([*words, *objective, "--dry-run"]) == 2
    err = capsys.readouterr().err
    setting = "objective.reward.tokenizer" if objective else "metrics.tokenizer"
    assert f"'jp' names no language, so {setting}=auto" in err and "Did you mean ja?" in err and err.count("\n") == 1
    assert not Path("runs").exists()
    config_of("train", [*words[1:], *objective, f"{setting}=ja-mecab"])  # what the message advises


@pytest.mark.parametrize(
    "name", ["it's mine", "a b", "a,b", "x=y", "it's, ok", 'say "hi"', "a$b's", "back\\slash's", "駅 '前'", "(1)"]
)
def test_a_value_with_signs_is_read_as_the_message_advises(name: str, capsys, tmp_path, monkeypatch) -> None:
    """The advice is given to a shell's words, and reads what was meant."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid"):
        Path(f"{split}{name}").write_text("a line\n")
    words = ["data=text", "data.target_language=en", "model=rnn_lm"]
    files = {f"data.{split}": f"{split}{name}" for split in ("train", "valid")}
    code = main(["train", *words, *(f"{key}={value}" for key, value in files.items()), "--cfg", "job"])
    err = capsys.readouterr().err
    if code == 2 and "as a flag: " in err:
        advice = shlex.split(err.split("as a flag: ")[1])
        assert advice == ["--data.train", files["data.train"]]
    flags = [word for key, value in files.items() for word in (f"--{key}", value)]
    assert main(["train", *words, *flags, "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert {f"data.{split}": shown["data"][split] for split in ("train", "valid")} == files


def test_flags_with_a_point_keep_numbers_and_lists(capsys) -> None:
    flags = ["--data.train", "[a,b]", "--data.weights", "[1,0.5]", "--optimizer.lr", "1e-3", "--trainer.epochs", "null"]
    assert main(["train", "data=text", *flags, "--trainer.plots", "false", "--model.positions", "rotary", "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["data"]["train"], shown["data"]["weights"]) == (["a", "b"], [1, 0.5])
    assert (shown["trainer"]["epochs"], shown["trainer"]["plots"], shown["model"]["positions"]) == (None, False, "rotary")
    assert float(shown["optimizer"]["lr"]) == 1e-3


def test_training_without_a_split_to_validate_on_is_refused(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a line\n")
    assert main(["train", "model=rnn_lm", "data=text", "data.train=a.txt"]) == 2
    assert "data.valid is missing: training needs a split to valid on." in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["a.txt"]


CLASSIFIER = """
    from torch import Tensor, nn
    from seqgen_cli.data.batch import Batch
    from seqgen_cli.errors import RequestError
    from seqgen_cli.models.base import Generator
    from seqgen_cli.objectives.mle import MaximumLikelihood
    from seqgen_cli.outputs.base import OutputLayer

    class Bag(nn.Module):
        def __init__(self, source_vocab_size: int, num_classes: int, width: int = 4) -> None:
            super().__init__()
            self.hidden_size = width
            self.classifies = True
        def hidden_states(self, batch: Batch) -> Tensor:
            return batch.source_BS

    class Mixing(nn.Module):
        def __init__(self, model: Generator, output: OutputLayer) -> None:
            super().__init__()
        def updates(self, make_optimizer):
            return []
        def evaluate(self, batch):
            return {}

    class NoModel:
        pass

    class Reads(MaximumLikelihood):
        def __init__(self, model: Generator, output: OutputLayer, target_tokenizer: object, decline: bool) -> None:
            super().__init__(model, output)
            if decline:
                raise RequestError("not with this model.")
            self.words = target_tokenizer.encode(["what the stand-in cannot do"])
"""


@pytest.fixture
def own_choices(tmp_path, monkeypatch):
    """A package `mine` and a folder of configs with a classifier, an objective for generators, and a class that is no model."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(CLASSIFIER))
    for group, name, target in [("model", "bag", "Bag"), ("objective", "mixing", "Mixing"), ("model", "none", "NoModel")]:
        path = tmp_path / "configs" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"_target_: mine.{target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "configs"
    sys.modules.pop("mine", None)


def test_choices_that_do_not_fit_name_both_and_what_would(own_choices, capsys) -> None:
    code = main(["train", "--config-dir", str(own_choices), "model=bag", "objective=mixing"])
    err = capsys.readouterr().err
    assert code == 2
    assert err == (
        "seqgen: objective=mixing needs a model that generates; model=bag is not one. "
        "Use objective=mle, or model=attention, rnn, rnn_lm, transformer, transformer_base or transformer_lm.\n"
    )


def test_of_networks_that_are_tried_only_refusals_count(own_choices, caplog) -> None:
    """Code that needs the data themselves goes on to when they are there, and --debug tells of it."""
    (own_choices / "objective" / "reads.yaml").write_text("_target_: mine.Reads\ndecline: false\n")
    words = [f"hydra.searchpath=['file://{own_choices}']", "objective=reads"]
    with caplog.at_level("DEBUG", logger="seqgen_cli"):
        assert config_of("train", words).objective.owner == "objective=reads"
    assert "could not be tried" in caplog.text and "encode" in caplog.text
    with pytest.raises(RequestError, match="not with this model"):
        config_of("train", [*words, "objective.decline=true"])


def test_what_is_no_model_is_refused(own_choices, capsys) -> None:
    assert main(["train", "--config-dir", str(own_choices), "model=none"]) == 2
    assert (
        "model._target_=mine.NoModel is not a choice of model: it lacks hidden_size and hidden_states." in capsys.readouterr().err
    )


def test_a_choice_without_a_class_is_refused(own_choices, capsys) -> None:
    (own_choices / "model" / "empty.yaml").write_text("hidden_size: 3\n")
    assert main(["train", "--config-dir", str(own_choices), "model=empty"]) == 2
    assert "model=empty names no class: its YAML needs _target_: package.module.Class." in capsys.readouterr().err


def test_a_package_that_is_not_there_is_named(own_choices, capsys) -> None:
    (own_choices / "model" / "absent.yaml").write_text("_target_: not_installed.models.Thing\n")
    assert main(["train", "--config-dir", str(own_choices), "model=absent"]) == 2
    assert (
        "model._target_=not_installed.models.Thing cannot be imported (No module named 'not_installed')"
        in capsys.readouterr().err
    )


def test_cfg_job_prints_the_config_and_runs_nothing(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--cfg", "job", "model=rnn", "--seed", "7"]) == 0
    out, err = capsys.readouterr()
    assert "seed: 7" in out and "seqgen_cli.models.rnn" in out and err == ""
    assert list(tmp_path.iterdir()) == []


def test_paths_reach_the_config_unchanged(capsys) -> None:
    path = "runs/a=b, c/日本語 'x'"
    assert main(["translate", "--cfg", "job", "--ckpt", path]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["ckpt"] == path


@pytest.mark.parametrize("flag", [[], ["--debug"]])
def test_a_bug_gives_a_line_and_debug_the_traceback(flag, capsys, monkeypatch) -> None:
    monkeypatch.setattr("seqgen_cli.commands.prepare.run", lambda config: 1 // 0)
    assert main(["prepare", *flag]) == 1
    err = capsys.readouterr().err
    assert "seqgen: unexpected ZeroDivisionError: integer division or modulo by zero (--debug shows where)" in err
    assert ("Traceback" in err) == bool(flag)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted."),
        (OSError(28, "No space left on device", "runs/x/model"), 1, "runs/x/model: the disk is full."),
        (PermissionError(13, "Permission denied", "/etc/x"), 1, "/etc/x: permission denied."),
        (MemoryError(), 1, "out of memory."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory."),
    ],
)
def test_what_the_machine_refuses_is_said_plainly(raised, code, message, capsys, monkeypatch) -> None:
    def run(config: object) -> None:
        raise raised

    monkeypatch.setattr("seqgen_cli.commands.prepare.run", run)
    assert main(["prepare"]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"seqgen: {message}") and err.count("\n") == 1
