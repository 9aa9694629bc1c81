"""What a benchmark reads, and the networks that read it."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from seqgen_cli.bench.synthetic import SyntheticWords
from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.runtime.process import Runtime

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What the networks read: sentences, and the sizes that follow from them; `prepared` where they are of a data set."""

    dataset: Any
    source_vocab_size: int | None
    target_vocab_size: int
    counts_V: np.ndarray | None
    description: str
    target_tokenizer: Any = None
    prepared: Prepared | None = None

    @property
    def target_language(self) -> str | None:
        """Its tag, where it is known."""
        return self.prepared.target_language if self.prepared is not None else None


def material(config: Config, runtime: Runtime) -> Material:
    """Synthetic sentences, or the training split of `data` where one is chosen."""
    task = config.task
    if config.parameters_only and (sizes := task.sizes(config)):  # no text need be read
        return Material(None, *sizes, np.ones(sizes[1], np.int64), "nothing")
    if "data" not in config:
        synthetic, both = config.synthetic, task.reads_source
        vocab_sizes = (synthetic.source_vocab_size if both else None, synthetic.target_vocab_size)
        dataset, words = synthetic.dataset(config.seed, both), SyntheticWords(synthetic.target_vocab_size)
        return Material(dataset, *vocab_sizes, synthetic.counts_V(), synthetic.describe(both), words)
    prepared = build.prepared(config, only=["train"], report=_log.info)
    source, target, dataset = prepared.source_tokenizer, prepared.target_tokenizer, prepared.splits["train"]
    description = f"{len(dataset):,} training examples of {config.data.owner}, {task.vocabularies(prepared)}"
    vocab_sizes = (source and source.vocab_size, target.vocab_size)
    return Material(dataset, *vocab_sizes, prepared.target_counts_V, description, target, prepared)


@dataclass(frozen=True)
class Networks:
    model: Any
    output: Any
    objective: Any

    def parameters(self) -> list[nn.Parameter]:
        """Of model and output layer, shared ones once."""
        return list(nn.ModuleList([self.model, self.output]).parameters())


def networks_of(config: Config, material: Material, device: torch.device) -> Networks:
    """Model and output layer, and the objective over them, on `device`."""
    with torch.device(device):
        model, output = build.network(config, material.source_vocab_size, material.target_vocab_size, material.counts_V)
        of_target = (material.target_tokenizer, material.target_language, material.counts_V)
        objective = build.objective(config, model, output, *of_target)
    return Networks(model, output, objective)


def parameter_counts(config: Config, material: Material) -> dict[str, int]:
    """Parameters of model and output layer; nothing is allocated."""
    parameters = networks_of(config, material, torch.device("meta")).parameters()
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {"parameters": sum(parameter.numel() for parameter in parameters), "trainable_parameters": trainable}
