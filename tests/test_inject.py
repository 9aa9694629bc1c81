"""The list of faults fits the code, and what is said of each is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inject import LIST, ROOT, Fault, Outcome, inject, read, report, without_false_kills

FAULTS = read(LIST.read_text(encoding="utf-8").splitlines())

TOY = {
    "seqgen_cli/__init__.py": "",
    "seqgen_cli/outputs/__init__.py": "",
    "seqgen_cli/outputs/sums.py": "def add(a, b):\n    return a + b  # the sum\n\n\ndef double(a):\n    return a + a\n",
    "configs/__init__.py": "",
    "configs/sums.yaml": "start: 1\n",
    "tests/__init__.py": "",
    "tests/test_sums.py": """
from importlib import resources
from seqgen_cli.outputs.sums import add, double

def test_add():
    assert add(2, 3) == 5

def test_double():
    assert double(2) == add(1, 3)

def test_start():
    assert (resources.files("seqgen_cli.configs") / "sums.yaml").read_text() == "start: 1\\n"

def test_broken():
    assert False
""",
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in TOY.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


def fault(text: str, replacement: str, test: str, file: str = "seqgen_cli/outputs/sums.py") -> Fault:
    return Fault("toy", file, text, replacement, f"tests/test_sums.py -k '{test}'")


@pytest.mark.parametrize(
    ("injected", "fate", "by"),
    [
        (fault("a + b", "a - b", "add or double"), "killed", "tests/test_sums.py::test_add"),
        (fault("start: 1", "start: 2", "start", "configs/sums.yaml"), "killed", "tests/test_sums.py::test_start"),
        (fault("a + a", "a * 2", "double"), "survived", ""),
        (fault("a * b", "a - b", "add"), "invalid", "the text stands there 0 times"),
        (fault("return a", "return", "add"), "invalid", "the text stands there 2 times"),
        (fault("a + b", "a +", "add"), "invalid", "invalid syntax (<unknown>, line 2)"),
        (fault("a + b", "a", "add", "seqgen_cli/none.py"), "invalid", "No such file or directory"),
        (fault("a + b", "a", "nothing"), "invalid", "4 deselected"),
    ],
)
def test_what_becomes_of_a_fault(toy: Path, injected: Fault, fate: str, by: str) -> None:
    outcome = inject(injected, toy)
    assert outcome.fate == fate and by in outcome.by
    assert {name: (toy / name).read_text() for name in TOY} == TOY  # the tree itself is left alone


def test_a_test_that_fails_anyway_kills_nothing(toy: Path) -> None:
    outcomes = [inject(fault("a + b", "a - b", name), toy) for name in ("broken", "add")]
    assert [each.fate for each in outcomes] == ["killed", "killed"]
    outcomes = without_false_kills(outcomes, toy)
    assert [each.fate for each in outcomes] == ["invalid", "killed"]
    assert outcomes[0].by == "tests/test_sums.py::test_broken fails anyway"


def test_the_report_counts_each_kind() -> None:
    one, two = (Fault(kind, "a.py", "x", "y", "tests/test_a.py") for kind in ("loss", "search"))
    said = report([Outcome(one, "killed", "test_a"), Outcome(one, "survived", ""), Outcome(two, "invalid", "no such text")])
    assert said.splitlines() == [
        "survived: a.py :: 'x' -> 'y'",
        "  tests/test_a.py",
        "invalid: a.py :: 'x' -> 'y'",
        "  no such text",
        "  killed survived  invalid  kind",
        "       1        1        0  loss",
        "       0        0        1  search",
        "       1        1        1  all",
    ]


@pytest.mark.parametrize("listed", FAULTS, ids=lambda listed: f"{listed.file}-{FAULTS.index(listed)}")
def test_every_fault_can_be_put_in(listed: Fault, tmp_path: Path) -> None:
    """A list that code has moved away from would check nothing."""
    code = (ROOT / listed.file).read_text(encoding="utf-8")
    (tmp_path / listed.file).parent.mkdir(parents=True)
    (tmp_path / listed.file).write_text(code, encoding="utf-8")
    listed.put_into(tmp_path)
    assert (tmp_path / listed.file).read_text(encoding="utf-8") != code
    assert listed.kind
    for word in listed.tests.split():
        assert not word.startswith("tests/") or (ROOT / word.split("::")[0]).is_file(), word


def test_faults_are_spread_over_every_folder() -> None:
    files = [path for path in (ROOT / "seqgen_cli").rglob("*.py") if path.read_text(encoding="utf-8").strip()]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in files}
    assert folders <= {Path(listed.file).parent.as_posix() for listed in FAULTS}
