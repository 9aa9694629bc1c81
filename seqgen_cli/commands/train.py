"""seqgen train: data x model x output layer x objective, until the budget is spent; the same command goes on where it stopped."""

import json
import logging
import signal
from pathlib import Path
from typing import Any

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.errors import counted
from seqgen_cli.report.tables import write_figures
from seqgen_cli.runtime import process
from seqgen_cli.training import dry_run
from seqgen_cli.training.averaging import average_best
from seqgen_cli.training.journal import curves
from seqgen_cli.training.session import Session
from seqgen_cli.training.signals import InterruptedTrainingError, Interruption, StoppedError
from seqgen_cli.training.start import Start

_log = logging.getLogger(__name__)


def run(config: Config) -> dict[str, Any]:
    """Train, or go on training; returns the run's figures."""
    runtime = build.start_runtime(config)
    start = Start.of(config)
    _log.info("Reading %s.", config.data.owner)
    prepared = build.prepared(config, start.tokenizers, report=_log.info)
    if config.dry_run:
        return dry_run.report(config, start, prepared)
    log = process.log_to(start.run) if runtime.is_main else None
    session = Session(config, start, prepared)
    try:
        with Interruption() as interruption:
            _train(session, interruption)
        return _finish(session)
    finally:
        session.close()
        if log is not None:
            process.stop_log(log)


def _train(session: Session, interruption: Interruption) -> None:
    """Step until the run is over; log, validate and save when due."""
    loop, trainer = session.loop, session.trainer
    _log.info("%s %s", "Going on with" if loop.update else "Training", session.start.run)

    def stop_if_asked() -> None:
        if session.agreed(interruption.signal != 0):
            raise InterruptedTrainingError

    check = stop_if_asked if session.runtime.world_size == 1 else lambda: None  # ranks stop together, between steps only
    try:
        while not session.over or session.validation_due:
            if not session.validation_due:  # a run stopped before its validation begins with it
                session.step()
            if session.validation_due:
                session.log()
                session.validate(check)
                session.save()
            elif loop.update % trainer.log_every == 0:
                session.log()
            if trainer.save_every and loop.update % trainer.save_every == 0 and session.validated != loop.update:
                session.save()
            stop_if_asked()
        if session.out_of_patience and not session.spent:
            watch = session.watch
            _log.info(f"Stopped: {watch.metric} has not been better in {counted(watch.bad, 'validation')} (trainer.patience).")
    except InterruptedTrainingError:
        folder = session.save()
        raise StoppedError(
            f"stopped at update {loop.update} and saved {folder}; the same command goes on from there.",
            interruption.signal or signal.SIGTERM,  # another rank was asked
        ) from None


def _finish(session: Session) -> dict[str, Any]:
    """Average, draw, and say where everything is; done once, and found again by a run that is already over."""
    run, watch = session.start.run, session.watch
    place = run / "result.json"
    result = session.runtime.broadcast(json.loads(place.read_text(encoding="utf-8")) if place.exists() else {})
    session.bar.close()  # before anything is printed under it
    if result.get("update") != session.loop.update:
        result = {"run": str(run), "update": session.loop.update, "best_update": watch.best_step, watch.metric: watch.best}
        result |= {
            "precision": session.runtime.precision,
            "seconds": session.seconds,
            "peak_memory_bytes": session.memory.peak_bytes,
        }
        result |= {**{f"last_{name}": value for name, value in session.figures.items()}}
        if session.trainer.average:
            result |= average_best(session, session.trainer.average)
        if session.runtime.is_main:
            if session.trainer.plots:
                _log.info("Drawing the curves.")
                curves(session.journal.path, run / "plots")
            write_figures(place, result)
    if session.runtime.is_main:
        _summarise(run, result, watch.metric)
    return result


def _summarise(run: Path, result: dict[str, Any], metric: str) -> None:
    value = result.get(f"average_{metric}") if result.get("average_kept") else result[metric]
    where = "average of the best checkpoints" if result.get("average_kept") else f"update {result['best_update']}"
    print(f"run      {run}")
    made = counted(result["update"], "update")
    print(f"best     {metric} {'not a number' if value is None else f'{value:.4g}'} ({where}; {made} made)")
    for name in ("samples", "plots"):
        if (run / name).is_dir():
            print(f"{name:8} {run / name}")
