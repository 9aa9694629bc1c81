"""Which precision a model runs fastest in on this machine, found by running it (`runtime.precision=auto`).

bf16 halves the bytes of a product's factors, and is several times faster than fp32 where a processor multiplies it; where it
only imitates that, several times slower. Recurrent cells run in float32 either way (runtime/devices.py), so what bf16 brings
depends on the model as well as on the machine: the measurement runs the model's own forward pass, and where it trains the
backward.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch, make_batch
from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import NoiseKey
from seqgen_cli.runtime import devices
from seqgen_cli.runtime.devices import Precision
from seqgen_cli.runtime.meters import timed
from seqgen_cli.runtime.process import Runtime

_log = logging.getLogger(__name__)

Networks = Sequence[tuple[Any, Any]]
"""(model, output layer) of one network or of several that predict together."""

_LONG_ENOUGH, _TOO_LONG = 0.2, 1.0  # seconds of a pass that is timed
_IN_PROPORTION = 1.7  # times as long for twice the rows, a pass has outgrown what every pass costs, such as adding gradients
_HOPELESS = 3  # times as slow as fp32, bf16 is not tried again
_REPEATS = 3
_MARGIN = 1.05  # by which bf16 must be faster: it costs accuracy
_ROWS, _WIDTH = 64, 32  # of the stand-in batch


@dataclass(frozen=True)
class Rates:
    """Tokens a second, both sides counted, in each precision."""

    fp32: float
    bf16: float

    @property
    def best(self) -> Precision:
        return "bf16" if self.bf16 > _MARGIN * self.fp32 else "fp32"


def settle_precision(
    runtime: Runtime, networks: Networks, batch: Callable[[int], Batch] | None = None, kept: Precision | None = None
) -> None:
    """Give the runtime the precision that `auto` stands for, the same on all ranks; say so, and where a bf16 asked for is slow.

    Args:
        networks: on the runtime's device. In training mode their backward pass is timed too.
        batch: makes one of at most this many rows, of those that they will read; None: of made-up texts of 32 tokens.
        kept: the precision of the run that goes on, which it keeps; nothing is measured then.
    """
    if kept is not None:
        runtime.settle(kept)
    elif runtime.device == torch.device("meta"):  # nothing is computed there
        runtime.settle("fp32" if runtime.precision_is_open else runtime.precision)
    elif runtime.precision_is_open or runtime.precision == "bf16":
        _settle_by_measuring(runtime, networks, batch or partial(stand_in, *networks[0]))
    cells = any(isinstance(module, nn.RNNBase) for network in networks for part in network for module in part.modules())
    if cells and runtime.precision in ("bf16", "fp16"):
        kind = "float32 (TF32)" if devices.cell_precision(runtime.device, runtime.precision) == "tf32" else "float32"
        _log.info("Recurrent cells run in %s; %s is for the other products.", kind, runtime.precision)


def _settle_by_measuring(runtime: Runtime, networks: Networks, batch: Callable[[int], Batch]) -> None:
    rates = runtime.broadcast(measure(runtime.device, networks, batch) if runtime.is_main else None)
    assert rates is not None
    chosen_here = runtime.precision_is_open
    runtime.settle(rates.best if chosen_here else "bf16")  # and its kernels, which the measurement changed
    fp32, bf16 = f"{rates.fp32:,.0f}", f"{rates.bf16:,.0f}"
    if chosen_here:
        _log.info(f"runtime.precision=auto takes {rates.best}: the model reads {fp32} tokens a second in fp32, {bf16} in bf16.")
    elif rates.bf16 < rates.fp32 / _MARGIN and runtime.is_main:
        _log.warning(
            f"runtime.precision=bf16 is slower here than fp32: the model reads {bf16} tokens a second against {fp32}. "
            "Use runtime.precision=auto, which takes the faster one."
        )


def measure(device: torch.device, networks: Networks, batch: Callable[[int], Batch]) -> Rates:
    """The networks' rates on as many rows of a batch as keep the device busy for a while."""
    rows = 1
    # What is drawn here changes no run: the loop seeds the device's generator anew at every step.
    with torch.random.fork_rng([]):
        made = batch(rows).to(device)
        _seconds(device, networks, made, "fp32")  # the first pass also gets memory
        before, taken = float("inf"), _seconds(device, networks, made, "fp32")
        while len(made) == rows and taken < max(_LONG_ENOUGH, min(_TOO_LONG, _IN_PROPORTION * before)):
            rows *= 2
            made = batch(rows).to(device)
            before, taken = taken, _seconds(device, networks, made, "fp32")
        best: dict[Precision, float] = {"fp32": taken, "bf16": _seconds(device, networks, made, "bf16")}
        for _ in range(_REPEATS):
            if best["bf16"] > _HOPELESS * best["fp32"]:
                break
            for precision in best:
                best[precision] = min(best[precision], _seconds(device, networks, made, precision))
    tokens = sum(int(lengths.sum()) for lengths in (made.source_lengths_B, made.target_lengths_B) if lengths is not None)
    return Rates(tokens / best["fp32"], tokens / best["bf16"])


def _seconds(device: torch.device, networks: Networks, batch: Batch, precision: Precision) -> float:
    devices.choose_kernels(device, precision)
    return timed(partial(_pass, device, networks, batch, precision), device)


def _pass(device: torch.device, networks: Networks, batch: Batch, precision: Precision) -> None:
    for model, output in networks:
        if not model.training:
            with torch.no_grad(), devices.autocast(device, precision):
                output.score(model.hidden_states(batch), batch.targets_N)
            continue
        with devices.autocast(device, precision):
            loss = _loss(model, output, batch)
        trained = [each for each in [*model.parameters(), *output.parameters()] if each.requires_grad]
        torch.autograd.grad(loss, trained, allow_unused=True)


def _loss(model: Any, output: Any, batch: Batch) -> Tensor:
    hidden_ND, target_N = model.hidden_states(batch), batch.targets_N
    noise = NoiseKey(Key.of("precision"), batch.examples_N, batch.positions_N)
    loss: Tensor = output.loss(hidden_ND, target_N, weights_N=torch.ones_like(hidden_ND[:, 0]).detach(), noise=noise)
    return loss


def stand_in(model: Any, output: Any, rows: int, labelled: bool = False) -> Batch:
    """A batch of made-up texts that the network can read, for want of real ones: the first ids in turn."""
    rows, width = min(rows, _ROWS), min(_WIDTH, getattr(model, "longest", None) or _WIDTH) - 1
    ids_BS = np.arange(rows * width).reshape(rows, width)
    batch = make_batch(
        range(rows), list(ids_BS % 4), list(ids_BS % output.vocab_size), source_pad=0, target_pad=0, bos=1, eos=1, source_eos=1
    )
    if not labelled:
        return batch
    label_B = torch.arange(rows, device="cpu") % output.vocab_size
    return Batch(batch.index_B, batch.source_BS, batch.source_lengths_B, labels_B=label_B)
