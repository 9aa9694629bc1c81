"""Exposure bias, measured: how well models predict each word of references after true words, and after words of their own.

    python exposure_bias.py --source dev.ja --target dev.en --out FOLDER mle=runs/A sampling=runs/B ...

For a reference y_1 .. y_T (y_T is </s>) of a source x, and each position t, the true word y_t is scored twice:

    true prefix   log p(y_t | y_1 .. y_{t-1}, x)    the prefix of training
    own prefix    log p(y_t | w_1 .. w_{t-1}, x)    w_s the model's own word at s, after its own words w_1 .. w_{s-1}

Own words are the most probable ones (--own greedy), or drawn (--own sampled, the mean over --samples prefixes), among all words
but <pad>, <unk>, <s> and </s>: a prefix of t - 1 words of which none ends the sentence, as the true one, so that both kinds are
scored on the same positions of the same sentences. Accuracy is the share of positions where y_t is the most probable word of
all, NLL the mean of -log p, in nats. Their loss from true to own prefix, growing with t, is what training on true prefixes
alone is blamed for (Bengio et al. 2015, section 2.2). Not all of it is: a reference need not go on from another translation's
words, however well the model does (He et al. 2021). What two models lose is comparable, on the same references; a model's loss
alone is no measure of harm.

Intervals are 95 % percentile bootstraps over sentences, the same draws for all models. "beside NAME" is how much less a model
loses than the first one, with its interval.

FOLDER receives exposure_bias.md, .json (every position and group) and .png.

Shapes: B sentences, T target length, S samples, L sentences of the files, G groups of positions, R resamples.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from seqgen_cli import load
from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.decoding.base import Specials
from seqgen_cli.layers.random import Key
from seqgen_cli.metrics.bootstrap import resampled_sums
from seqgen_cli.outputs.base import Draw
from seqgen_cli.runtime.devices import wide

STARTS = (1, 2, 3, 5, 9, 13, 17, 25)
"""First position of each group of positions; the last has no end."""

KINDS = ("true", "own")
FIGURES = tuple(f"{kind}_{what}" for kind in KINDS for what in ("correct", "nll"))
RESAMPLES, SEED = 1000, 12345


@dataclass(frozen=True)
class Measured:
    """Sums of each sentence at each position, (L, T) float64: 0 beyond its end. `count_LT` is 1 up to its end."""

    count_LT: np.ndarray
    sums: dict[str, np.ndarray]


def scored(output: Any, hidden_BD: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each target is the most probable word, and -log p of it: (B,) each."""
    best_B = output.topk(hidden_BD, 1)[1].squeeze(1)
    return wide(best_B == target_B), -wide(output.score(hidden_BD, target_B))


@torch.no_grad()
def after_true_words(model: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
    """Teacher-forced figures: (B, T), 0 at padding."""
    assert batch.targets_BT is not None and batch.valid_N is not None
    correct_N, nll_N = scored(output, model.hidden_states(batch), batch.targets_N)
    empty = correct_N.new_zeros(batch.targets_BT.numel())
    return {
        name: empty.index_copy(0, batch.valid_N, value_N).view(batch.targets_BT.shape)
        for name, value_N in (("true_correct", correct_N), ("true_nll", nll_N))
    }


@torch.no_grad()
def after_own_words(
    model: Any, output: Any, batch: Batch, specials: Specials, key: Key | None, samples: int
) -> dict[str, Tensor]:
    """Figures after the model's own words, the mean over `samples` prefixes: (B, T), 0 at padding.

    Args:
        key: names the draws; None: the most probable words.
    """
    assert batch.targets_BT is not None and batch.target_lengths_B is not None
    rows, width = batch.targets_BT.shape
    memory, state = model.encode(batch), None
    target_RT = batch.targets_BT.repeat_interleave(samples, 0)
    index_R = batch.index_B.repeat_interleave(samples)
    sample_R = torch.arange(samples, device=index_R.device).repeat(rows)
    never_RX = torch.tensor([specials.pad, specials.unk, specials.bos, specials.eos], device=index_R.device).expand(
        len(index_R), -1
    )
    word_R = torch.full_like(index_R, specials.bos)
    correct, nll = [], []
    for place in range(width):
        hidden_R1D, state = model.decode(model.embed(word_R[:, None]), memory, state)
        correct_R, nll_R = scored(output, hidden_R1D[:, 0], target_RT[:, place])
        correct.append(correct_R)
        nll.append(nll_R)
        if key is None:
            word_R = output.topk(hidden_R1D[:, 0], 1, never_RX)[1].squeeze(1)
        else:
            uniform_R = key.uniform(index_R, torch.full_like(index_R, place), sample_R)
            word_R = output.sample(hidden_R1D[:, 0], Draw(uniform_R, exclude_NX=never_RX))
    real_BT = torch.arange(width, device=index_R.device) < batch.target_lengths_B[:, None]
    return {
        name: torch.where(real_BT, torch.stack(each, dim=1).view(rows, samples, width).mean(1), 0.0)
        for name, each in (("own_correct", correct), ("own_nll", nll))
    }


def measure(translator: Any, sources: Sequence[str], targets: Sequence[str], own: str, samples: int, seed: int) -> Measured:
    """All sums of one model over the file pair."""
    (model, output), *others = translator.networks
    if others:
        raise SystemExit("exposure_bias.py: an ensemble has no words of one model's own. Name one checkpoint each.")
    source, target = translator.source_tokenizer, translator.target_tokenizer
    source_ids, target_ids = source.encode(sources), target.encode(targets)
    key = Key.of(seed, "own prefix") if own == "sampled" else None
    width = max(len(ids) for ids in target_ids) + 1
    count_LT = np.arange(width) < np.array([len(ids) + 1 for ids in target_ids])[:, None]
    sums = {name: np.zeros((len(targets), width)) for name in FIGURES}
    order = sorted(range(len(targets)), key=lambda line: (len(target_ids[line]), len(source_ids[line])))
    fills = {"source_pad": source.pad, "target_pad": target.pad, "source_eos": source.eos, "bos": target.bos, "eos": target.eos}
    size = max(1, 64 // samples)
    with translator.evaluating():
        for first in range(0, len(order), size):
            lines = order[first : first + size]
            batch = make_batch(lines, [source_ids[line] for line in lines], [target_ids[line] for line in lines], **fills)
            batch = batch.to(translator.runtime.device)
            with translator.runtime.autocast():
                found = after_true_words(model, output, batch)
                found |= after_own_words(model, output, batch, Specials.of(target), key, samples if key else 1)
            for name, value_BT in found.items():
                sums[name][lines, : value_BT.shape[1]] = value_BT.cpu().numpy()
    return Measured(count_LT.astype(np.float64), sums)


def grouped(values_LT: np.ndarray, starts: Sequence[int] = STARTS) -> np.ndarray:
    """Sums over each group of positions that any sentence reaches: (L, T) -> (L, G)."""
    inside = [start - 1 for start in starts if start <= values_LT.shape[1]]
    return np.add.reduceat(values_LT, inside, axis=1)


def labels(width: int, starts: Sequence[int] = STARTS) -> list[str]:
    ends = [*(start - 1 for start in starts[1:]), None]
    spans = [(start, end) for start, end in zip(starts, ends, strict=True) if start <= width]
    return [f"{start}+" if end is None else str(start) if start == end else f"{start}-{end}" for start, end in spans]


def statistics(measured: Measured) -> dict[str, np.ndarray]:
    """For each group of positions, and all of them last, the sums of each sentence: (L, G + 1)."""
    parts = {"count": measured.count_LT, **measured.sums}
    return {name: np.hstack([grouped(each), each.sum(1, keepdims=True)]) for name, each in parts.items()}


def rates(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracy and NLL after each kind of prefix and what is lost from the one to the other, from sums of any shape."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {name.replace("correct", "accuracy"): sums[name] / sums["count"] for name in FIGURES}
    found["lost_accuracy"] = found["true_accuracy"] - found["own_accuracy"]
    found["lost_nll"] = found["own_nll"] - found["true_nll"]
    return found


def resampled(stats: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`rates` of each resample of the sentences: (R, G + 1)."""
    return rates({name: resampled_sums(each, RESAMPLES, SEED) for name, each in stats.items()})


def with_interval(value_G: np.ndarray, drawn_RG: np.ndarray) -> list[dict[str, float]]:
    low_G, high_G = np.nanquantile(drawn_RG, [0.025, 0.975], axis=0)
    return [
        dict(zip(("value", "low", "high"), map(float, each), strict=True)) for each in zip(value_G, low_G, high_G, strict=True)
    ]


def figures_of(measured: dict[str, Measured]) -> dict[str, Any]:
    """What is written as JSON: for each model, each figure of each group with its interval, and every position's rates."""
    first = next(iter(measured))
    width = measured[first].count_LT.shape[1]
    groups = [*labels(width), "all"]
    totals, draws = {}, {}
    for name, each in measured.items():
        stats = statistics(each)
        totals[name], draws[name] = rates({key: value.sum(0) for key, value in stats.items()}), resampled(stats)
    counts = statistics(measured[first])["count"].sum(0)
    models: dict[str, Any] = {}
    for name, each in measured.items():
        found = {key: with_interval(totals[name][key], draws[name][key]) for key in totals[name]}
        if name != first:
            for key in ("lost_accuracy", "lost_nll"):
                less = totals[first][key] - totals[name][key]
                found[f"less_{key}"] = with_interval(less, draws[first][key] - draws[name][key])
        by_position = rates({"count": each.count_LT.sum(0), **{key: value.sum(0) for key, value in each.sums.items()}})
        models[name] = {"groups": found, "positions": {key: value.tolist() for key, value in by_position.items()}}
    return {
        "positions": groups,
        "words": [int(count) for count in counts],
        "words_at_position": measured[first].count_LT.sum(0).astype(int).tolist(),
        "sentences": len(measured[first].count_LT),
        "models": models,
    }


def table(figures: dict[str, Any]) -> str:
    """The groups' figures as Markdown."""
    first = next(iter(figures["models"]))
    lines = []
    for what, form in (("accuracy", ".3f"), ("nll", ".3f")):
        header = ["model", "position", "words", "true prefix", "own prefix", "lost", f"less lost, beside {first}"]
        lines += [f"### {'Accuracy' if what == 'accuracy' else 'NLL, nats'}\n", _line(header), _line(["---"] * len(header))]
        for name, model in figures["models"].items():
            columns = [f"{kind}_{what}" for kind in (*KINDS, "lost")] + [f"less_lost_{what}"]
            for place, group in enumerate(figures["positions"]):
                cells = [_cell(model["groups"][key][place], form) if key in model["groups"] else "" for key in columns]
                lines.append(_line([name, group, f"{figures['words'][place]:,}", *cells]))
        lines.append("")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figure: dict[str, float], form: str) -> str:
    return f"{figure['value']:{form}} [{figure['low']:{form}}, {figure['high']:{form}}]"


def draw(figures: dict[str, Any], path: Path) -> None:
    """Accuracy and NLL against the position, true prefixes solid and own ones dashed, with the groups' intervals."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    names = figures["positions"][:-1]
    for axes, what, label in zip(figure.subplots(1, 2), ("accuracy", "nll"), ("accuracy", "NLL, nats"), strict=True):
        for number, (name, model) in enumerate(figures["models"].items()):
            for kind, style in zip(KINDS, ("-", "--"), strict=True):
                groups = model["groups"][f"{kind}_{what}"][:-1]
                value, low, high = ([each[end] for each in groups] for end in ("value", "low", "high"))
                axes.plot(range(len(names)), value, style, marker=".", color=f"C{number}", label=f"{name}, {kind} prefix")
                axes.fill_between(range(len(names)), low, high, color=f"C{number}", alpha=0.15, linewidth=0)
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel("position in the reference, tokens")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def finite(value: Any) -> Any:
    """The same with null for what is no number (a position that no sentence reaches)."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_pair(source: Path, target: Path, limit: int | None) -> tuple[list[str], list[str]]:
    """The aligned lines of which neither is empty."""
    sides = [path.read_text(encoding="utf-8").splitlines() for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise SystemExit(f"exposure_bias.py: {source} has {len(sides[0])} lines and {target} {len(sides[1])}.")
    pairs = [(a.strip(), b.strip()) for a, b in zip(*sides, strict=True) if a.strip() and b.strip()][:limit]
    return [a for a, _ in pairs], [b for _, b in pairs]


def main(arguments: Sequence[str] | None = None, opened: Callable[..., Any] = load) -> None:
    parser = argparse.ArgumentParser(description="Exposure bias by position: accuracy and NLL after true and after own prefixes.")
    parser.add_argument("models", nargs="+", metavar="NAME=CKPT", help="checkpoints or run folders; the first is compared with")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the table, the figures and the plot")
    parser.add_argument("--own", choices=["greedy", "sampled"], default="greedy")
    parser.add_argument("--samples", type=int, default=4, help="prefixes drawn for each sentence")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="first so many pairs only")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(arguments)
    sources, targets = read_pair(asked.source, asked.target, asked.limit)
    measured = {}
    for word in asked.models:
        name, _, place = word.partition("=")
        if not place:
            parser.error(f"{word} is not NAME=CKPT")
        measured[name] = measure(opened(place, device=asked.device), sources, targets, asked.own, asked.samples, asked.seed)
    if len({each.count_LT.tobytes() for each in measured.values()}) > 1:
        raise SystemExit("exposure_bias.py: the models cut the references into different tokens, so positions do not compare.")
    figures = {"own": asked.own, "samples": asked.samples if asked.own == "sampled" else 1, **figures_of(measured)}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "exposure_bias.json").write_text(json.dumps(finite(figures), indent=1) + "\n", encoding="utf-8")
    (asked.out / "exposure_bias.md").write_text(table(figures), encoding="utf-8")
    draw(figures, asked.out / "exposure_bias.png")
    print(table(figures))


if __name__ == "__main__":
    main()
