"""A model made again from its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.checkpoints.weights import SkipRandomInit, load_weights, read_weights
from seqgen_cli.config.build import network
from seqgen_cli.config.checked import Config
from seqgen_cli.data.tokenizers.pair import load_pair
from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.tasks.base import Task


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds: its config, the networks (evaluation mode, on the CPU) and their tokenizers.

    A language model has no source tokenizer (None); a classifier has its Labels for a target tokenizer.
    """

    config: Config
    model: Any
    output: OutputLayer
    source_tokenizer: Any
    target_tokenizer: Any


def from_checkpoint(folder: Path | str, trust: Sequence[str] = ()) -> Restored:
    """Build the networks of a checkpoint folder and load its weights.

    Its config is data from a stranger: plain YAML without interpolations, naming only classes of seqgen's own groups, or of
    the packages in `trust`.

    Raises:
        SeqgenError: a part is missing, not in our format, or asks for something it may not have.
    """
    folder = Path(folder)
    config = Config(read_config(folder / "config.yaml", trust))
    source_tokenizer, target_tokenizer = load_pair(folder / "tokenizers")
    if source_tokenizer is None and config.task.reads_source:
        raise SeqgenError(f"{folder} has no source tokenizer, which its model needs.")
    weights = read_weights(folder / "model.safetensors")
    with SkipRandomInit():
        # A layer shaped by word frequencies keeps its counts as a buffer, so that its weights say how to build it.
        sizes = (source_tokenizer and source_tokenizer.vocab_size, target_tokenizer.vocab_size)
        model, output = network(config, *sizes, counts_V=weights.get("output.counts_V"))
    load_weights({"model": model, "output": output}, weights, folder)
    return Restored(config, model.eval(), output.eval(), source_tokenizer, target_tokenizer)


def task_of_checkpoint(folder: Path, trust: Sequence[str] = ()) -> Task:
    """What a checkpoint's model is for; its config is read as `from_checkpoint` does."""
    return Config(read_config(folder / "config.yaml", trust)).task


def check_task_of(folder: Path, trust: Sequence[str], wanted: str) -> None:
    """Refuse a checkpoint whose model is for another task than the one of this name.

    Raises:
        RequestError: says which command is for it.
    """
    task = task_of_checkpoint(folder, trust)
    if task.name != wanted:
        raise RequestError(f"{folder} holds {task.holds}: it cannot {wanted}. Use seqgen {task.command}.")
