"""seqgen bench: what a combination of choices costs to train and to decode on this machine.

Training runs the very loop that `seqgen train` runs, the making of batches included; of a classifier whose features are
kept, they are encoded before, which is timed by itself. The machine's matrix-multiply rate that the speed is compared with is
measured in the same run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from omegaconf import DictConfig
from torch import nn

from seqgen_cli import build
from seqgen_cli.commands import bench_objective
from seqgen_cli.commands.bench_output import LayerBench, measure
from seqgen_cli.commands.encoding import encode_once
from seqgen_cli.commands.session import keep_dense, settle_for_training
from seqgen_cli.commands.tables import count, show
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import TrainStream
from seqgen_cli.data.prepare import Prepared
from seqgen_cli.data.synthetic import BOS, EOS, PAD, UNK, SyntheticWords
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import generate
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.listing import read_settings
from seqgen_cli.measure import PeakMemory, Spread, flops, matmul_rate, timed
from seqgen_cli.models.base import Generator
from seqgen_cli.objectives.base import Progress
from seqgen_cli.runtime import Runtime
from seqgen_cli.training.loop import Loop

_log = logging.getLogger(__name__)

_MATMUL_DTYPE = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SQUARE = 1024  # a product large enough for a processor's best rate
_PARAMETERS = (("all", "parameters"), ("trainable", "trainable_parameters"))
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


@dataclass(frozen=True)
class Material:
    """What the networks read: sentences, and the sizes that follow from them; `prepared` where they are of a data set."""

    dataset: Any
    source_vocab_size: int | None
    target_vocab_size: int
    counts_V: np.ndarray | None
    specials: Specials
    description: str
    target_tokenizer: Any = None
    prepared: Prepared | None = None

    @property
    def target_language(self) -> str | None:
        """ISO 639-1 code, where it is known."""
        return self.prepared.target_language if self.prepared is not None else None


def run(config: DictConfig) -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    build.check(config)
    runtime = build.start_runtime(config)
    settings: Bench = build.make(config.bench, "bench")
    drawn = settings.match_lengths and "max_length_offset" in config.objective  # outputs, by the objective
    if drawn:
        config.objective.update(max_length_factor=1.0, max_length_offset=1)
    layer: LayerBench = build.make(config.layer, "layer")
    if layer.vocab_sizes:
        if runtime.precision_is_open:
            raise RequestError(
                "runtime.precision=auto measures a whole model, layer.vocab_sizes a layer alone: use fp32, tf32, bf16 or fp16."
            )
        return _layer_alone(config, layer, runtime)
    material = _material(config, runtime)
    names = {group: config.choices[group] for group in ("model", "output", "objective")}
    figures: dict[str, Any] = {**names, **parameter_counts(config, material)}
    if not config.parameters_only:
        networks, measured = _training(config, settings, material, runtime)
        figures |= {"device": str(runtime.device), "precision": runtime.precision, "threads": torch.get_num_threads()}
        figures |= measured
        if isinstance(networks.model, Generator):
            figures |= _decoding(settings, networks, material, runtime)
            figures |= _beside_mle(config, settings, material, runtime, figures["step_seconds"])
    if runtime.is_main:
        notes = [] if config.parameters_only else [f"Measured on {material.description}; {_machine(figures)}."]
        if drawn:
            notes.append(
                "Outputs drawn in training end at most a token after their references (bench.match_lengths=true); the share of "
                "the matrix-multiply rate does not count the operations of drawing them."
            )
        title = " ".join(f"{group}={name}" for group, name in names.items())
        show(title, ["", "", "" if config.parameters_only else "quartiles"], _rows(figures), notes)
    return figures


def _layer_alone(config: DictConfig, settings: LayerBench, runtime: Runtime) -> dict[str, Any]:
    """Measure the output layer without a model."""
    measured, header, rows = measure(config, settings, runtime)
    machine = {"device": str(runtime.device), "precision": runtime.precision, "threads": torch.get_num_threads()}
    figures = {"output": config.choices.output, **machine, **measured}
    if runtime.is_main:
        against = "; in brackets the share of plain full softmax's" if settings.reference else ""
        note = f"{settings.positions:,} positions of width {settings.hidden_size:,}{against}; {_machine(figures)}."
        if "peaked_entropy_bits" in measured["layer"]:
            flat, peak = (measured["layer"][f"{kind}entropy_bits"][-1] for kind in ("", "peaked_"))
            note += f" Distributions have {flat:.1f} bits of entropy at the last size, the peaked ones {peak:.1f}."
        show(f"output={config.choices.output}", header, rows, [note])
    return figures


def _material(config: DictConfig, runtime: Runtime) -> Material:
    """Synthetic sentences, or the training split of `data` where one is chosen."""
    if config.parameters_only and build.task_of(config) == "classify":  # its encoder's shape says it all: no text is read
        classes = len(build.make(config.data, "data").class_names() or (0, 1))
        nothing = Specials(PAD, UNK, BOS, EOS)
        return Material(None, config.tokenizer.vocab_size, classes, np.ones(classes, np.int64), nothing, "nothing")
    if config.get("data") is None:
        synthetic, both = build.make(config.synthetic, "synthetic"), build.reads_source(config)
        sizes = (synthetic.source_vocab_size if both else None, synthetic.target_vocab_size)
        dataset, description = synthetic.dataset(config.seed, both), synthetic.describe(both)
        words = SyntheticWords(synthetic.target_vocab_size)
        return Material(dataset, *sizes, synthetic.counts_V(), Specials(PAD, UNK, BOS, EOS), description, words)
    prepared = build.prepared(config, runtime, only=["train"], report=_log.info)
    source, target, dataset = prepared.source_tokenizer, prepared.target_tokenizer, prepared.splits["train"]
    sizes = (source and source.vocab_size, target.vocab_size)
    classifies = build.task_of(config) == "classify"
    decodes = source if classifies else target
    if classifies:
        kinds = f"{sizes[0]:,} word pieces, {sizes[1]:,} classes"
    else:
        kinds = f"vocabulary {sizes[1]:,}" if source is None else f"vocabularies {sizes[0]:,} and {sizes[1]:,}"
    description = f"{len(dataset):,} training examples of data={config.choices.data}, {kinds}"
    return Material(dataset, *sizes, prepared.target_counts_V, Specials.of(decodes), description, target, prepared)


@dataclass(frozen=True)
class Networks:
    model: Any
    output: Any
    objective: Any

    def parameters(self) -> list[nn.Parameter]:
        """Of model and output layer, shared ones once."""
        return list(nn.ModuleList([self.model, self.output]).parameters())


def networks_of(config: DictConfig, material: Material, device: torch.device) -> Networks:
    """Model and output layer, and the objective over them, on `device`."""
    with torch.device(device):
        model, output = build.network(config, material.source_vocab_size, material.target_vocab_size, material.counts_V)
        objective = build.objective(config, model, output, material.target_tokenizer, material.target_language)
    return Networks(model, output, objective)


def parameter_counts(config: DictConfig, material: Material) -> dict[str, int]:
    """Parameters of model and output layer; nothing is allocated."""
    parameters = networks_of(config, material, torch.device("meta")).parameters()
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {"parameters": sum(parameter.numel() for parameter in parameters), "trainable_parameters": trainable}


class _Recorder:
    """Passes batches on and remembers them."""

    def __init__(self, stream: Iterable[Batch]) -> None:
        self.stream = stream
        self.seen: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.stream:
            self.seen.append(batch)
            yield batch


def _training(config: DictConfig, settings: Bench, material: Material, runtime: Runtime) -> tuple[Networks, dict[str, Any]]:
    """Train a few steps; the networks after them, and the figures."""
    batching = build.make(config.batching, "batching")
    drawn = TrainStream(material.dataset, batching, config.seed, runtime.rank, runtime.world_size, workers=runtime.workers)
    stream = _Recorder(drawn)
    with PeakMemory(runtime.device) as memory:
        networks = networks_of(config, material, runtime.device)
        settle_for_training(config, runtime, networks.model, networks.output, material.dataset)
        encoding = _encoding(config, networks, material, runtime, drawn.indices(settings.warmup + settings.steps))
        loop = _loop(config, settings, networks, stream, runtime)
        for _ in range(settings.warmup):
            loop.step()
        stream.seen.clear()
        seconds = [timed(loop.step, runtime.device) for _ in range(settings.steps)]
    targets = [batch.targets_N.shape[0] for batch in stream.seen]
    sources = sum(int(batch.source_lengths_B.sum()) for batch in stream.seen if batch.source_lengths_B is not None)
    totals = runtime.all_sum({"sources": sources, **{str(step): tokens for step, tokens in enumerate(targets)}})
    rate = Spread.of([totals[str(step)] / took for step, took in enumerate(seconds)])
    unit = "texts" if build.task_of(config) == "classify" else "tokens"
    operations = step_flops(config, material, stream.seen[:_COUNTED_STEPS])
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


def _loop(config: DictConfig, settings: Bench, networks: Networks, stream: Iterable[Batch], runtime: Runtime) -> Loop:
    optimizer = build.make(config.optimizer, "optimizer")
    keep_dense(networks.output, optimizer, False, runtime)
    updates = networks.objective.updates(optimizer.make)
    schedule = build.make(config.schedule, "schedule", total_updates=settings.warmup + settings.steps)
    return Loop(updates, stream, runtime, schedule, seed=config.seed)


def _beside_mle(config: DictConfig, settings: Bench, material: Material, runtime: Runtime, step_seconds: float) -> dict[str, Any]:
    """What the objective costs beside maximum likelihood, both of fresh weights and on the same batches."""
    batching = build.make(config.batching, "batching")

    def loop(config: DictConfig) -> Loop:
        drawn = TrainStream(material.dataset, batching, config.seed, runtime.rank, runtime.world_size, workers=runtime.workers)
        return _loop(config, settings, networks_of(config, material, runtime.device), drawn, runtime)

    if config.choices.objective == "mle":
        return bench_objective.of_mle(loop(config), step_seconds, runtime.device)
    plain = config.copy()
    plain.objective = read_settings("objective/mle")
    return bench_objective.beside_mle(loop(config), loop(plain), settings.warmup, settings.steps, runtime.device)


def _encoding(
    config: DictConfig, networks: Networks, material: Material, runtime: Runtime, indices: Sequence[int]
) -> dict[str, float]:
    """Word pieces a second of encoding what the steps will read; nothing where all is kept already or none is to be kept."""
    if material.prepared is None:
        return {}
    start = time.perf_counter()
    encoded = encode_once(config, networks.model, runtime, material.prepared, ["train"], indices)
    return {"encode_tokens_per_second": encoded / (time.perf_counter() - start)} if encoded else {}


def step_flops(config: DictConfig, material: Material, batches: Sequence[Batch]) -> list[int]:
    """Floating-point operations of each batch's updates, forward and backward, counted on the meta device.

    Recomputation counts as work: what a kernel repeats to save memory is in the figure.
    """
    objective = networks_of(config, material, torch.device("meta")).objective
    updates = objective.updates(lambda named: torch.optim.SGD([parameter for _, parameter in named], lr=1.0))

    def forward_backward(batch: Batch) -> None:
        for update in updates:
            own = {
                parameter for optimizer in update.optimizers for group in optimizer.param_groups for parameter in group["params"]
            }
            for parameter in objective.parameters():  # as in the loop, the others' are frozen
                parameter.requires_grad_(parameter in own)
            loss = update.module(batch, Progress(0, Key.of(config.seed, 0)))
            torch.stack(list(loss.terms.values())).sum().backward()

    return [flops(partial(forward_backward, batch.to("meta"))) for batch in batches]


def _matmul_sizes(networks: Networks, targets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Products as this network makes them, and a large square one: the machine's rate is the best of them."""
    width = networks.model.hidden_size
    positions = int(np.median(targets))
    return [(positions, width, 4 * width), (positions, width, networks.output.vocab_size), (_SQUARE, _SQUARE, _SQUARE)]


def _decoding(settings: Bench, networks: Networks, material: Material, runtime: Runtime) -> dict[str, Any]:
    """Sentences a second of greedy search and beam search, on this process alone; every output has the same length."""
    if not settings.sentences:
        return {}
    network = (networks.model.eval(), networks.output.eval())
    batch = material.dataset.batch(np.arange(min(settings.sentences, len(material.dataset)))).to(runtime.device)
    length = settings.decode_length or max(1, round(float(material.dataset.target_lengths_n.mean())))
    fixed = {"min_length": length, "max_length_factor": 0.0, "max_length_offset": length}
    figures: dict[str, Any] = {"decode_length": length}
    for name, choice, more in (("greedy", "greedy", {}), ("beam", "beam", {"beam_size": settings.beam_size})):
        decoder = build.make({**read_settings(f"decoding/{choice}"), **fixed, **more}, "decoding")
        decode = partial(generate, [network], decoder, batch, material.specials)
        with runtime.autocast():
            decode()  # warm-up
            figures[f"{name}_sentences_per_second"] = len(batch) / timed(decode, runtime.device)
    return {**figures, "beam_size": settings.beam_size}


def _rows(figures: dict[str, Any]) -> list[list[str]]:
    rows = [[f"{kind} parameters", count(figures[key]), ""] for kind, key in _PARAMETERS]
    if "encode_tokens_per_second" in figures:
        rows.append(["encoding once, word pieces/s", count(figures["encode_tokens_per_second"]), ""])
    if "step_seconds" in figures:
        unit, target, source = "tokens", "target tokens", "source tokens"
        if "train_texts_per_second" in figures:
            unit, target, source = "texts", "texts", "word pieces"
        low, high = figures[f"train_{unit}_per_second_quartiles"]
        share = f"{figures['matmul_share']:.1%} of {figures['matmul_flops_per_second'] / 1e9:,.0f} GFLOP/s"
        rows.append([f"training, {target}/s", count(figures[f"train_{unit}_per_second"]), f"{count(low)} .. {count(high)}"])
        if figures["train_source_tokens_per_second"]:
            rows.append([f"training, {source}/s", count(figures["train_source_tokens_per_second"]), ""])
        rows += [
            ["training, seconds a step", f"{figures['step_seconds']:.3f}", ""],
            ["training, peak memory", f"{figures['peak_memory_bytes'] / 2**20:,.0f} MiB", ""],
            ["share of the matrix-multiply rate", share, ""],
        ]
    if "relative_to_mle" in figures:
        rows += bench_objective.rows(figures)
    if "decode_length" in figures:
        rows.append(["greedy, sentences/s", count(figures["greedy_sentences_per_second"]), ""])
        rows.append([f"beam {figures['beam_size']}, sentences/s", count(figures["beam_sentences_per_second"]), ""])
    return rows


def _machine(figures: dict[str, Any]) -> str:
    threads = f", {figures['threads']} threads" if figures["device"] == "cpu" else ""
    decoded = f"; every decoded sentence {figures['decode_length']} tokens long" if "decode_length" in figures else ""
    return f"device {figures['device']}{threads}, {figures['precision']}{decoded}"
