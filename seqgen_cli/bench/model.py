"""What a model costs: to train, by the very loop that `seqgen train` runs, the making of batches included; and to decode."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from seqgen_cli.bench import objective as bench_objective
from seqgen_cli.bench.material import Material, Networks, networks_of
from seqgen_cli.bench.rates import Spread, flops, matmul_rate
from seqgen_cli.config.checked import Config
from seqgen_cli.config.listing import read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import generate
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from seqgen_cli.runtime.meters import PeakMemory, timed
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.training.loop import Loop
from seqgen_cli.training.setup import make_loop, settle_for_training

_MATMUL_DTYPE = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SQUARE = 1024  # a product large enough for a processor's best rate
_COUNTED_STEPS = 4  # whose operations are counted, and compared with the time of these same steps


@dataclass(frozen=True)
class Bench:
    """How much to measure.

    Args:
        warmup, steps: training steps before the clock starts, and timed.
        sentences: how many to decode; 0: none.
        decode_length: tokens of every output; None: the mean target length.
        beam_size: of the second decoding; the first is greedy.
        match_lengths: let objectives that draw outputs draw them at most a token longer than the references, about as trained
            weights would; else as long as the objective's own settings allow, which untrained weights reach.
    """

    warmup: Annotated[int, Ge(0)] = 5
    steps: Annotated[int, Ge(1)] = 20
    sentences: Annotated[int, Ge(0)] = 64
    decode_length: Annotated[int, Ge(1)] | None = None
    beam_size: Annotated[int, Ge(1)] = 5
    match_lengths: bool = True


class _Recorder:
    """Passes batches on and remembers them."""

    def __init__(self, stream: Iterable[Batch]) -> None:
        self.stream = stream
        self.seen: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.stream:
            self.seen.append(batch)
            yield batch


def cost_of_training(config: Config, settings: Bench, material: Material, runtime: Runtime) -> tuple[Networks, dict[str, Any]]:
    """Train a few steps; the networks after them, and the figures."""
    drawn = TrainStream(material.dataset, config.batching, config.seed, runtime.rank, runtime.world_size, workers=runtime.workers)
    stream = _Recorder(drawn)
    with PeakMemory(runtime.device) as memory:
        networks = networks_of(config, material, runtime.device)
        settle_for_training(config, networks.model, networks.output, material.dataset)
        encoding = _encoding(config, networks, material, runtime, drawn.indices(settings.warmup + settings.steps))
        total = settings.warmup + settings.steps
        loop = make_loop(config, networks.objective, networks.output, stream, total)
        for _ in range(settings.warmup):
            loop.step()
        stream.seen.clear()
        seconds = [timed(loop.step, runtime.device) for _ in range(settings.steps)]
    targets = [batch.targets_N.shape[0] for batch in stream.seen]
    sources = sum(int(batch.source_lengths_B.sum()) for batch in stream.seen if batch.source_lengths_B is not None)
    totals = runtime.all_sum({"sources": sources, **{str(step): tokens for step, tokens in enumerate(targets)}})
    rate = Spread.of([totals[str(step)] / took for step, took in enumerate(seconds)])
    unit = config.task.unit
    operations = step_flops(config, material, stream.seen[:_COUNTED_STEPS], settings.warmup)
    achieved = sum(operations) / sum(seconds[: len(operations)])
    best = matmul_rate(_matmul_sizes(networks, targets), _MATMUL_DTYPE[runtime.precision], runtime.device)
    return networks, {
        **encoding,
        f"train_{unit}_per_second": rate.median,
        f"train_{unit}_per_second_quartiles": [rate.low, rate.high],
        "train_source_tokens_per_second": totals["sources"] / sum(seconds),
        "step_seconds": Spread.of(seconds).median,
        "peak_memory_bytes": memory.peak_bytes,
        "train_flops_per_second": achieved,
        "matmul_flops_per_second": best,
        "matmul_share": achieved / best,
    }


def cost_beside_mle(config: Config, settings: Bench, material: Material, runtime: Runtime, step_seconds: float) -> dict[str, Any]:
    """What the objective costs beside maximum likelihood, both of fresh weights and on the same batches."""

    def loop(config: Config) -> Loop:
        split = (material.dataset, config.batching, config.seed)
        drawn = TrainStream(*split, runtime.rank, runtime.world_size, workers=runtime.workers)
        networks = networks_of(config, material, runtime.device)
        return make_loop(config, networks.objective, networks.output, drawn, settings.warmup + settings.steps)

    if config.choices["objective"] == "mle":
        return bench_objective.of_mle(loop(config), step_seconds, runtime.device)
    plain = config.changed({"objective": read_settings("objective/mle")})
    return bench_objective.beside_mle(loop(config), loop(plain), settings.warmup, settings.steps, runtime.device)


def _encoding(
    config: Config, networks: Networks, material: Material, runtime: Runtime, indices: Sequence[int]
) -> dict[str, float]:
    """Word pieces a second of encoding what the steps will read; nothing where all is kept already or none is to be kept."""
    if material.prepared is None:
        return {}
    start = time.perf_counter()
    encoded = config.task.encode_once(config, networks.model, runtime, material.prepared, ["train"], indices)
    return {"encode_tokens_per_second": encoded / (time.perf_counter() - start)} if encoded else {}


def step_flops(config: Config, material: Material, batches: Sequence[Batch], first: int = 0) -> list[int]:
    """Floating-point operations of each batch's updates, forward and backward, counted on the meta device.

    Recomputation counts as work: what a kernel repeats to save memory is in the figure.

    Args:
        first: number of the run's update that the first batch is read by.
    """
    objective = networks_of(config, material, torch.device("meta")).objective
    updates = objective.updates(lambda named: torch.optim.SGD([parameter for _, parameter in named], lr=1.0))

    def forward_backward(batch: Batch, number: int) -> None:
        for update in updates:
            if not update.due(number):
                continue
            own = {
                parameter for optimizer in update.optimizers for group in optimizer.param_groups for parameter in group["params"]
            }
            for parameter in objective.parameters():  # as in the loop, the others' are frozen
                parameter.requires_grad_(parameter in own)
            loss = update.module(batch, Progress(number, Key.of(config.seed, number)))
            torch.stack(list(loss.terms.values())).sum().backward()

    return [flops(partial(forward_backward, batch.to("meta"), number)) for number, batch in enumerate(batches, first)]


def _matmul_sizes(networks: Networks, targets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Products as this network makes them, and a large square one: the machine's rate is the best of them."""
    width = networks.model.hidden_size
    positions = int(np.median(targets))
    return [(positions, width, 4 * width), (positions, width, networks.output.vocab_size), (_SQUARE, _SQUARE, _SQUARE)]


def cost_of_decoding(settings: Bench, networks: Networks, material: Material, runtime: Runtime) -> dict[str, Any]:
    """Sentences a second of greedy search and beam search, on this process alone; every output has the same length."""
    if not settings.sentences:
        return {}
    network = (networks.model.eval(), networks.output.eval())
    batch = material.dataset.batch(np.arange(min(settings.sentences, len(material.dataset)))).to(runtime.device)
    length = settings.decode_length or max(1, round(float(material.dataset.target_lengths_n.mean())))
    fixed = {"min_length": length, "max_length_factor": 0.0, "max_length_offset": length}
    figures: dict[str, Any] = {"decode_length": length}
    for name, choice, more in (("greedy", "greedy", {}), ("beam", "beam", {"beam_size": settings.beam_size})):
        decoder = part({**read_settings(f"decoding/{choice}"), **fixed, **more}, "decoding", {})()
        decode = partial(generate, [network], decoder, batch, Specials.of(material.target_tokenizer))
        with runtime.autocast():
            decode()  # warm-up
            figures[f"{name}_sentences_per_second"] = len(batch) / timed(decode, runtime.device)
    return {**figures, "beam_size": settings.beam_size}
