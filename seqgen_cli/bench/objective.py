"""What an objective costs beside maximum likelihood: the same batches, step by step in turn, and where its time goes."""

from typing import Any, Protocol

import torch

from seqgen_cli.bench.rates import Spread
from seqgen_cli.runtime.meters import Stopwatch, timed

PARTS = {
    "sampling": "sampling",
    "rewards": "rewards",
    "forward_backward": "forward, backward, batches",
    "update": "clipping, optimizer",
}
"""Where the time of a step goes, by the name of its section, and in words; forward_backward is the rest."""

_WATCHED_STEPS = 5


class Steps(Protocol):
    """A training loop."""

    def step(self) -> None: ...


def beside_mle(own: Steps, mle: Steps, warmup: int, steps: int, device: torch.device) -> dict[str, Any]:
    """Updates a second of both loops and their ratio, from steps taken in turn so that both meet the same machine; then the
    shares of the time of the objective's own steps.

    Args:
        own, mle: loops over the same batches.
    """
    for _ in range(warmup):
        own.step()
        mle.step()
    pairs = [(timed(own.step, device), timed(mle.step, device)) for _ in range(steps)]
    ratio = Spread.of([mle_seconds / own_seconds for own_seconds, mle_seconds in pairs])
    return {
        "updates_per_second": Spread.of([1 / own_seconds for own_seconds, _ in pairs]).median,
        "mle_updates_per_second": Spread.of([1 / mle_seconds for _, mle_seconds in pairs]).median,
        "relative_to_mle": ratio.median,
        "relative_to_mle_low": ratio.low,
        "relative_to_mle_high": ratio.high,
        "time": shares(own, min(steps, _WATCHED_STEPS), device),
    }


def of_mle(loop: Steps, step_seconds: float, device: torch.device) -> dict[str, Any]:
    """The same figures of mle itself, whose step was timed before."""
    loop.step()
    rate = {"updates_per_second": 1 / step_seconds, "mle_updates_per_second": 1 / step_seconds}
    ratio = dict.fromkeys(["relative_to_mle", "relative_to_mle_low", "relative_to_mle_high"], 1.0)
    return {**rate, **ratio, "time": shares(loop, _WATCHED_STEPS, device)}


def shares(loop: Steps, steps: int, device: torch.device) -> dict[str, float]:
    """The share of each part in the time of a few more steps, which wait for the device wherever a part begins or ends."""
    with Stopwatch(device) as watch:
        total = sum(timed(loop.step, device) for _ in range(steps))
    parts = {name: watch.seconds.get(name, 0.0) / total for name in PARTS if name != "forward_backward"}
    parts["forward_backward"] = 1 - sum(parts.values())
    return {name: parts[name] for name in PARTS}


def rows(figures: dict[str, Any]) -> list[list[str]]:
    """Lines of the table: name, value, quartiles."""
    low, high = figures["relative_to_mle_low"], figures["relative_to_mle_high"]
    return [
        ["training, updates/s", f"{figures['updates_per_second']:.3g}", ""],
        ["updates/s of mle", f"{figures['mle_updates_per_second']:.3g}", ""],
        ["relative to mle", f"{figures['relative_to_mle']:.3f}", f"{low:.3f} .. {high:.3f}"],
        *([f"share of the time, {PARTS[name]}", f"{share:.1%}", ""] for name, share in figures["time"].items()),
    ]
