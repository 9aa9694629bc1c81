"""Tables (Markdown, to standard output) of what run.sh trained and decoded: python summary.py RUNS FOLDER dev|test.

Differences from continued mle are those of the mean over seeds, with 95 % intervals and p-values of a paired bootstrap over
sentences (the seeds together), the p-values of a table corrected by Holm's method for all objectives of a model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.config.parts import part
from seqgen_cli.metrics.base import Reward
from seqgen_cli.metrics.bootstrap import holm, paired_differences, two_sided_p

BASELINE, START = "mle", "start"
RESAMPLES, SEED = 2000, 12345
METRICS: dict[str, Any] = {"BLEU": BLEU(), "chrF": CHRF()}


@dataclass
class System:
    """One objective from one checkpoint: its outputs by seed, and how many updates it made."""

    name: str
    texts: dict[str, list[str]]
    updates: dict[str, int]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def system(folder: Path, figures: str) -> System:
    """What the runs of RUNS/MODEL/NAME wrote when these figures were measured."""
    texts, updates = {}, {}
    for place in sorted(folder.glob(f"seed-*/*/{figures}")):
        run, seed = place.parent, place.parent.parent.name
        written = Path(json.loads(place.read_text(encoding="utf-8"))["translations"])
        texts[seed] = lines(run / "eval" / written.name)
        updates[seed] = json.loads((run / "result.json").read_text(encoding="utf-8"))["update"]
    return System(folder.name, texts, updates)


def systems(folder: Path, figures: str) -> list[System]:
    """The starting checkpoint, continued mle, then the other objectives by name."""
    found = [system(path, figures) for path in sorted(folder.iterdir()) if path.is_dir()]
    order = {START: 0, BASELINE: 1}
    return sorted((each for each in found if each.texts), key=lambda each: order.get(each.name, 2))


Statistics = Callable[[Sequence[str]], np.ndarray]
Score = Callable[[list[float]], float]


def of_metric(name: str, references: Sequence[str]) -> tuple[Statistics, Score]:
    """Statistics of each sentence, and the corpus score of their sum."""
    metric = METRICS[name]
    return (
        lambda texts: np.array(metric._extract_corpus_statistics(texts, [references])),
        lambda sums: float(metric._compute_score_from_stats(sums).score),
    )


def rewards_of(folder: Path) -> dict[str, Reward]:
    """What the runs of RUNS/MODEL were trained to raise, by its name and settings."""
    found = {}
    for place in sorted(folder.glob("*/seed-*/*/config.yaml")):
        node = read_config(place)["objective"].get("reward")
        if node is not None:
            settings = ", ".join(f"{key}={value}" for key, value in node.items() if key != "_target_")
            name = f"{node['_target_'].rpartition('.')[2]}({settings})"
            found[name] = part(node, "objective/reward", {})(target_language="en")
    return found


def of_reward(reward: Reward, references: Sequence[str]) -> tuple[Statistics, Score]:
    """The mean reward of a sentence, in percent."""
    return (
        lambda texts: np.array([[100 * value, 1.0] for value in reward(texts, references)]),
        lambda sums: sums[0] / sums[1],
    )


@dataclass
class Comparison:
    """Mean score over seeds, its spread, and the difference from another system on the same seeds."""

    mean: float
    spread: float
    difference: float | None = None
    low: float = 0.0
    high: float = 0.0
    p: float = 1.0


def compare(each: System, other: System | None, statistics: Statistics, score: Score) -> Comparison:
    stats = {seed: statistics(texts) for seed, texts in each.texts.items()}
    scores = [score(stats_LC.sum(0).tolist()) for stats_LC in stats.values()]
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    if other is None or other is each:
        return Comparison(float(np.mean(scores)), spread)
    bases = {seed: statistics(texts) for seed, texts in other.texts.items()}
    if START in (each.name, other.name):  # one checkpoint, which every seed went on from
        pairs = [(own, base) for own in stats.values() for base in bases.values()]
    else:
        pairs = [(stats[seed], bases[seed]) for seed in stats if seed in bases]
    observed = float(np.mean([score(own.sum(0).tolist()) - score(base.sum(0).tolist()) for own, base in pairs]))
    drawn = np.mean([paired_differences(own, base, score, RESAMPLES, SEED) for own, base in pairs], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Comparison(float(np.mean(scores)), spread, observed, float(low), float(high), two_sided_p(drawn, observed))


def compared(found: Sequence[System], base: str, statistics: Statistics, score: Score) -> dict[str, Comparison]:
    """Every system against the one named `base`; the p-values of those with a difference corrected together."""
    other = next((each for each in found if each.name == base), None)
    results = {each.name: compare(each, other, statistics, score) for each in found}
    family = [name for name, result in results.items() if result.difference is not None and name != START]
    for name, p in zip(family, holm([results[name].p for name in family]), strict=True):
        results[name].p = p
    return results


def cells(result: Comparison, corrected: bool) -> list[str]:
    value = f"{result.mean:.2f}" + (f" ± {result.spread:.2f}" if result.spread else "")
    if result.difference is None:
        return [value, ""]
    p = f", p = {result.p:.4f}" if corrected else ""
    return [value, f"{result.difference:+.2f} [{result.low:+.2f}, {result.high:+.2f}]{p}"]


def length_ratio(each: System, references: Sequence[str]) -> float:
    """Words of the outputs over words of the references, as BLEU counts them."""
    return float(np.mean([METRICS["BLEU"].corpus_score(texts, [references]).ratio for texts in each.texts.values()]))


def table(header: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *rows])


def quality(found: Sequence[System], references: Sequence[str]) -> str:
    """BLEU, chrF and length of every system, against continued mle."""
    header, columns = ["objective", "seeds", "updates"], []
    for name in METRICS:
        header += [name, f"{name}, difference from {BASELINE}"]
        columns.append(compared(found, BASELINE, *of_metric(name, references)))
    rows = [
        [each.name, str(len(each.texts)), f"{np.mean(list(each.updates.values())):,.0f}"]
        + [cell for column in columns for cell in cells(column[each.name], each.name != START)]
        + [f"{length_ratio(each, references):.3f}"]
        for each in found
    ]
    return table([*header, "length ratio"], rows)


def rewards(found: Sequence[System], reward: Reward, references: Sequence[str]) -> str:
    """The mean reward of greedy outputs, against the checkpoint that all started from."""
    results = compared(found, START, *of_reward(reward, references))
    rows = [[each.name, str(len(each.texts)), *cells(results[each.name], True)] for each in found]
    return table(["objective", "seeds", "greedy reward, %", "rise over the start"], rows)


def main(runs: Path, data: Path, stage: str) -> None:
    references = lines(data / ("dev.en" if stage == "dev" else "test.en"))
    for folder in sorted(path for path in runs.iterdir() if (path / START).is_dir()):
        if stage == "dev":
            print(f"### {folder.name}, dev, beam search\n\n{quality(systems(folder, 'beam.json'), references)}")
            for name, reward in rewards_of(folder).items():
                print(f"### {folder.name}, dev, greedy search, {name}\n")
                print(rewards(systems(folder, "greedy.json"), reward, references))
        else:
            print(f"### {folder.name}, test\n\n{quality(systems(folder, 'test.json'), references)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
