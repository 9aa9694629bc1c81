"""Tables (Markdown, to standard output) and plots of what the scripts beside this one measured: python summary.py RUNS.

RUNS holds lm_minutes/, lm_steps/ and tatoeba/ with their runs, and bench.json of `seqgen bench -m`; what is missing is left out.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

REFERENCE = "softmax"


@dataclass
class Run:
    """What a run left behind.

    Attributes:
        layer: its output layer.
        curve: (seconds since the start, validation perplexity), in order.
        speed: target tokens a second, the median over the log's lines.
        result, test: result.json, and the figures of `seqgen eval`.
    """

    layer: str
    curve: list[tuple[float, float]]
    speed: float
    result: dict[str, Any]
    test: dict[str, Any]


def runs_in(folder: Path) -> list[Run]:
    """The finished and evaluated runs, full softmax first."""
    found = [read(path.parent) for path in sorted(folder.glob("*/test.json"))]
    return sorted(found, key=lambda run: run.layer != REFERENCE)


def read(folder: Path) -> Run:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = {record["update"]: record["seconds"] for record in records if "seconds" in record}
    curve = [(seconds[record["update"]], record["valid_perplexity"]) for record in records if "valid_perplexity" in record]
    speed = statistics.median(record["tokens_per_second"] for record in records if "tokens_per_second" in record)
    result, test = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("result.json", "test.json"))
    return Run(folder.name.split("-")[2], curve, speed, result, test)


def interval(test: dict[str, Any], name: str, form: str) -> str:
    return f"{test[name]:{form}} [{test[f'{name}_low']:{form}}, {test[f'{name}_high']:{form}}]"


def reached(run: Run, perplexity: float) -> str:
    """Seconds until a validation was at least as good."""
    return next((f"{seconds:,.0f}" for seconds, value in run.curve if value <= perplexity), "not reached")


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def language_model_table(runs: list[Run]) -> str:
    goal = min((value for run in runs if run.layer == REFERENCE for _, value in run.curve), default=0.0)
    rows = [
        [
            run.layer,
            f"{run.result['update']:,}",
            f"{run.speed:,.0f}",
            interval(run.test, "perplexity", ".1f"),
            f"{run.result['peak_memory_bytes'] / 2**20:,.0f}",
            f"{run.result['seconds']:,.0f}",
            reached(run, goal),
        ]
        for run in runs
    ]
    return table(
        [
            "output layer",
            "updates",
            "training words/s",
            "test perplexity, 95 %",
            "peak memory, MiB",
            "seconds",
            f"seconds to {REFERENCE}'s best validation perplexity, {goal:.1f}",
        ],
        rows,
    )


def translation_table(runs: list[Run]) -> str:
    rows = [
        [
            run.layer,
            f"{run.result['update']:,}",
            f"{run.speed:,.0f}",
            interval(run.test, "bleu", ".2f"),
            f"{run.test['perplexity']:.3f}",
            f"{run.test['tokens_per_second']:,.0f}",
        ]
        for run in runs
    ]
    header = ["output layer", "updates", "training tokens/s", "test BLEU, 95 %", "test perplexity", "decoding tokens/s"]
    return table(header, rows)


def draw(path: Path, curves: dict[str, list[tuple[float, float]]], x: str, y: str) -> None:
    """Both axes are logarithmic."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    print(f"plot: {path}", file=sys.stderr)


def draw_bench(bench: list[dict[str, Any]], folder: Path) -> None:
    """Time of forward and backward against the number of words, with full softmax as anyone would write it."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for figures in (job["figures"] for job in bench if not job["error"]):
        for name, measured in (("plain softmax", figures["plain"]), (figures["output"], figures["layer"])):
            if "pass_seconds" in measured:
                curves[name] = [(v, 1e3 * s) for v, s in zip(figures["vocab_sizes"], measured["pass_seconds"], strict=True)]
    draw(folder / "time_by_words.png", curves, "words", "forward and backward, ms")


def main(folder: Path) -> None:
    for part, title in (("lm_minutes", "The same minutes"), ("lm_steps", "The same updates")):
        if runs := runs_in(folder / part):
            print(f"### {title}\n\n{language_model_table(runs)}")
            curves = {run.layer: run.curve for run in runs if run.curve}
            draw(folder / f"{part}.png", curves, "seconds", "validation perplexity")
    if runs := runs_in(folder / "tatoeba"):
        print(f"### Translation\n\n{translation_table(runs)}")
    if (folder / "bench.json").exists():
        draw_bench(json.loads((folder / "bench.json").read_text(encoding="utf-8")), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
