"""docs/adding_a_choice.md, followed word for word: its files written, its commands run, in an empty folder."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqgen_cli
from seqgen_cli.checkpoints.finding import find
from seqgen_cli.cli.main import main
from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from seqgen_cli.data.tokenizers.sentencepiece import Tokenizer

PAGE = (Path(__file__).parents[2] / "docs" / "adding_a_choice.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`:\n\n```(?:python|yaml)\n(.*?)```$", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = "\n".join(re.findall(r"^```bash\n(.*?)```$", PAGE, flags=re.MULTILINE | re.DOTALL))


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SEQGEN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder after every file of the page was written and every command run, and what they printed."""
    folder = tmp_path_factory.mktemp("mychoices")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    done = run(COMMANDS, folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_page_lists_exactly_the_files_it_gives():
    listed = re.findall(r"^      ([\w/.]+)$", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(FILES)


def test_both_choices_train_and_translate(followed):
    folder, done = followed
    (run_folder,) = (folder / "runs").glob("*-focal-*")
    assert run_folder.name.startswith("phrasebook-transformer-angular_softmax-focal-")
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["update"] == 20
    first, last = (line["valid_nll"] for line in lines if "valid_nll" in line)
    # The least that cosines between -15 and 15 allow over 800 words, and better than after 10 updates.
    assert math.log1p(799 * math.exp(-30)) < last < first
    assert "scale: 15" in (run_folder / "config.yaml").read_text(encoding="utf-8")
    translated = done.stdout.rpartition("\nrun ")[0].splitlines()[-1]  # printed before the next run says where it is
    assert translated.strip() and not translated.startswith(("plots", "samples"))


def test_a_task_of_ones_own_trains_is_evaluated_and_loaded(followed, monkeypatch, capsys):
    """Its validation, its figures, its units and its object for text come from the page alone."""
    folder, done = followed
    (run_folder,) = (folder / "runs").glob("*-length_gru-*")
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    first, last = (line for line in lines if "valid_off" in line)
    assert last["valid_off"] < first["valid_off"] and last["valid_nll"] < first["valid_nll"]
    assert last["texts"] > first["texts"] > 0 and "texts_per_second" in lines[0]
    guessed = ast.literal_eval(done.stdout.splitlines()[-1])
    assert len(guessed) == 1 and 2 < guessed[0] < 20
    figures = json.loads((folder / "lengths.json").read_text(encoding="utf-8"))
    monkeypatch.syspath_prepend(folder)
    guesser = seqgen_cli.load(run_folder, trust=["lengths"], device="cpu")
    pairs = list(Phrasebook(train_size=500).splits()["test"])
    tokenizer = Tokenizer.load(find(run_folder, print) / "tokenizers", "target")
    lengths = [len(ids) + 1 for ids in tokenizer.encode([target for _, target in pairs])]
    off = [abs(guess - length) for guess, length in zip(guesser.lengths([source for source, _ in pairs]), lengths, strict=True)]
    assert figures["off"] == pytest.approx(sum(off) / len(off))
    assert main(["translate", "--ckpt", str(run_folder), "trust=[lengths]", "--input", str(folder / "lengths.json")]) == 2
    assert "holds a model of lengths: it cannot translate. Use seqgen eval." in capsys.readouterr().err
    assert main(["score", "--ckpt", str(run_folder), "trust=[lengths]", "--target", str(folder / "lengths.json")]) == 2
    assert "a model of lengths" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("output.scale=-1", "output.scale"),
        ("output.scales=15", "Did you mean output.scale"),
        ("objective.gama=1", "Did you mean objective.gamma"),
    ],
)
def test_mistakes_in_them_are_refused_by_name(followed, override, said, monkeypatch, capsys):
    folder, _ = followed
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    assert main(["train", "--config-dir", "configs", "output=angular_softmax", "objective=focal", override]) == 2
    assert said in capsys.readouterr().err


def test_a_checkpoint_naming_them_needs_trust(followed, monkeypatch, capsys):
    folder, _ = followed
    monkeypatch.syspath_prepend(folder)
    (folder / "a.ja").write_text("これは本です。\n", encoding="utf-8")
    (run_folder,) = (folder / "runs").glob("*-focal-*")
    assert main(["translate", "--ckpt", str(run_folder), "--input", str(folder / "a.ja")]) == 2
    assert "trust=[angular]" in capsys.readouterr().err
