"""What stands on a terminal after a command, carriage returns and erasures obeyed; and what a command does not import."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.faults.test_resume import TINY

COLUMNS = 100
NARROW = ["model=rnn", "model.hidden_size=8", "model.embedding_size=8", *TINY, "trainer.steps=6", "trainer.evaluate_every=2"]


def on_a_terminal(arguments: list[str], folder: Path) -> tuple[int, list[str]]:
    """The exit code of seqgen and the lines that stand on the screen at the end; typed input ends at once."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-m", "seqgen_cli", *arguments]
    child = subprocess.Popen(words, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    written = b""
    try:
        while data := os.read(master, 1 << 16):
            written += data
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return child.wait(), screen(written.decode())


def screen(written: str) -> list[str]:
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\r|\n|\x1b\[\d*[A-Za-z]|[^\r\n\x1b]+", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def test_the_screen_of_these_tests_obeys() -> None:
    assert screen("abc\rx\n12\r\x1b[Kyz\x1b[1m!\x1b[A\rQ") == ["Qbc", "yz!"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("terminal")
    code, lines = on_a_terminal(["train", *NARROW, "trainer.plots=true", "runtime.cache_folder=cache"], folder)
    assert code == 0, lines
    return folder, lines


def test_a_training_ends_with_its_bar_above_its_summary(trained: tuple[Path, list[str]]) -> None:
    folder, lines = trained
    (run,) = (path.name for path in (folder / "runs").iterdir())
    start = lines.index("Drawing the curves.")
    assert lines[start - 1].startswith("100%|") and "6/6" in lines[start - 1] and len(lines[start - 1]) <= COLUMNS
    names = [line.split()[0] for line in lines[start + 1 :] if line]
    assert names == ["run", "best", "samples", "plots"] and lines[start + 1] == f"run      runs/{run}"
    assert sum("%|" in line for line in lines) == 1 and not any("%|" in line and "run " in line for line in lines)
    assert sum(line.startswith("update ") for line in lines) == 3
    assert "starting" not in "".join(lines) and lines[0] == "Reading data=phrasebook."


def test_results_on_a_terminal_have_no_bar_among_them(trained: tuple[Path, list[str]]) -> None:
    folder, _ = trained
    (run,) = (folder / "runs").iterdir()
    (folder / "in").write_text("これは本です。\n\n駅はどこですか。\n" * 100)
    asked = ["translate", "--ckpt", str(run), "--input", "in", "decoding=greedy"]
    code, lines = on_a_terminal([*asked, "--output", "out"], folder)
    assert code == 0 and len(lines) == 2 and lines[0].startswith("300 lines in ")
    code, shown = on_a_terminal(asked, folder)
    outputs = (folder / "out").read_text().splitlines()
    assert (
        code == 0 and len(outputs) == 300 and shown[:300] == [line.rstrip() for line in outputs] and "300 lines in" in shown[300]
    )


def test_translating_imports_nothing_that_only_training_or_drawing_needs(trained: tuple[Path, list[str]]) -> None:
    folder, _ = trained
    (run,) = (folder / "runs").iterdir()
    (folder / "one").write_text("これは本です。\n")
    heavy = {"torch._dynamo", "torch._inductor", "sympy", "matplotlib", "transformers", "tensorboard", "scipy"}
    asked = ["translate", "--ckpt", str(run), "--input", "one", "--output", "o"]
    code = (
        f"import sys; from seqgen_cli.cli.main import main; assert main({asked}) == 0; print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
