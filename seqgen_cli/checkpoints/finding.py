"""Which checkpoint a name, or a run, stands for."""

from collections.abc import Callable, Iterator
from pathlib import Path

from seqgen_cli.checkpoints.manifest import PICKLES, Manifest, read_manifest, verify
from seqgen_cli.errors import RequestError, SeqgenError


def find(place: str | Path, report: Callable[[str], None], last: bool = False) -> Path:
    """The checkpoint that `place` names, verified.

    Args:
        place: a run folder (its best checkpoint, or its last where none was evaluated), `RUN:last`, or a checkpoint folder.
        report: told of a damaged checkpoint and which one is used in its place.
        last: take a run's latest checkpoint, as `:last` does.

    Raises:
        RequestError: there is no such run or checkpoint, or it is of another format.
        SeqgenError: every checkpoint is damaged.
    """
    text = str(place)
    folder = Path(text.removesuffix(":last")) if not Path(text).exists() else Path(text)
    last = last or text != str(folder)
    if (folder / "checkpoints").is_dir():
        return _first_good(_ordered(folder / "checkpoints", last), report)
    if not folder.is_dir() or not any((folder / name).exists() for name in ("manifest.json", "model.safetensors", *PICKLES)):
        what = "is neither a run nor a checkpoint" if folder.exists() else "does not exist"
        raise RequestError(f"{folder} {what}. Give a run folder (runs/...), RUN:last, or a folder checkpoints/step-N of a run.")
    siblings = _ordered(folder.parent, last=True) if folder.parent.name == "checkpoints" else []
    names = [sibling.name for sibling in siblings]
    return _first_good([folder, *siblings[names.index(folder.name) + 1 :]] if folder.name in names else [folder], report)


def ranked(checkpoints: Path) -> list[Path]:
    """A run's evaluated steps, the best first."""
    pairs = [(folder, manifest) for folder, manifest in manifests(checkpoints) if manifest and folder.name.startswith("step-")]
    evaluated = [pair for pair in pairs if pair[1].merit > float("-inf")]
    return [folder for folder, _ in sorted(evaluated, key=_rank, reverse=True)]


def has_any(run: Path) -> bool:
    """Whether the run has a checkpoint to go on from."""
    return any((run / "checkpoints").glob("step-*"))


def _ordered(checkpoints: Path, last: bool) -> list[Path]:
    """Checkpoints from the one wanted down; those whose manifest cannot be read stand first, so that they are reported."""
    pairs = list(manifests(checkpoints))
    unreadable = [folder for folder, manifest in pairs if manifest is None]
    known = [(folder, manifest) for folder, manifest in pairs if manifest is not None]
    if last:
        steps = [pair for pair in known if pair[0].name.startswith("step-")]
        return unreadable + [folder for folder, _ in sorted(steps, key=lambda pair: pair[1].step, reverse=True)]
    return unreadable + [folder for folder, _ in sorted(known, key=_rank, reverse=True)]


def _rank(pair: tuple[Path, Manifest]) -> tuple[float, int]:
    """Of equals the earlier is the better, as for whoever watches the training (training/trainer.py, Watch); of those that were
    not evaluated the later.
    """
    merit, step = pair[1].merit, pair[1].step
    return (merit, step if merit == float("-inf") else -step)


def manifests(checkpoints: Path) -> Iterator[tuple[Path, Manifest | None]]:
    for folder in sorted(checkpoints.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            try:
                yield folder, read_manifest(folder)
            except RequestError:
                raise
            except SeqgenError:
                yield folder, None


def _first_good(candidates: list[Path], report: Callable[[str], None]) -> Path:
    problem = ""
    for folder in candidates:
        try:
            verify(folder)
        except RequestError:
            raise
        except SeqgenError as error:
            if problem:
                report(f"{problem}.")
            problem = str(error)
            continue
        if problem:
            report(f"{problem}; using {folder.name}.")
        return folder
    raise SeqgenError(f"{problem}, and there is no other to use." if problem else "The run has no checkpoint yet.")
