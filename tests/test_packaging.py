"""The wheel and the sdist: complete, and working from any folder. (`make test` itself runs from an editable install.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOMEONE_ELSES = re.compile(r"\b(pip3?|pipx|uv( pip| tool)?) (install|add)\b[^&;|\n]*?(?<![\w/.])seqgen\b")
"""Advice to install a package named seqgen, with extras or not: on the index that name is another project's."""


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is in the repository, so that building leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            (copy / name).write_bytes((ROOT / name).read_bytes())
    for folder in ("seqgen_cli", "configs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".typed"):
                target = copy / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return copy


def build(source: Path, kind: str, place: Path) -> Path:
    """Build with setuptools alone: no network, no isolated environment."""
    program = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(place)!r}))"
    return place / run(sys.executable, "-c", program, cwd=source).splitlines()[-1]


def expected() -> set[str]:
    """Every module and config on disk, as the wheel names them."""
    code = {f"seqgen_cli/{path.relative_to(ROOT / 'seqgen_cli').as_posix()}" for path in (ROOT / "seqgen_cli").rglob("*.py")}
    configs = [path for path in (ROOT / "configs").rglob("*") if path.suffix in (".py", ".yaml")]
    return code | {f"seqgen_cli/configs/{path.relative_to(ROOT / 'configs').as_posix()}" for path in configs}


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory) -> Path:
    sdist = build(source, "sdist", tmp_path_factory.mktemp("sdist"))
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    return build(folder, "wheel", tmp_path_factory.mktemp("wheel"))  # from the sdist: it must be complete


def test_the_wheel_holds_every_module_and_config(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected()


def test_the_installed_wheel_works_from_another_folder(wheel: Path, tmp_path) -> None:
    assert wheel.name.startswith(f"seqgen_cli-{PROJECT['version']}-")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel), cwd=elsewhere)
    script = site / "bin" / "seqgen"
    assert script.exists()
    # An editable install puts the repository behind `site` on the path: the installed files must come first, and be enough.
    where = run(sys.executable, "-c", "import seqgen_cli.configs as c; print(c.__file__)", cwd=elsewhere, PYTHONPATH=str(site))
    assert Path(where.strip()) == site / "seqgen_cli" / "configs" / "__init__.py"
    version = run(sys.executable, str(script), "--version", cwd=elsewhere, PYTHONPATH=str(site))
    assert version == f"seqgen {PROJECT['version']}\n"
    help_page = run(sys.executable, str(script), "train", "--help", cwd=elsewhere, PYTHONPATH=str(site))
    assert "transformer" in help_page
    config = run(sys.executable, str(script), "train", "--cfg", "job", "model=rnn", cwd=elsewhere, PYTHONPATH=str(site))
    assert "seqgen_cli.models.rnn" in config


def test_constraints_pin_every_direct_dependency() -> None:
    extras = [name for names in PROJECT["optional-dependencies"].values() for name in names]
    wanted = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in PROJECT["dependencies"] + extras}  # type: ignore[index]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+", line) for line in lines)
    names = [line.partition("==")[0] for line in lines]
    assert wanted <= set(names) and len(names) == len(set(names))
    assert "torch==2.13.0" in lines


def test_nobody_is_told_to_install_the_package_of_our_name_that_is_not_ours() -> None:
    for what in ("seqgen", "'seqgen[bert]'", "-U seqgen-cli"):
        assert SOMEONE_ELSES.search(f"pip install {what}")
    assert not SOMEONE_ELSES.search("pip install -c constraints.txt -e . && seqgen train")
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    texts = {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in names if (ROOT / name).is_file()}
    assert len(texts) > 100
    assert [name for name, text in texts.items() if SOMEONE_ELSES.search(text)] == []


def test_this_environments_script_works_from_another_folder(tmp_path) -> None:
    """The environment of `make test` is an editable install."""
    script = Path(sys.executable).with_name("seqgen")
    assert "transformer" in run(str(script), "train", "--help", cwd=tmp_path)
    assert "seqgen_cli.models.rnn" in run(str(script), "train", "--cfg", "job", "model=rnn", cwd=tmp_path)
