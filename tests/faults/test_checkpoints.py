"""Checkpoints: whole or absent, verified, the previous one used where one is damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from seqgen_cli.checkpoints import finding, writing
from seqgen_cli.checkpoints.manifest import Manifest, sha256, verify
from seqgen_cli.checkpoints.weights import network_weights, read_state
from seqgen_cli.errors import RequestError, SeqgenError


def save(run: Path, step: int, metrics: dict[str, float] | None = None, higher: bool = False, name: str = "") -> Path:
    return writing.write(
        run / "checkpoints" / (name or f"step-{step}"),
        Manifest(step, metrics or {}, "bleu" if higher else "nll", higher),
        weights={"model.weight": torch.full((3,), float(step)), "output.bias": torch.ones(2)},
        state={"step": step, "tensor": torch.arange(3), "nested": [{"a": (1, 2.5, None, "x", True)}]},
        config={"seed": 1, "name": "日本語"},
        save_tokenizers=lambda folder: (folder / "source.model").write_bytes(b"pieces") and None,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step, nll in ((100, 3.0), (200, 1.0), (300, 2.0)):
        save(tmp_path / "run", step, {"nll": nll})
    return tmp_path / "run"


class Reports(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def test_what_is_written_is_read(run: Path) -> None:
    folder = run / "checkpoints" / "step-200"
    found = verify(folder)
    assert found.step == 200 and found.metrics == {"nll": 1.0}
    files = {"model.safetensors", "training.pt", "config.yaml", "tokenizers/source.model"}
    assert set(found.files) == files
    assert load_file(folder / "model.safetensors")["model.weight"].tolist() == [200.0] * 3
    state = read_state(folder)
    assert state["step"] == 200 and state["nested"] == [{"a": (1, 2.5, None, "x", True)}]
    assert (folder / "config.yaml").read_text(encoding="utf-8") == "seed: 1\nname: 日本語\n"


def test_find_takes_the_best_the_last_or_the_one_named(run: Path) -> None:
    reports = Reports()
    assert finding.find(run, reports).name == "step-200"
    assert finding.find(f"{run}:last", reports).name == "step-300"
    assert finding.find(run, reports, last=True).name == "step-300"
    assert finding.find(run / "checkpoints" / "step-100", reports).name == "step-100"
    assert reports == []


def test_find_maximises_where_higher_is_better(tmp_path: Path) -> None:
    for step, bleu in ((1, 10.0), (2, 30.0), (3, 20.0)):
        save(tmp_path, step, {"bleu": bleu, "nll": float(step)}, higher=True)
    save(tmp_path, 4)  # not evaluated
    assert finding.find(tmp_path, print).name == "step-2"
    save(tmp_path, 4, {"bleu": 31.0}, higher=True, name="average")
    assert finding.find(tmp_path, print).name == "average"
    assert finding.find(f"{tmp_path}:last", print).name == "step-4"


def test_a_run_that_was_never_evaluated_gives_its_last(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 10)
    assert finding.find(tmp_path, print).name == "step-10"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("spoil", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "training.pt", "config.yaml", "tokenizers/source.model"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(run: Path, name: str, spoil: Any) -> None:
    damaged = run / "checkpoints" / "step-300"
    spoil(damaged / name)
    reason = f"{name} is missing" if spoil is Path.unlink else f"{name}: SHA-256 differs from its manifest"
    for place in (f"{run}:last", damaged):
        reports = Reports()
        assert finding.find(place, reports).name == "step-200"
        assert reports == [f"{damaged} is damaged ({reason}); using step-200."]


def test_several_damaged_checkpoints_are_each_named(run: Path) -> None:
    flip(run / "checkpoints/step-300/model.safetensors")
    cut(run / "checkpoints/step-200/manifest.json")
    (run / "checkpoints/step-200/manifest.json").write_text('{"format": 1, "st')
    reports = Reports()
    assert finding.find(f"{run}:last", reports).name == "step-100"
    assert len(reports) == 2 and "step-200 is damaged (manifest.json cannot be read)" in reports[0]
    flip(run / "checkpoints/step-100/config.yaml")
    with pytest.raises(SeqgenError, match=r"step-100 is damaged .*no other to use"):
        finding.find(run, reports)


def test_a_copied_checkpoint_alone_is_enough_and_refused_when_damaged(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "step-100").rename(tmp_path / "mine")
    assert finding.find(tmp_path / "mine", print) == tmp_path / "mine"
    flip(tmp_path / "mine" / "model.safetensors")
    with pytest.raises(SeqgenError, match=r"mine is damaged \(model.safetensors"):
        finding.find(tmp_path / "mine", print)


def test_another_format_is_refused(run: Path) -> None:
    path = run / "checkpoints" / "step-300" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    for place in (run, path.parent):
        with pytest.raises(RequestError, match="step-300 has checkpoint format 2; this seqgen reads format 1"):
            finding.find(place, print)


class Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("how", ["bare", "zipped", "renamed"])
def test_a_pickle_in_place_of_weights_is_refused_unopened(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path, 1)
    weights = folder / "model.safetensors"
    if how == "zipped":
        torch.save({"model.weight": Bomb()}, weights)
    else:
        weights.write_bytes(pickle.dumps({"model.weight": Bomb()}))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = sha256(weights)  # a stranger makes the digests fit
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if how == "renamed":
        weights.rename(folder / "model.bin")
    with pytest.raises(RequestError, match="is a pickle"):
        finding.find(folder, print)
    assert not (tmp_path / "exploded").exists()


def test_training_state_with_code_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"loop": Bomb()}, run / "checkpoints/step-300/training.pt")
    with pytest.raises(SeqgenError, match="tensors and plain types"):
        read_state(run / "checkpoints/step-300")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("place", ["absent", "empty"])
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=place):
        finding.find(tmp_path / place, print)


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in range(95, 104):
        save(tmp_path, step, {"nll": abs(step - 98.2)})
        writing.keep(tmp_path / "checkpoints", last=2, best=3)
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {f"step-{step}" for step in (97, 98, 99, 102, 103)}
    assert finding.find(f"{tmp_path}:last", print).name == "step-103"


def test_what_an_interrupted_write_left_is_ignored_and_cleared(run: Path) -> None:
    (run / "checkpoints" / ".writing-step-400").mkdir()
    (run / "checkpoints" / ".writing-step-400" / "model.safetensors").write_bytes(b"half")
    assert finding.find(f"{run}:last", print).name == "step-300"
    writing.keep(run / "checkpoints", last=5, best=0)
    assert not list((run / "checkpoints").glob(".*"))


def test_writing_replaces_a_damaged_checkpoint_of_that_step(run: Path) -> None:
    place = run / "checkpoints/step-300"
    flip(place / "model.safetensors")
    with pytest.raises(SeqgenError, match="SHA-256"):
        verify(place)
    save(run, 300, {"nll": 2.0})
    assert verify(place).metrics == {"nll": 2.0}


@pytest.mark.parametrize("limit", [0, 100, 900])
def test_a_full_disk_leaves_the_earlier_checkpoints_and_nothing_else(run: Path, limit: int) -> None:
    """The limit on a file's size stands in for a full disk: it strikes in the weights, and in the training state."""
    reading, writing = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            save(run, 400)
        except SeqgenError as error:
            writing.send(str(error))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    assert reading.poll(60)
    message = reading.recv()
    process.join()
    assert "step-400 could not be written" in message and "File too large" in message
    assert "Earlier checkpoints are intact" in message
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-100", "step-200", "step-300"]
    assert finding.find(f"{run}:last", print).name == "step-300"


def test_shared_tensors_are_stored_once() -> None:
    model, output = nn.Linear(3, 3), nn.Linear(3, 3)
    output.weight = model.weight
    assert set(network_weights(model, output)) == {"model.weight", "model.bias", "output.bias"}


def test_weights_whose_first_byte_looks_like_a_pickle_are_read(tmp_path: Path) -> None:
    """A safetensors file begins with the length of its header, whose lowest byte may be 0x80, a pickle's first."""
    for length in range(1, 300):
        folder = writing.write(
            tmp_path / "checkpoints" / "step-1",
            Manifest(1),
            weights={"model." + "x" * length: torch.ones(1)},
            state=None,
            config={},
            save_tokenizers=lambda place: None,
        )
        if (folder / "model.safetensors").read_bytes()[:1] == b"\x80":
            assert verify(folder).step == 1
            return
    pytest.fail("no header of such a length came about")
