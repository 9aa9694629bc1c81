"""seqgen bench layer.vocab_sizes=[...]: what an output layer alone costs, beside plain full softmax in the same run.

Random hidden vectors; targets and counts as words are: count proportional to 1 / (rank + 1), ids in no order of frequency.

Shapes: N positions, D hidden, V words.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from omegaconf import DictConfig
from torch import Tensor, nn

from seqgen_cli import build
from seqgen_cli.layers.random import Key
from seqgen_cli.layers.rows import by_gradient
from seqgen_cli.measure import PeakMemory, Spread, timed
from seqgen_cli.outputs.base import NoiseKey, OutputLayer
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.step import GradientStep


@dataclass(frozen=True)
class LayerBench:
    """How to measure the output layer alone.

    Args:
        vocab_sizes: V, one after the other; None: measure the whole network instead.
        positions, hidden_size: N and D.
        repeats: timed repetitions, after one to warm up.
        reference: also measure plain full softmax.
        search_k: of the exact search that is timed; 0: neither search nor sampling is.
    """

    vocab_sizes: list[Annotated[int, Ge(2)]] | None = None
    positions: Annotated[int, Ge(1)] = 1024
    hidden_size: Annotated[int, Ge(1)] = 512
    repeats: Annotated[int, Ge(1)] = 5
    reference: bool = True
    search_k: Annotated[int, Ge(0)] = 5


class PlainSoftmax(OutputLayer):
    """Full softmax as anyone would write it: all scores at once, torch's own cross-entropy."""

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.linear = nn.Linear(hidden_size, vocab_size)

    def loss(self, hidden_ND: Tensor, target_N: Tensor, weights_N: Tensor | None = None, noise: NoiseKey | None = None) -> Tensor:
        loss_N = nn.functional.cross_entropy(self.linear(hidden_ND), target_N, reduction="none")
        return loss_N if weights_N is None else (loss_N * weights_N).sum()

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return -self.loss(hidden_ND, target_N)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        log_p_NV: Tensor = self.linear(hidden_ND).log_softmax(-1)
        return log_p_NV


def measure(config: DictConfig, settings: LayerBench, runtime: Runtime) -> tuple[dict[str, Any], list[str], list[list[str]]]:
    """The figures, and a table of them: its header and its rows."""
    assert settings.vocab_sizes
    figures: dict[str, Any] = {"vocab_sizes": settings.vocab_sizes}
    name = config.choices.output
    for size in settings.vocab_sizes:
        counts_V = _counts(size)
        makers: dict[str, Callable[[], OutputLayer]] = {
            name: partial(
                build.make, config.output, "output", hidden_size=settings.hidden_size, vocab_size=size, counts_V=counts_V
            )
        }
        if settings.reference:
            makers["plain softmax"] = partial(PlainSoftmax, settings.hidden_size, size)
        for label, make in makers.items():
            for key, value in _one(make, counts_V, config, settings, runtime).items():
                figures.setdefault(f"{label}.{key}", []).append(value)
            gc.collect()
    return figures, *_table(figures, name, settings)


def _counts(vocab_size: int) -> Tensor:
    """Counts falling as 1 / (rank + 1), ids in an arbitrary order; the rarest word once or twice."""
    rank_V = Key.of("bench").bits(torch.arange(vocab_size, device="cpu")).argsort().argsort()
    return (2.0 * vocab_size / (rank_V + 1)).ceil().long()


def _one(
    make: Callable[[], OutputLayer], counts_V: Tensor, config: DictConfig, settings: LayerBench, runtime: Runtime
) -> dict[str, float]:
    """Seconds and bytes of one layer at one size."""
    with torch.device(runtime.device):
        layer = make()
    optimizer = build.make(config.optimizer, "optimizer")
    step = GradientStep([optimizer.make(part) for part in by_gradient(layer.named_parameters())], 1.0, runtime.device)
    number_N = torch.arange(settings.positions, device=runtime.device)
    uniform_N = Key.of("targets").uniform(number_N)
    upto_V = counts_V.double().cumsum(0).to(runtime.device)
    target_N = torch.searchsorted(upto_V, uniform_N * upto_V[-1])
    torch.manual_seed(config.seed)
    hidden_ND = torch.randn(settings.positions, settings.hidden_size, device=runtime.device, requires_grad=True)
    weights_N = torch.full_like(hidden_ND[:, 0], 1 / settings.positions).detach()

    def forward_backward(update: int) -> None:
        noise = NoiseKey(Key.of(config.seed, update), number_N, torch.zeros_like(number_N))
        with runtime.autocast():
            loss = layer.loss(hidden_ND, target_N, weights_N=weights_N, noise=noise)
        step.backward(loss)

    passes, updates = [], []
    with PeakMemory(runtime.device) as memory:
        for repeat in range(settings.repeats + 1):
            hidden_ND.grad = None
            passes.append(timed(partial(forward_backward, repeat), runtime.device))
            updates.append(timed(partial(step.step, 1.0), runtime.device))
    figures = {
        "pass_seconds": Spread.of(passes[1:]).median,
        "update_seconds": Spread.of(updates[1:]).median,
        "peak_memory_bytes": float(memory.peak_bytes),
    }
    if settings.search_k:
        with torch.no_grad(), runtime.autocast():
            for key, work in (
                ("topk_seconds", partial(layer.topk, hidden_ND, settings.search_k)),
                ("sample_seconds", partial(layer.sample, hidden_ND, uniform_N)),
            ):
                figures[key] = min(timed(work, runtime.device) for _ in range(2))
    return figures


_COLUMNS = {
    "pass_seconds": ("forward+backward, ms", 1e3),
    "update_seconds": ("update, ms", 1e3),
    "peak_memory_bytes": ("peak memory, MiB", 2.0**-20),
    "topk_seconds": ("exact top k, ms", 1e3),
    "sample_seconds": ("one sample each, ms", 1e3),
}


def growth(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent b of the least-squares fit value = a size^b."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-12)), 1)[0])


def _table(figures: dict[str, Any], name: str, settings: LayerBench) -> tuple[list[str], list[list[str]]]:
    """One row a size; each cell with its share of plain softmax's; the last row the growth law of the time or memory."""
    sizes = figures["vocab_sizes"]
    columns = {key: title for key, title in _COLUMNS.items() if f"{name}.{key}" in figures}
    header = ["words", *(title for title, _ in columns.values())]
    rows = []
    for place, size in enumerate(sizes):
        row = [f"{size:,}"]
        for key, (_, factor) in columns.items():
            value = figures[f"{name}.{key}"][place]
            reference = figures.get(f"plain softmax.{key}")
            share = f" ({value / max(reference[place], 1e-12):.3f})" if reference else ""
            row.append(f"{value * factor:,.1f}{share}")
        rows.append(row)
    if len(sizes) > 1:
        for key in columns:
            figures[f"{name}.{key}_growth"] = growth(sizes, figures[f"{name}.{key}"])
        rows.append(["grows as V to the", *(f"{figures[f'{name}.{key}_growth']:.2f}" for key in columns)])
    return header, rows
