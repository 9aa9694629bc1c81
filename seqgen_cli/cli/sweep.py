"""`-m`: a command run over every combination of comma-separated values, by Hydra's own sweeper and launcher.

Each job leaves its figures, or its failure, in the sweep's folder, so a failure never stops the others, and any launcher
that shares a file system will do. The sweep ends with one table, on stdout and as table.csv.
"""

import csv
import hashlib
import importlib
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from seqgen_cli import errors
from seqgen_cli.cli.grammar import quote
from seqgen_cli.cli.hydra_main import hydra_main
from seqgen_cli.config.compose import amended, explain, first_of, plain, with_choices
from seqgen_cli.config.door import check_keys, checked
from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.report.tables import file_to_write, show, write_figures
from seqgen_cli.runtime import process
from seqgen_cli.runtime import process as runtime

_QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.sweep.subdir=.")
_SIGNALLED = 128  # exit codes above it: stopped by a signal


def sweep(command: str, overrides: Sequence[str], debug: bool) -> int:
    """Run the jobs, then show the table; 1 if any job failed.

    Raises:
        RequestError: an override is wrong, or the sweep was started by torchrun.
    """
    if runtime.world_size() > 1:
        raise RequestError("-m cannot run under torchrun. Start one process, and give each job its GPUs by a Hydra launcher.")
    place = file_to_write("--json", _given(overrides, "json"))
    swept = [override for override in overrides if not override.startswith("json=")]
    check_keys(command, [first_of(override) for override in swept])  # a wrong value is its job's alone
    arguments = amended(command, swept)
    name = hashlib.sha256(json.dumps([command, *sorted(swept)]).encode()).hexdigest()[:8]
    folder = Path(_given(overrides, "runtime.runs_folder") or "runs") / "sweeps" / name
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    for earlier in jobs.glob("*.json"):
        earlier.unlink()
    arguments += [*_QUIET, f"hydra.sweep.dir={quote(str(folder.absolute()))}"]
    try:
        hydra_main(command, ["-m", *arguments, *(["hydra.verbose=true"] if debug else [])], job)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(command, swept, error, multirun=True) from error
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(jobs.glob("*.json"), key=lambda path: int(path.stem))
    ]
    _report(results, folder)
    if place is not None:
        write_figures(place, results)
    return 1 if any(result["error"] for result in results) else 0


def _given(overrides: Sequence[str], key: str) -> str | None:
    """The value an override gives to `key`."""
    for override in overrides:
        if override.startswith(f"{key}="):
            return str(OverridesParser.create().parse_override(override).value())
    return None


def job(config: DictConfig) -> None:
    """One job of a sweep: run the command, and leave what came of it in the sweep's folder."""
    hydra = HydraConfig.get()
    process.start_logging(hydra.verbose is True)
    overrides = [str(override).lstrip("+") for override in hydra.overrides.task]
    result: dict[str, Any] = {"job": hydra.job.num, "overrides": overrides, "figures": {}, "error": None}
    print(f"seqgen: job {hydra.job.num}: {' '.join(overrides)}", file=sys.stderr)
    try:
        asked = checked(plain(with_choices(config, hydra.runtime.choices)), hydra.job.config_name)
        command = importlib.import_module(f"seqgen_cli.commands.{hydra.job.config_name}")
        with redirect_stdout(sys.stderr):  # stdout is for the sweep's table
            result["figures"] = command.run(asked) or {}
    except Exception as error:
        if hydra.verbose is True:
            traceback.print_exc()
        result["error"] = errors.sentence(error)
        print(f"seqgen: job {hydra.job.num} failed: {result['error']}", file=sys.stderr)
        if isinstance(error, SeqgenError) and error.exit_code > _SIGNALLED:
            raise SystemExit(error.exit_code) from error  # the user wants the whole sweep to stop
    path = Path(hydra.sweep.dir) / "jobs" / f"{hydra.job.num}.json"
    write_figures(path, result)


def _report(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Print the table of all jobs (what was varied, and the figures that differ), and write all of it as table.csv."""
    settings = [dict(override.partition("=")[::2] for override in result["overrides"]) for result in results]
    varied = [key for key in (settings[0] if settings else {}) if _differ(settings, key)]
    figures = [_flat(result["figures"]) for result in results]
    names = list(dict.fromkeys(name for each in figures for name in each))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*varied, *names, "error"])
        for each, figure, result in zip(settings, figures, results, strict=True):
            writer.writerow([*(each[key] for key in varied), *(figure.get(name, "") for name in names), result["error"] or ""])
    shown = [name for name in names if not _is_bound(name, names) and _is_number(figures, name) and _differ(figures, name)]
    failed = ["result"] if any(result["error"] for result in results) else []
    rows = [
        [each[key] for key in varied]
        + [_figure(figure, name) for name in shown]
        + (["failed" if result["error"] else "done"] if failed else [])
        for each, figure, result in zip(settings, figures, results, strict=True)
    ]
    show(
        errors.counted(len(results), "job"),
        [*varied, *shown, *failed],
        rows,
        [f"As csv, with all figures: {folder / 'table.csv'}"],
    )


def _differ(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a column says anything: its values are not all the same."""
    return len(rows) == 1 or len({str(row.get(name)) for row in rows}) > 1


def _is_number(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), float | int) for row in rows)


def _is_bound(name: str, names: Sequence[str]) -> bool:
    """Whether it is an end of another figure's interval, which is shown beside that figure."""
    figure, _, end = name.rpartition("_")
    return end in ("low", "high") and figure in names


def _figure(figures: Mapping[str, Any], name: str) -> str:
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    interval = f" [{_short(low)}, {_short(high)}]" if low is not None and high is not None else ""
    return _short(figures.get(name)) + interval


def _flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)
