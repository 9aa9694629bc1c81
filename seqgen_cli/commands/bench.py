"""seqgen bench: what a combination of choices costs to train and to decode on this machine.

Training runs the very loop that `seqgen train` runs, the making of batches included; of a classifier whose features are
kept, they are encoded before, which is timed by itself. The machine's matrix-multiply rate that the speed is compared with is
measured in the same run.
"""

from typing import Any

import torch

from seqgen_cli.bench import objective as bench_objective
from seqgen_cli.bench.material import material, parameter_counts
from seqgen_cli.bench.model import Bench, cost_beside_mle, cost_of_decoding, cost_of_training
from seqgen_cli.bench.output import LayerBench, measure
from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Generator
from seqgen_cli.report.tables import count, show
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task

_PARAMETERS = (("all", "parameters"), ("trainable", "trainable_parameters"))


def run(config: Config) -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    runtime = build.start_runtime(config)
    settings: Bench = config.bench
    drawn = settings.match_lengths and "max_length_offset" in config.objective.settings  # outputs, by the objective
    if drawn:
        config = config.changed({"objective": {"max_length_factor": 1.0, "max_length_offset": 1}})
    layer: LayerBench = config.layer
    if layer.vocab_sizes:
        if runtime.precision_is_open:
            raise RequestError(
                "runtime.precision=auto measures a whole model, layer.vocab_sizes a layer alone: use fp32, tf32, bf16 or fp16."
            )
        return _layer_alone(config, layer, runtime)
    reads = material(config, runtime)
    names = {group: config.choices[group] for group in ("model", "output", "objective")}
    figures: dict[str, Any] = {**names, **parameter_counts(config, reads)}
    if not config.parameters_only:
        networks, measured = cost_of_training(config, settings, reads, runtime)
        figures |= {"device": str(runtime.device), "precision": runtime.precision, "threads": torch.get_num_threads()}
        figures |= measured
        if isinstance(networks.model, Generator):
            figures |= cost_of_decoding(settings, networks, reads, runtime)
            figures |= cost_beside_mle(config, settings, reads, runtime, figures["step_seconds"])
    if runtime.is_main:
        notes = [] if config.parameters_only else [f"Measured on {reads.description}; {_machine(figures)}."]
        if drawn:
            notes.append(
                "Outputs drawn in training end at most a token after their references (bench.match_lengths=true); the share of "
                "the matrix-multiply rate does not count the operations of drawing them."
            )
        title = " ".join(f"{group}={name}" for group, name in names.items())
        show(title, ["", "", "" if config.parameters_only else "quartiles"], _rows(config.task, figures), notes)
    return figures


def _layer_alone(config: Config, settings: LayerBench, runtime: Runtime) -> dict[str, Any]:
    """Measure the output layer without a model."""
    measured, header, rows = measure(config, settings, runtime)
    machine = {"device": str(runtime.device), "precision": runtime.precision, "threads": torch.get_num_threads()}
    figures = {"output": config.choices["output"], **machine, **measured}
    if runtime.is_main:
        against = "; in brackets the share of plain full softmax's" if settings.reference else ""
        note = f"{settings.positions:,} positions of width {settings.hidden_size:,}{against}; {_machine(figures)}."
        if "peaked_entropy_bits" in measured["layer"]:
            flat, peak = (measured["layer"][f"{kind}entropy_bits"][-1] for kind in ("", "peaked_"))
            note += f" Distributions have {flat:.1f} bits of entropy at the last size, the peaked ones {peak:.1f}."
        show(config.output.owner, header, rows, [note])
    return figures


def _rows(task: Task, figures: dict[str, Any]) -> list[list[str]]:
    rows = [[f"{kind} parameters", count(figures[key]), ""] for kind, key in _PARAMETERS]
    if "encode_tokens_per_second" in figures:
        rows.append(["encoding once, word pieces/s", count(figures["encode_tokens_per_second"]), ""])
    if "step_seconds" in figures:
        unit, target, source = task.unit, task.unit_in_words, task.source_unit
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
