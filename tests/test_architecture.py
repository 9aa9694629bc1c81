"""The shape of the code, read from its syntax trees: who imports whom, who may read the environment, where tensors are made."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "seqgen_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

FACTORIES = frozenset(
    {"arange", "as_tensor", "empty", "empty_strided", "eye", "from_numpy", "full", "linspace", "logspace", "normal", "ones"}
    | {"rand", "randint", "randn", "randperm", "range", "scalar_tensor", "sparse_coo_tensor", "tensor", "tril_indices"}
    | {"triu_indices", "zeros", "hann_window"}
)
"""torch functions that make a tensor from nothing, on the default device unless told."""

DEVICE_FREE = frozenset({"from_numpy"})
"""Those without `device=`: always on the CPU, so not for code that runs on a device."""

EVERYWHERE = frozenset({"errors", "hints", "runtime"})
"""What anyone may use."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    room: EVERYWHERE | set(others.split())
    for room, others in {
        "errors": "",
        "hints": "",
        "runtime": "",
        "layers": "",
        "metrics": "",
        "report": "",
        "data": "layers metrics.translation",
        "models": "layers data.batch",
        "outputs": "layers",
        "decoding": "layers data.batch models.base outputs.base",
        "objectives": "layers data.batch models.base outputs.base decoding metrics",
        "config": "data models.base outputs.base objectives decoding.base metrics.base training.trainer tasks.base",
        "checkpoints": "config data outputs.base tasks.base",
        "tasks": "checkpoints config data layers models.base outputs.base decoding metrics report",
        "training": "tasks checkpoints config data layers outputs.base objectives.base report",
        "bench": "training tasks config data layers outputs.base objectives.base decoding report",
        "commands": "bench training tasks config data models.base metrics report",
        "cli": "checkpoints config report",
        "__main__": "cli",
        "__init__": "tasks",
    }.items()
}
"""What each room may import besides itself. `x.base` allows that one file, `x` every file of the room. cli names the command
that it runs, and imports it by its name."""

HYDRA = "config/compose.py"
ENVIRONMENT = {
    "runtime/process.py": None,
    "cli/main.py": {"RANK"},
    "cli/completion.py": {"COMP_LINE", "COMP_POINT"},
    "cli/hydra_main.py": {"HYDRA_FULL_ERROR"},
}
"""Who reads the environment, and which variables (None: any). runtime needs torch, which --help and completion must not load."""

TAKES_ANY_NAME = frozenset({"config/parts.py:__call__", "data/corpora/phrasebook/construction.py:construction"})
"""A Part gives each value to the constructor that declares it; the slots of a construction are the parameters of its sentence."""


def room(path: Path) -> str:
    """models/rnn.py -> "models", errors.py -> "errors"."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module imported anywhere in the file, functions included; `from a import b` as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def label(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def allowed(mine: str, parts: list[str]) -> bool:
    """Whether room `mine` may import the module seqgen_cli.<parts>."""
    return parts[0] == mine or bool({parts[0], ".".join(parts[:2])} & MAY_IMPORT[mine])


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_run_one_way(path: Path) -> None:
    mine = room(path)
    assert mine in MAY_IMPORT, f"say in MAY_IMPORT what {mine} may import"
    for module in imports(parsed(path)):
        parts = module.split(".")
        # A top-level `from seqgen_cli import build` is a.b too; seqgen_cli.configs is data, not code.
        if parts[0] == "seqgen_cli" and len(parts) > 1 and parts[1] != "configs":
            assert allowed(mine, parts[1:]), f"{label(path)} imports {module}"


def test_the_table_forbids_what_the_design_forbids() -> None:
    assert not allowed("models", ["outputs", "softmax"])
    assert not allowed("models", ["objectives", "base"])
    assert not allowed("decoding", ["models", "rnn"])
    assert not allowed("training", ["objectives", "mle"])
    assert not allowed("layers", ["data", "batch"])
    assert allowed("decoding", ["models", "base", "Generator"])


def test_the_top_holds_rooms_and_little_else() -> None:
    beside = {path.stem for path in PACKAGE.glob("*.py")}
    assert beside <= {"__init__", "__main__", "errors", "hints"}
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()} - {"configs"} == {
        room for room in MAY_IMPORT if room not in beside
    }


def test_no_import_leads_back() -> None:
    """Neither file by file nor room by room, where a file that is allowed by itself is a room of its own."""
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in FILES}
    alone = {other for others in MAY_IMPORT.values() for other in others if "." in other}
    files: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for name, path in names.items():
        for module in imports(parsed(path)):
            inner = module.removeprefix("seqgen_cli.")
            found = next((each for each in (inner, inner.rpartition(".")[0]) if each in names), None)
            if module.startswith("seqgen_cli.") and found is not None and found != name:
                files.setdefault(name, set()).add(found)
                pair = [each if each in alone else each.partition(".")[0] for each in (name, found)]
                if pair[0].partition(".")[0] != pair[1].partition(".")[0]:
                    rooms.setdefault(pair[0], set()).add(pair[1])
    for graph in (files, rooms):
        assert list(TopologicalSorter(graph).static_order())


TASKS = frozenset(path.parent.name for path in PACKAGE.glob("tasks/*/task.py"))
OWN_TASK = {f"commands/{name}.py": name for name in TASKS} | {"commands/eval.py": "translate"}
"""The commands that apply one task's models; eval also scores files of translations, without a model."""


def asks_for_the_task(tree: ast.AST, mine: str | None) -> list[int]:
    """Lines that ask which task there is: a task's name in a comparison, an attribute that tells tasks apart, or the import of
    what only one of them has (of another one than `mine`)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
            found += [node.lineno] if texts & TASKS else []
        elif isinstance(node, ast.Attribute) and node.attr == "classifies":
            found.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "isinstance"):
            asked = ast.unparse(node)
            told = ("'classifies'", "'reads_source'", "LabelledDataset", "LabelledCorpus", "Labels", "Classifier")
            found += [node.lineno] if any(word in asked for word in told) else []
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seqgen_cli.tasks."):
            other = node.module.split(".")[2]
            found += [node.lineno] if other in TASKS and other != mine else []
    return sorted(found)


@pytest.mark.parametrize("path", [path for path in FILES if room(path) != "tasks"], ids=label)
def test_nobody_else_asks_which_task_it_is(path: Path) -> None:
    assert asks_for_the_task(parsed(path), OWN_TASK.get(label(path))) == []


def test_a_question_for_the_task_is_seen() -> None:
    source = "if task.name == 'classify': pass\nx = model.classifies\ny = isinstance(data, LabelledDataset)\nprint('translate')\n"
    source += "from seqgen_cli.tasks.translate.translator import Translator\nfrom seqgen_cli.tasks.base import Task\n"
    assert asks_for_the_task(ast.parse(source), None) == [1, 2, 3, 5]
    assert asks_for_the_task(ast.parse(source), "translate") == [1, 2, 3]


def test_the_page_names_every_room_and_nothing_else() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = {name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)/?`", line.split("|")[1])}
    assert rows == {room for room in MAY_IMPORT if not room.startswith("__")}
    for name in re.findall(r"`([\w/]+/[\w.]*)`", page):
        assert (PACKAGE / name).exists() or (PACKAGE.parent / name).exists(), name


@pytest.mark.parametrize("path", FILES, ids=label)
def test_only_the_command_line_and_config_know_hydra(path: Path) -> None:
    used = {module.split(".")[0] for module in imports(parsed(path))} & {"hydra", "omegaconf"}
    assert not used or room(path) == "cli" or label(path) == HYDRA


@pytest.mark.parametrize("path", FILES, ids=label)
def test_only_runtime_reads_the_environment_and_imports_distributed(path: Path) -> None:
    tree = parsed(path)
    text = path.read_text(encoding="utf-8")
    if label(path) != "runtime/process.py":
        assert not any(module.startswith("torch.distributed") for module in imports(tree))
        assert "dist." not in text or "torch.distributed" not in text
    names = {
        node.slice.value if isinstance(node, ast.Subscript) else node.args[0].value  # type: ignore[attr-defined]
        for node in ast.walk(tree)
        if (isinstance(node, ast.Subscript) and _is_environ(node.value))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_environ(node.func.value))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("getenv", "putenv"))
    }
    mentions = any(_is_environ(node) or (isinstance(node, ast.Attribute) and node.attr == "getenv") for node in ast.walk(tree))
    variables = ENVIRONMENT.get(label(path), set())
    assert variables is None or (names <= variables and (not mentions or bool(names))), (
        f"{label(path)} reads {names or 'os.environ'}"
    )


def _is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (isinstance(node, ast.Name) and node.id == "environ")


def names_of_devices(tree: ast.AST) -> list[int]:
    """Lines that ask what kind of device one is: `device.type == ...`, `value.is_cuda`. (`is_meta` asks for values.)"""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "type")
        or (isinstance(node, ast.Attribute) and node.attr in ("is_cuda", "is_cpu", "is_mps"))
    ]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_what_a_device_can_do_is_asked_not_guessed(path: Path) -> None:
    found = names_of_devices(parsed(path))
    assert found == [] or room(path) == "runtime"


def test_a_guess_from_a_devices_name_is_seen() -> None:
    source = "fast = x.device.type == 'cuda'\nif x.is_cuda: pass\nif x.is_meta: pass\nkind = torch.Generator(x.device.type)\n"
    assert names_of_devices(ast.parse(source)) == [1, 2]


def doubles(tree: ast.AST) -> list[int]:
    """Lines that ask for float64, which not every device has: `value.double()`, `dtype=torch.float64`, `.to(torch.float64)`."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr == "double")
            or any(
                isinstance(value, ast.Attribute) and ast.unparse(value) == "torch.float64"
                for value in (*node.args, *(keyword.value for keyword in node.keywords))
            )
        )
    ]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_no_device_is_asked_for_float64(path: Path) -> None:
    """`devices.wide` and `sum_dtype` give the best there is. Checkpoints are averaged on the CPU."""
    assert doubles(parsed(path)) == [] or label(path) in ("runtime/devices.py", "training/averaging.py")


def test_float64_is_seen() -> None:
    source = "a.double()\ntorch.zeros(3, dtype=torch.float64)\na.to(torch.float64)\nb = {torch.float64: 1}\nnp.float64(3)\n"
    assert doubles(ast.parse(source)) == [1, 2, 3]


def stray_factories(tree: ast.AST) -> list[int]:
    """Lines of calls such as torch.zeros(...) that do not say their device."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            name, keywords = node.func.attr, {keyword.arg for keyword in node.keywords}
            if node.func.value.id == "torch" and name in FACTORIES and (name in DEVICE_FREE or "device" not in keywords):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "path", [path for path in FILES if room(path) in ("models", "layers", "outputs", "objectives", "decoding")], ids=label
)
def test_tensors_are_made_on_a_named_device(path: Path) -> None:
    assert stray_factories(parsed(path)) == []


def test_a_stray_factory_is_seen() -> None:
    source = "import torch\na = torch.zeros(3)\nb = torch.ones(3, device=a.device)\nc = torch.from_numpy(x)\nd = a.new_zeros(3)\n"
    assert stray_factories(ast.parse(source)) == [2, 4]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_functions_name_their_arguments(path: Path) -> None:
    """No **kwargs: a misspelt key must not vanish in one."""
    takes_any = {
        f"{label(path)}:{node.name}"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg
    }
    assert takes_any <= TAKES_ANY_NAME


@pytest.mark.parametrize("path", FILES, ids=label)
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 400
    assert path.name == "__init__.py" or lines[0].startswith('"""'), "a file starts by saying what it is"
