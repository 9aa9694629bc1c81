"""Runs made before the package had rooms (tests/old_runs) are found, loaded, evaluated and gone on with as they were then.

Figures are those of the seqgen that made them, to what another processor's rounding may change.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqgen_cli.checkpoints.finding import find
from seqgen_cli.checkpoints.older import older_hash
from seqgen_cli.checkpoints.restored import from_checkpoint
from seqgen_cli.cli.main import main

OLD = Path(__file__).parents[1] / "old_runs"
SMALL = ["data.train_size=400", "data.valid_size=30", "data.test_size=20", "batching.max_tokens=400", "schedule.warmup=4"]
BRIEF = ["trainer.epochs=null", "trainer.tensorboard=false", "trainer.plots=false", "trainer.samples=2"]
NARROW = ["model.hidden_size=8", "model.embedding_size=8", "model.layers=1", "trainer.steps=12", "trainer.evaluate_every=6"]
REINFORCE = ["objective=reinforce", "objective.samples=2", "objective/baseline=learned", "objective/handover=linear"]
CLASSIFIER = ["model=bert_gru", "data=mini_reviews", "model.encoder=tiny", "model.gru_hidden=6", "model.gru_layers=1"]
COMMANDS = {
    "phrasebook-rnn-huffman_tree-reinforce-669c3a43": [
        *("model=rnn", "output=huffman_tree", *REINFORCE, "tokenizer=words", "tokenizer.max_size=200", *SMALL, *NARROW),
        *("trainer.decode_limit=10", "decoding=greedy", "trainer.ema_decay=0.9", *BRIEF),
    ],
    "mini_reviews-bert_gru-sigmoid-mle-60f66030": [
        *(*CLASSIFIER, "model.max_length=40", "tokenizer.vocab_size=150", "trainer.steps=6", "trainer.evaluate_every=3", *BRIEF),
    ],
    "phrasebook-rnn_lm-softmax-mle-1a59a889": [
        *("model=rnn_lm", "output=softmax", "tokenizer.vocab_size=200", "tokenizer.normalization=identity", *SMALL, *NARROW),
        *("tokenizer.character_coverage=0.9995", "decoding=sample", *BRIEF),
    ],
}
EVALUATED: dict[str, dict[str, float]] = {
    "phrasebook-rnn-huffman_tree-reinforce-669c3a43": {
        "perplexity": 41.65464251122919,
        "chrf": 1.0351966873706004,
        "copy_bleu": 24.453158135488227,
        "target_tokens": 223,
    },
    "mini_reviews-bert_gru-sigmoid-mle-60f66030": {"accuracy": 0.507, "log_loss": 0.6959947005212307, "roc_auc": 0.5054},
    "phrasebook-rnn_lm-softmax-mle-1a59a889": {"perplexity": 196.37858128361373, "unknown_rate": 0.0018281535648994515},
}
CONTINUED: dict[str, tuple[int, dict[str, float]]] = {
    "phrasebook-rnn-huffman_tree-reinforce-669c3a43": (18, {"nll": 3.9570356507016267, "last_accuracy": 0.22826086956521738}),
    "mini_reviews-bert_gru-sigmoid-mle-60f66030": (9, {"nll": 0.6932316223382949, "last_f1": 0.35751295336787564}),
    "phrasebook-rnn_lm-softmax-mle-1a59a889": (18, {"nll": 5.292856685320536, "last_perplexity": 198.9108402381061}),
}

pytestmark = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def run(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / name, tmp_path / "runs" / name))


def figures_of(arguments: list[str], folder: Path) -> dict[str, Any]:
    place = folder / "figures.json"
    assert main([*arguments, "--json", str(place)]) == 0
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def test_the_command_that_made_it_finds_it(name: str, run: Path) -> None:
    figures = figures_of(["train", *COMMANDS[name], f"runtime.runs_folder={run.parent}"], run.parent)
    assert [folder.name for folder in run.parent.iterdir() if folder.is_dir()] == [name]
    made = 6 if "bert" in name else 12
    assert figures["update"] == made, "its budget is spent, so nothing is trained"


def test_only_the_run_that_the_command_made_is_found(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one whose settings differ, be it in what was added since, nor a newer run that has that name by chance."""

    def found(*more: str) -> str:
        assert main(["train", *COMMANDS[name], f"runtime.runs_folder={run.parent}", "--dry-run", *more]) == 0
        return Path(capsys.readouterr().out.splitlines()[0].split()[-1]).name

    assert found() == found("trainer.samples=3") == name != found("seed=2")
    kept = yaml.safe_load((run / "config.yaml").read_text())
    del kept["trainer"]["patience"], kept["trainer"]["keep_best"]  # as if they had been added since
    older = run.rename(run.with_name(f"{name[:-8]}{older_hash(kept)}"))
    (older / "config.yaml").write_text(yaml.safe_dump(kept))
    assert found() == older.name != found("trainer.keep_best=2")
    (older / "identity.json").write_text("{}")  # what newer runs have
    assert found() != older.name


def test_it_is_evaluated_to_the_same_digits(name: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    figures = figures_of(["eval", "--ckpt", f"runs/{name}"], run.parent)
    assert {key: figures[key] for key in EVALUATED[name]} == pytest.approx(EVALUATED[name], rel=1e-5)
    kept = {"rnn": ["test-58b385b8.txt"], "bert_gru": ["test-step-6"], "rnn_lm": []}[name.split("-")[1]]
    assert [path.name for path in (run / "eval").glob("*")] == kept, "by its first name, though its data's class has moved"


def test_it_goes_on_to_the_same_digits(name: str, run: Path) -> None:
    steps, wanted = CONTINUED[name]
    figures = figures_of(["train", f"continue={run}", f"trainer.steps={steps}"], run.parent)
    assert figures["update"] == steps
    assert {key: figures[key] for key in wanted} == pytest.approx(wanted, rel=1e-4)
    assert from_checkpoint(find(run, print)).config.choices["model"] == name.split("-")[1]
