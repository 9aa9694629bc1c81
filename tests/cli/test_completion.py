"""Shell completion of the `seqgen` script: what the shell runs, and what it gets back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from seqgen_cli.cli.grammar import COMMANDS
from seqgen_cli.cli.main import main
from seqgen_cli.config.listing import group_choices


def completions(line: str, capsys, monkeypatch) -> set[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setattr(sys, "argv", ["seqgen", "-sc", "query=bash"])
    assert main() == 0
    return set(capsys.readouterr().out.split())


def test_commands_complete_first(capsys, monkeypatch) -> None:
    assert completions("seqgen ", capsys, monkeypatch) == {*COMMANDS, "help"}
    assert completions("seqgen tr", capsys, monkeypatch) == {"train", "translate"}


def of(key: str, values: Iterable[str]) -> set[str]:
    return {f"{key}={value}" for value in values}


BASELINES = ("greedy", "learned", "leave_one_out", "moving_average", "none")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # choices and keys
        ("train model=", of("model", group_choices("model"))),
        ("train model=rnn optimizer=", of("optimizer", group_choices("optimizer"))),
        ("train model.dropo", {"model.dropout="}),
        ("train model=rnn model.cel", {"model.cell="}),
        ("train model.cel", set()),
        ("train mod", {"model=", "model."}),
        ("bench schedule=", of("schedule", group_choices("schedule"))),
        ("bench bench.st", {"bench.steps="}),
        ("translate model=", set()),
        # what a choice chooses in turn, and what a model brings
        ("train objective=reinforce objective/b", {"objective/baseline="}),
        ("train objective=reinforce objective/baseline=", of("objective/baseline", BASELINES)),
        ("train objective=reinforce objective.reward.eff", {"objective.reward.effective_order="}),
        ("train objective=reinforce objective/reward=rouge objective.reward.variant=", of("objective.reward.variant", "12l")),
        ("train model=bert_gru data.ar", {"data.archive="}),
        ("train data=text model=bert_gru data.bl", {"data.block="}),
        # values
        ("train model=rnn model.cell=", of("model.cell", ("lstm", "gru"))),
        ("train model=rnn model.cell=g", {"model.cell=gru"}),
        ("train trainer.tensorboard=", of("trainer.tensorboard", ("true", "false"))),
        ("train trainer.steps=", {"trainer.steps=null"}),
        ("train fresh=", of("fresh", ("true", "false"))),
        ("translate --invalid-utf8 ", {"replace", "error"}),
        ("train --cfg ", {"job"}),
        # after flags, also those that take a value
        ("train --debug model=rnn --seed 3 sch", {"schedule=", "schedule."}),
        ("eval --ckpt runs/x -m decoding=", of("decoding", group_choices("decoding"))),
        ("translate --ckpt ", set()),  # a path, which the shell knows
        ("translate --ckpt runs/x --inv", {"--invalid-utf8"}),
        ("train --fresh --dr", {"--dry-run"}),
        # help
        ("help model=r", {"model=rnn", "model=rnn_lm"}),
        ("help trans", {"translate"}),
        ("help objective/d", {"objective/decay", "objective/decay="}),
    ],
)
def test_what_can_stand_there(line: str, expected: set[str], capsys, monkeypatch) -> None:
    assert completions(f"seqgen {line}", capsys, monkeypatch) == expected


def test_ones_own_choices_complete(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "steps.yaml").write_text("_target_: tests.cli.test_completion.Steps\nevery: 10\nkind: down\n")
    line = f"seqgen train --config-dir {tmp_path} schedule="
    assert completions(line, capsys, monkeypatch) == of("schedule", (*group_choices("schedule"), "steps"))
    attached = line.replace("--config-dir ", "--config-dir=")
    assert completions(attached, capsys, monkeypatch) == of("schedule", (*group_choices("schedule"), "steps"))
    assert completions(f"{line}steps schedule.k", capsys, monkeypatch) == {"schedule.kind="}
    assert completions(f"{line}steps schedule.kind=", capsys, monkeypatch) == of("schedule.kind", ("down", "up"))


class Steps:
    def __init__(self, every: int, kind: Literal["down", "up"]) -> None:
        self.every, self.kind = every, kind

    def factor(self, update: int) -> float:
        return 1.0


def test_only_what_stands_before_the_cursor_counts(capsys, monkeypatch) -> None:
    line = "seqgen train model=rn trainer.steps=3"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(line.index(" trainer")))
    monkeypatch.setattr(sys, "argv", ["seqgen", "-sc", "query=bash"])
    assert main() == 0
    assert set(capsys.readouterr().out.split()) == {"model=rnn", "model=rnn_lm"}


def test_fish_gets_a_line_for_each(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COMP_LINE", "seqgen train model=rn")
    monkeypatch.delenv("COMP_POINT", raising=False)
    assert main(["-sc", "query=fish"]) == 0
    assert capsys.readouterr().out.splitlines() == ["model=rnn", "model=rnn_lm"]


def test_the_installed_script_completes_in_bash_after_flags() -> None:
    """Source what `seqgen -sc install=bash` prints in a real bash, and complete a line with it."""
    script, bash = shutil.which("seqgen", path=os.path.dirname(sys.executable)), shutil.which("bash")
    if script is None or bash is None:
        pytest.skip("needs bash and the installed seqgen script")
    program = """
        eval "$(seqgen -sc install=bash)"
        COMP_LINE="seqgen train --debug --seed 3 objective=m"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($COMP_LINE); COMP_CWORD=5
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    folder = os.path.dirname(script)
    done = subprocess.run(
        [bash, "-c", program], capture_output=True, text=True, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    )
    assert "objective=mle" in done.stdout.split(), done.stderr
