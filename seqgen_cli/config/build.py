"""From a checked config to what a run is made of. What the parts must agree on is passed here, never written in a config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqgen_cli.config.checked import Config
from seqgen_cli.config.listing import group_choices, read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, did_you_mean
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.process import Runtime


def output_layer(
    choice: str, *, hidden_size: int, vocab_size: int, counts: Any = None, settings: Mapping[str, Any] | None = None
) -> OutputLayer:
    """An output layer by the name of its choice, for a notebook or a test: `output_layer("huffman_tree", hidden_size=8, ...)`.

    Args:
        hidden_size, vocab_size: D and V.
        counts: training counts of the V words (tensor, array or list); None: all equal.
        settings: keys of configs/output/<choice>.yaml to change.

    Raises:
        RequestError: there is no such choice, or a setting is wrong.
    """
    if choice not in group_choices("output"):
        raise RequestError(f"There is no output={choice}.{did_you_mean(choice, list(group_choices('output')))}")
    node = {**read_settings(f"output/{choice}"), **(settings or {})}
    counts_V = torch.as_tensor([1] * vocab_size if counts is None else counts, device="cpu")
    made = part(node, "output", {"output": choice})
    layer: OutputLayer = made(hidden_size=hidden_size, vocab_size=vocab_size, counts_V=counts_V)
    return layer


def start_runtime(config: Config) -> Runtime:
    """The run's Runtime, started: threads, process group, and random numbers seeded with `config.seed`."""
    return config.runtime.start(config.seed)


def network(
    config: Config,
    source_vocab_size: int | None,
    target_vocab_size: int,
    counts_V: np.ndarray | Tensor | None = None,
) -> tuple[Any, OutputLayer]:
    """The model and its output layer, on the default device, with fresh weights from torch's global generator.

    Args:
        config: has `model` and `output`.
        source_vocab_size, target_vocab_size: words of each side (no source: None); classes for a classifier.
        counts_V: training counts of the target words, for layers shaped by frequency.

    Raises:
        RequestError: sizes do not agree.
    """
    model = config.model(source_vocab_size=source_vocab_size, target_vocab_size=target_vocab_size, num_classes=target_vocab_size)
    output = config.output(
        hidden_size=model.hidden_size,
        vocab_size=target_vocab_size,
        counts_V=_counts(counts_V),
        embedding=_tied(config, model, target_vocab_size),
    )
    return model, output


def _tied(config: Config, model: Any, vocab_size: int) -> nn.Parameter | None:
    """The target embedding where output.tied asks to share it."""
    if not config.output.settings.get("tied", False):
        return None
    name = config.model.owner
    if not isinstance(getattr(model, "embedding", None), nn.Embedding):
        raise RequestError(f"output.tied=true shares the target embedding, but {name} has none. Use output.tied=false.")
    weight = model.embedding.weight
    if tuple(weight.shape) != (vocab_size, model.hidden_size):
        raise RequestError(
            f"output.tied=true needs embeddings as wide as the hidden vectors, but {name} has embeddings of {weight.shape[1]} "
            f"and hidden vectors of {model.hidden_size}. Make them equal, or use output.tied=false."
        )
    return weight


def objective(
    config: Config,
    model: Any,
    output: OutputLayer,
    target_tokenizer: Any = None,
    target_language: str | None = None,
    counts_V: np.ndarray | Tensor | None = None,
) -> Any:
    """The objective over a model and an output layer; tokenizer, language and training counts are the target side's."""
    passed = {"target_tokenizer": target_tokenizer, "target_language": target_language, "counts_V": _counts(counts_V)}
    return config.objective(model=model, output=output, seed=config.seed, **passed)


def _counts(counts_V: np.ndarray | Tensor | None) -> Tensor | None:
    """Counts on the CPU: their values matter, even on `meta`."""
    return torch.as_tensor(counts_V, device="cpu") if counts_V is not None else None


def prepared(
    config: Config,
    tokenizers: tuple[Any, Any] | None = None,
    only: Sequence[str] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """The config's data, cleaned, tokenised and stored, as its task reads them; see data/prepare/text.py."""
    settings = (config.tokenizer, config.cleaning, config.runtime.cache_folder)
    return config.task.prepare(config.corpus, *settings, tokenizers, config.seed, report, only)
