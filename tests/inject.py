"""Puts faults into the code, one at a time, to see whether the tests notice: `make faults`, or python -m tests.inject [WORD ...].

Each line of injected_faults.txt is a fault: a file, a text that stands in it once, what takes its place, and the tests that
should fail for it (arguments of pytest), parted by " :: "; "\\n" is the end of a line. Headings name the faults' kinds. Each
is put into a copy of the tree of its own, in which those tests run until the first fails. A fault that no test notices is a
law that no test states.

Words choose the faults whose kinds or lines hold all of them.
"""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("injected_faults.txt")
SECONDS = 600
"""A fault under which tests run longer is noticed, too: something hangs."""


@dataclass(frozen=True)
class Fault:
    """One line of the list, under its heading."""

    kind: str
    file: str
    text: str
    replacement: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file} :: {self.text!r} -> {self.replacement!r}"

    def put_into(self, tree: Path) -> None:
        """Change the file in a copy of the tree.

        Raises:
            ValueError: the text does not stand there exactly once.
            SyntaxError: what comes of it is no Python.
        """
        path = tree / self.file
        code = path.read_text(encoding="utf-8")
        if code.count(self.text) != 1:
            raise ValueError(f"the text stands there {code.count(self.text)} times")
        code = code.replace(self.text, self.replacement)
        if path.suffix == ".py":
            ast.parse(code)
        path.write_text(code, encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: "killed" by the test `by`, "survived", or "invalid", as `by` says."""

    fault: Fault
    fate: str
    by: str

    def __str__(self) -> str:
        return f"{self.fate}: {self.fault}\n  {self.by or self.fault.tests}"


def read(lines: Iterable[str]) -> list[Fault]:
    """The faults of a list's lines.

    Raises:
        ValueError: a line has not four parts.
    """
    kind, found = "", []
    for line in map(str.strip, lines):
        if line.startswith("#"):
            kind = line.lstrip("# ")
        elif line:
            file, text, replacement, tests = line.split(" :: ")
            found.append(Fault(kind, file, text.replace("\\n", "\n"), replacement.replace("\\n", "\n"), tests))
    return found


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """The code, its choices and its tests in a folder of their own, where Python finds them before what is installed."""
    with tempfile.TemporaryDirectory(prefix="seqgen-fault-") as folder:
        tree = Path(folder) / root.name
        for part in ("seqgen_cli", "configs", "tests", "recipes", "docs"):
            if (root / part).is_dir():
                shutil.copytree(root / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in filter(Path.is_file, root.iterdir()):
            shutil.copy(file, tree)
        (tree / "seqgen_cli" / "configs").symlink_to(tree / "configs")
        yield tree


def failures(tree: Path, *arguments: str) -> list[str]:
    """Run tests in a copy; those that failed.

    Raises:
        RuntimeError: they could not be run.
        subprocess.TimeoutExpired: they ran for too long.
    """
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "SEQGEN_CACHE": str(tree.parent / "cache")}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    failed = [line.split(" - ")[0].split(" ", 1)[1] for line in said]
    if done.returncode and not failed:
        raise RuntimeError((done.stdout + done.stderr).strip()[-500:])
    return failed


def inject(fault: Fault, root: Path = ROOT) -> Outcome:
    """Run the fault's tests in a copy that has it."""
    with copy_of(root) as tree:
        try:
            fault.put_into(tree)
            failed = failures(tree, "-x", *shlex.split(fault.tests))
        except subprocess.TimeoutExpired:
            return Outcome(fault, "killed", "time")
        except (ValueError, SyntaxError, OSError, RuntimeError) as error:
            return Outcome(fault, "invalid", str(error))
    return Outcome(fault, "killed", failed[0]) if failed else Outcome(fault, "survived", "")


def without_false_kills(outcomes: list[Outcome], root: Path = ROOT) -> list[Outcome]:
    """The same, less kills by tests that fail without any fault."""
    killers = sorted({outcome.by for outcome in outcomes if outcome.fate == "killed" and outcome.by != "time"})
    if not killers:
        return outcomes
    with copy_of(root) as tree:
        failed = set(failures(tree, *killers))
    return [replace(each, fate="invalid", by=f"{each.by} fails anyway") if each.by in failed else each for each in outcomes]


def report(outcomes: list[Outcome]) -> str:
    """A line for each fault that was not killed, a table of kinds, and the sum."""
    lines = [str(each) for each in outcomes if each.fate != "killed"]
    kinds = dict.fromkeys(each.fault.kind for each in outcomes)
    counts = {kind: Counter(each.fate for each in outcomes if each.fault.kind == kind) for kind in kinds}
    counts["all"] = Counter(each.fate for each in outcomes)
    lines += [f"{'killed':>8} {'survived':>8} {'invalid':>8}  kind"]
    lines += [f"{count['killed']:8} {count['survived']:8} {count['invalid']:8}  {kind}" for kind, count in counts.items()]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """0 where every fault was killed."""
    chosen = [
        fault
        for fault in read(LIST.read_text(encoding="utf-8").splitlines())
        if all(word in f"{fault.kind} {fault} {fault.tests}" for word in words)
    ]
    outcomes = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outcome in tqdm(pool.map(inject, chosen), total=len(chosen), unit="fault", disable=None):
            outcomes.append(outcome)
            tqdm.write(str(outcome))
    outcomes = without_false_kills(outcomes)
    print(report(outcomes))
    return 0 if all(outcome.fate == "killed" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
