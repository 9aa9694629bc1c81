"""seqgen bench layer.vocab_sizes=[...]: what an output layer alone costs, beside plain full softmax in the same run.

Random hidden vectors; targets and counts as words are: count proportional to 1 / (rank + 1), ids in no order of frequency.

Shapes: N positions, D hidden, V words.
"""

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from seqgen_cli.bench.rates import Spread
from seqgen_cli.config.checked import Config
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.layers.rows import by_gradient
from seqgen_cli.outputs.base import Draw, NoiseKey, OutputLayer
from seqgen_cli.runtime.devices import wide
from seqgen_cli.runtime.meters import PeakMemory, timed
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.training.setup import keep_dense
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
        peak: bits of entropy of the peaked distributions that search and sampling are timed on too; None: random ones only.
    """

    vocab_sizes: list[Annotated[int, Ge(2)]] | None = None
    positions: Annotated[int, Ge(1)] = 1024
    hidden_size: Annotated[int, Ge(1)] = 512
    repeats: Annotated[int, Ge(1)] = 5
    reference: bool = True
    search_k: Annotated[int, Ge(0)] = 5
    peak: Annotated[float, Gt(0)] | None = 4.0


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

    def draw(self, hidden_ND: Tensor) -> Tensor:
        """One word a row, by torch's own sampler."""
        return self.linear(hidden_ND).softmax(-1).multinomial(1).squeeze(1)


def measure(config: Config, settings: LayerBench, runtime: Runtime) -> tuple[dict[str, Any], list[str], list[list[str]]]:
    """The figures, and a table of them: its header and its rows.

    Of the layer, and of plain softmax, lists over the sizes; then what a sweep's table shows: milliseconds of forward and
    backward by size, the exponents of growth, and the shares of plain softmax at the last size.
    """
    assert settings.vocab_sizes
    if config.output.settings.get("tied"):
        raise RequestError("output.tied=true shares an embedding, and a layer by itself has none. Use output.tied=false.")
    figures: dict[str, Any] = {"vocab_sizes": settings.vocab_sizes, "layer": {}, "plain": {}}
    for size in settings.vocab_sizes:
        counts_V = _counts(size)
        sizes = {"hidden_size": settings.hidden_size, "vocab_size": size}
        makers: dict[str, Callable[[], OutputLayer]] = {"layer": partial(config.output, counts_V=counts_V, **sizes)}
        if settings.reference:
            makers["plain"] = partial(PlainSoftmax, **sizes)
        for label, make in makers.items():
            for key, value in _one(make, counts_V, config, settings, runtime).items():
                figures[label].setdefault(key, []).append(value)
            gc.collect()
    layer, plain = figures["layer"], figures["plain"]
    figures["pass_ms"] = {str(size): 1e3 * value for size, value in zip(settings.vocab_sizes, layer["pass_seconds"], strict=True)}
    if len(settings.vocab_sizes) > 1:
        times = [key for key in _COLUMNS if key in layer and key.endswith("_seconds")]  # memory begins with what is at hand
        figures["growth"] = {_short(key): growth(settings.vocab_sizes, layer[key]) for key in times}
    figures["share"] = {_short(key): layer[key][-1] / max(plain[key][-1], 1e-12) for key in _COLUMNS if key in plain}
    return figures, *_table(figures)


def _counts(vocab_size: int) -> Tensor:
    """Counts falling as 1 / (rank + 1), ids in an arbitrary order; the rarest word once or twice."""
    rank_V = Key.of("bench").bits(torch.arange(vocab_size, device="cpu")).argsort().argsort()
    return (2.0 * vocab_size / (rank_V + 1)).ceil().long()


def _one(
    make: Callable[[], OutputLayer], counts_V: Tensor, config: Config, settings: LayerBench, runtime: Runtime
) -> dict[str, float]:
    """Seconds and bytes of one layer at one size."""
    with torch.device(runtime.device):
        layer = make()
    keep_dense(layer, config.optimizer, False, runtime)
    step = GradientStep([config.optimizer.make(part) for part in by_gradient(layer.named_parameters())], 1.0, runtime.device)
    number_N = torch.arange(settings.positions, device=runtime.device)
    uniform_N = Key.of("targets").uniform(number_N)
    upto_V = wide(counts_V.cumsum(0).to(runtime.device))
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
    pass_memory, memory = PeakMemory(runtime.device), PeakMemory(runtime.device)
    with pass_memory:  # before the first update, which makes the optimizer's moments
        forward_backward(0)
    with memory:
        for repeat in range(settings.repeats + 1):
            hidden_ND.grad = None
            passes.append(timed(partial(forward_backward, repeat), runtime.device))
            updates.append(timed(partial(step.step, 1.0), runtime.device))
    figures = {
        "pass_seconds": Spread.of(passes[1:]).median,
        "update_seconds": Spread.of(updates[1:]).median,
        "pass_memory_bytes": float(pass_memory.peak_bytes),
        "peak_memory_bytes": float(memory.peak_bytes),
    }
    if settings.search_k:
        del step  # Adam's moments and the gradients are as large as the weights, thrice
        layer.zero_grad(set_to_none=True)
        with runtime.autocast():
            figures |= _search(layer, hidden_ND.detach(), target_N, uniform_N, settings, runtime.device)
    return figures


def _search(
    layer: OutputLayer, hidden_ND: Tensor, target_N: Tensor, uniform_N: Tensor, settings: LayerBench, device: torch.device
) -> dict[str, float]:
    """Seconds of the exact search and of one sample for every position: random hidden vectors, then peaked distributions."""
    vectors = {"": hidden_ND}
    if settings.peak is not None:
        vectors["peaked_"] = peaked(layer, hidden_ND, target_N, settings.peak)
    figures = {}
    with torch.no_grad():
        for kind, vectors_ND in vectors.items():
            figures[f"{kind}entropy_bits"] = _entropy_bits(layer, vectors_ND)
            sampling = partial(layer.sample, vectors_ND, Draw(uniform_N))
            if isinstance(layer, PlainSoftmax):
                sampling = partial(layer.draw, vectors_ND)
            for key, work in (
                ("topk_seconds", partial(layer.topk, vectors_ND, settings.search_k)),
                ("sample_seconds", sampling),
            ):
                figures[f"{kind}{key}"] = min(timed(work, device) for _ in range(2))
    return figures


def peaked(layer: OutputLayer, hidden_ND: Tensor, target_N: Tensor, bits: float) -> Tensor:
    """h + c g, g the unit vector along which log p(target | h) rises fastest: c makes the mean entropy as large as asked for.

    By bisection, on the first positions: the larger c, the more of the mass is the target's. Where no c makes the entropy so
    small, the largest tried.
    """
    start_ND = hidden_ND.clone().requires_grad_()
    (gradient_ND,) = torch.autograd.grad(layer.score(start_ND, target_N).sum(), start_ND)
    unit_ND = nn.functional.normalize(gradient_ND, dim=1)

    def entropy(scale: float) -> float:
        return _entropy_bits(layer, hidden_ND + scale * unit_ND)

    low, high = 0.0, 1.0
    while entropy(high) > bits and high < _FARTHEST:
        low, high = high, 2 * high
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if entropy(middle) > bits else (low, middle)
    return hidden_ND + high * unit_ND


@torch.no_grad()
def _entropy_bits(layer: OutputLayer, hidden_ND: Tensor) -> float:
    """Mean entropy of p(. | h) over the first positions."""
    log_p_NV = wide(layer.log_probs(hidden_ND[:_LOOKED_AT]))
    return float(-(log_p_NV.exp() * log_p_NV).nan_to_num(0.0).sum(1).mean()) / math.log(2)


_LOOKED_AT = 32
_FARTHEST = 2.0**20
_COLUMNS = {
    "pass_seconds": ("forward+backward, ms", 1e3),
    "update_seconds": ("update, ms", 1e3),
    "pass_memory_bytes": ("peak memory, MiB", 2.0**-20),
    "peak_memory_bytes": ("with update, MiB", 2.0**-20),
    "topk_seconds": ("exact top k, ms", 1e3),
    "sample_seconds": ("one sample each, ms", 1e3),
    "peaked_topk_seconds": ("peaked: top k", 1e3),
    "peaked_sample_seconds": ("peaked: sample", 1e3),
}


def growth(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent b of the least-squares fit value = a size^b."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-12)), 1)[0])


def _short(key: str) -> str:
    """Without the unit: a share and an exponent have none."""
    return key.removesuffix("_seconds").removesuffix("_bytes")


def _table(figures: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One row a size; each cell with its share of plain softmax's; the last row the growth law of each time."""
    layer, plain = figures["layer"], figures["plain"]
    columns = {key: title for key, title in _COLUMNS.items() if key in layer}
    rows = []
    for place, size in enumerate(figures["vocab_sizes"]):
        row = [f"{size:,}"]
        for key, (_, factor) in columns.items():
            share = f" ({layer[key][place] / max(plain[key][place], 1e-12):.3f})" if key in plain else ""
            row.append(f"{layer[key][place] * factor:,.1f}{share}")
        rows.append(row)
    if "growth" in figures:
        exponents = {key: figures["growth"].get(_short(key)) for key in columns}
        rows.append(["grows as V to the", *("" if value is None else f"{value:.2f}" for value in exponents.values())])
    return ["words", *(title for title, _ in columns.values())], rows
