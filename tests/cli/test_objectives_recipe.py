"""recipes/objectives: its settings are settings, and its tables say what sacrebleu says of the outputs."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sacrebleu
import yaml

from seqgen_cli.config.door import config_of
from seqgen_cli.metrics.rewards import Chrf, Gleu

RECIPE = Path(__file__).parents[2] / "recipes" / "objectives"
REFERENCES = ["Tom likes the red car a lot.", "Where is the station?", "It was raining all day long.", "He is my friend.", "Yes."]
OUTPUTS = {
    "start/seed-1": ["Tom likes a car.", "Where is it?", "It was rain.", "He friend.", "No."],
    "mle/seed-1": ["Tom likes the car.", "Where is it?", "It was raining.", "He is friend.", "No."],
    "mle/seed-2": ["Tom likes the red.", "Where is it?", "It was raining.", "He is friend.", "Yes."],
    "mixer/seed-1": ["Tom likes the red car.", "Where is the station?", "It was raining all day.", "He is my friend.", "Yes."],
    "mixer/seed-2": ["Tom likes the car a lot.", "Where is the station?", "It was raining all day.", "He is friend.", "Yes."],
    "raml/seed-1": ["Tom likes.", "Where is?", "It was.", "He is.", "Yes."],
}


def test_every_objective_of_the_recipe_has_settings_that_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ja", "a.en", "b.ja", "b.en", "c.ja", "c.en"):
        Path(name).write_text("a line\n")
    script = f'source "{RECIPE}/settings.sh"; for name in $OBJECTIVES; do echo "$name $(settings_of transformer "$name")"; done'
    told = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == len({line.split()[0] for line in told}) == 10
    for model in ("attention", "transformer"):
        for line in told:
            words = ["data.train=[a]", "data.valid=b", "data.test=c", "schedule=constant", "schedule.warmup=50", "~schedule.end"]
            own = [f"hydra.searchpath=[file://{RECIPE}/configs]", f"experiment=objectives_{model}", "trainer.minutes=1"]
            config = config_of("train", [*own, *words, *line.split()[1:]])
            assert config.choices["model"] == model and config.trainer.best_metric == "bleu"


def write_runs(folder: Path) -> Path:
    """What run.sh leaves of one model."""
    for name, texts in OUTPUTS.items():
        run = folder / "runs" / "transformer" / name / "text-run"
        (run / "eval").mkdir(parents=True)
        (run / "eval" / "test-1.txt").write_text("".join(f"{text}\n" for text in texts))
        (run / "eval" / "test-2.txt").write_text("other\n" * len(texts))
        for figures in ("test.json", "beam.json", "greedy.json"):
            (run / figures).write_text(json.dumps({"translations": "/elsewhere/eval/test-1.txt"}))
        (run / "result.json").write_text(json.dumps({"update": 40}))
        reward = {"mixer": ["objective/reward=chrf", "objective.reward.beta=1"], "raml": ["objective/reward=gleu"]}
        words = reward.get(name.split("/")[0])
        config = config_of("train", ["objective=reinforce", *words] if words else [])
        (run / "config.yaml").write_text(yaml.safe_dump(config.values, sort_keys=False))
    (folder / "data").mkdir()
    for split in ("dev", "test"):
        (folder / "data" / f"{split}.en").write_text("".join(f"{line}\n" for line in REFERENCES))
    return folder / "runs"


def rows_of(printed: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in lines}


def test_the_tables_are_those_of_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.delitem(sys.modules, "summary", raising=False)
    summary = importlib.import_module("summary")
    summary.main(write_runs(tmp_path), tmp_path / "data", "test")
    rows = rows_of(capsys.readouterr().out)
    bleu = {name: sacrebleu.corpus_bleu(texts, [REFERENCES]) for name, texts in OUTPUTS.items()}
    mean = {name: (bleu[f"{name}/seed-1"].score + bleu[f"{name}/seed-2"].score) / 2 for name in ("mle", "mixer")}
    for name, value in mean.items():
        assert rows[name][1:4] == ["2", "40", rows[name][3]] and rows[name][3].startswith(f"{value:.2f} ± ")
    assert rows["mixer"][4].startswith(f"{mean['mixer'] - mean['mle']:+.2f} [")
    assert rows["raml"][4].startswith(f"{bleu['raml/seed-1'].score - bleu['mle/seed-1'].score:+.2f} ["), "the same seed's"
    ratios = [sacrebleu.corpus_bleu(OUTPUTS[f"mixer/seed-{seed}"], [REFERENCES]).ratio for seed in (1, 2)]
    assert rows["mixer"][-1] == f"{sum(ratios) / 2:.3f}"
    assert list(rows)[1:] == ["---", "start", "mle", "mixer", "raml"] and rows["mle"][4] == ""
    assert "p =" in rows["mixer"][4] and "p =" not in rows["start"][4]
    assert rows["start"][4].startswith(f"{bleu['start/seed-1'].score - mean['mle']:+.2f} ["), "every seed went on from it"

    summary.main(tmp_path / "runs", tmp_path / "data", "dev")
    printed = capsys.readouterr().out
    titles = [line.rpartition("search, ")[2] for line in printed.splitlines() if "greedy search" in line]
    assert titles == ["Chrf(character_order=6, word_order=0, beta=1)", "Gleu(max_order=4, tokenizer=auto)"], "each in use, once"
    first, second = (rows_of(table) for table in printed.split("###")[2:])
    gleu = 20 * sum(Gleu(target_language="en")(OUTPUTS["raml/seed-1"], REFERENCES))
    assert second["raml"][2] == f"{gleu:.2f}"
    of = {name: 20 * sum(Chrf(beta=1)(texts, REFERENCES)) for name, texts in OUTPUTS.items()}
    rise = (of["mixer/seed-1"] + of["mixer/seed-2"]) / 2 - of["start/seed-1"]
    assert first["mixer"][3].startswith(f"{rise:+.2f} [") and first["start"][2] == f"{of['start/seed-1']:.2f}"


@pytest.mark.parametrize(
    ("stage", "objectives", "message"),
    [("valid", "mle", "the stage is dev or test, not valid"), ("dev", "mixr", "settings.sh knows no mixr")],
)
def test_a_misspelt_word_trains_and_decodes_nothing(stage: str, objectives: str, message: str, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "seqgen").write_text(
        f'#!/usr/bin/env bash\necho "$@" >> {calls}\nfor word; do [[ $word != runtime.runs_folder=* ]] || '
        'mkdir -p "${word#*=}/text-run"; done\n'
    )
    (tmp_path / "seqgen").chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNS": str(tmp_path / "runs"), "MODELS": "transformer", "SEEDS": "1"}
    command = ["bash", str(RECIPE / "run.sh"), str(tmp_path), stage]
    done = subprocess.run(command, capture_output=True, text=True, env={**settings, "OBJECTIVES": objectives})
    assert done.returncode != 0 and message in done.stderr
    assert not calls.exists() or "schedule=constant" not in calls.read_text()
