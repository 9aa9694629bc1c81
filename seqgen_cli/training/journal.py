"""What a run writes down as it goes: metrics.jsonl, TensorBoard events, the bar on the terminal, and at the end the curves."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from seqgen_cli.report.tables import to_json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_log = logging.getLogger(__name__)
_PLAIN_EVERY = 10.0  # seconds between log lines where there is no bar


class Journal:
    """Numbers of a run, one JSON object a line, each with `update` and what was read so far.

    Resuming cuts the file back to the update resumed from, so that it ends as that of a run never stopped.

    Args:
        run: the run's folder.
        update: updates made before.
        tensorboard: also write TensorBoard events.
        writes: False on all ranks but the main: nothing is written.
    """

    def __init__(self, run: Path, update: int, tensorboard: bool, writes: bool) -> None:
        self.path = run / "metrics.jsonl"
        self._writes = writes
        self._board: SummaryWriter | None = None
        if writes:
            _cut_back(self.path, update)
            if tensorboard:
                from torch.utils.tensorboard import SummaryWriter  # slow to import

                self._board = SummaryWriter(str(run / "tensorboard"), purge_step=update + 1 if update else None)

    def write(self, update: int, figures: Mapping[str, float]) -> None:
        """Add a line; what is not finite is written as null."""
        if not self._writes:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json({"update": update, **figures}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name.replace("valid_", "valid/"), value, update)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _cut_back(path: Path, update: int) -> None:
    """Drop what was written after `update`, and a line that an abrupt end left unfinished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["update"] <= update:
                kept.append(line)
        except ValueError:
            continue
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    temporary.replace(path)


class Bar:
    """Progress on stderr: a bar on a terminal, else a log line now and then.

    Args:
        total: updates of the whole run, None where only time bounds it. done: updates made before.
        bar: draw it if stderr is a terminal. shown: False on all ranks but the main.
    """

    def __init__(self, total: int | None, done: int, bar: bool, shown: bool) -> None:
        self._total, self._shown = total, shown
        self._last_line = time.monotonic()
        drawn = shown and bar and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, disable=not drawn, unit="update", dynamic_ncols=True, mininterval=0.5)

    def step(self) -> None:
        """One more update; draws at most twice a second."""
        self._bar.update()

    def show(self, update: int, text: str, always: bool = False) -> None:
        """The latest figures: beside the bar, or as a line."""
        self._bar.set_postfix_str(text, refresh=False)
        if self._shown and (always or (self._bar.disable and time.monotonic() - self._last_line >= _PLAIN_EVERY)):
            self._last_line = time.monotonic()
            _log.info("update %d%s: %s", update, f" of {self._total}" if self._total else "", text)

    def close(self) -> None:
        self._bar.close()


_PASSED_OVER = {"epoch", "seconds", "skipped"}  # the first two only grow with the updates; the last is nearly always 0
_AXES = {"update": "updates", "tokens": "target tokens read", "texts": "texts read"}


def curves(metrics_jsonl: Path, folder: Path) -> list[Path]:
    """Draw every quantity of a run's log against updates and against what was read; returns the PNG files.

    Args:
        metrics_jsonl: one JSON object a line, each with `update`, and `tokens` or `texts` read so far where it is known; what is
            not a number is passed over, and so are epoch, seconds and skipped updates.
        folder: where the pictures go; made if absent. One file a quantity, e.g. `loss.png`, `valid_perplexity.png`.
    """
    records = [json.loads(line) for line in metrics_jsonl.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = {name for record in records for name, value in record.items() if _is_number(value)} - set(_AXES) - _PASSED_OVER
    drawn = []
    for name in sorted(names):
        against = {axis: _points(records, axis, name) for axis in _AXES}
        against = {axis: points for axis, points in against.items() if len(points)}
        if against:
            drawn.append(folder / f"{name.replace('/', '_')}.png")
            _draw_curve(name, against, drawn[-1])
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _points(records: Sequence[dict[str, float]], axis: str, name: str) -> np.ndarray:
    """(points, 2): the records that hold numbers for both, in the order logged."""
    pairs = [(r[axis], r[name]) for r in records if _is_number(r.get(axis)) and _is_number(r.get(name))]
    return np.array(pairs, dtype=float).reshape(-1, 2)


def _draw_curve(name: str, against: dict[str, np.ndarray], path: Path) -> None:
    """One panel for each axis, with a shared scale of `name`."""
    from seqgen_cli.report.drawing import new_figure, save_figure  # matplotlib: only when training has ended

    figure = new_figure(5.0 * len(against), 3.5)
    panels = figure.subplots(1, len(against), sharey=True, squeeze=False)[0]
    for panel, (axis, points) in zip(panels, against.items(), strict=True):
        panel.plot(points[:, 0], points[:, 1], marker="." if len(points) < 50 else None, linewidth=1)
        panel.set_xlabel(_AXES[axis])
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(name, parse_math=False)
    save_figure(figure, path)
