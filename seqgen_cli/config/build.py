"""From a composed config to objects: checks it and builds what it names.

The only place that instantiates. A mistake is found before any data is read: keys, types and ranges from the constructors'
signatures, and whether choices fit each other (config/fitness.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from seqgen_cli.config import fitness, signatures
from seqgen_cli.config.compose import plain
from seqgen_cli.config.groups import PASSED, parts, place, resolve
from seqgen_cli.config.listing import group_choices, groups, read_settings
from seqgen_cli.config.settings import TOP_LEVEL
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError, did_you_mean
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task, task_for, task_for_data


def check(config: DictConfig) -> None:
    """Check every key, type and range, and that the choices fit each other.

    Raises:
        RequestError: names the key, its value, what is allowed and the nearest match.
    """
    values = plain(config)
    choices = values.get("choices", {})
    classes: dict[str, type] = {}
    for key, value in values.items():
        if isinstance(value, dict) and "_target_" in value:
            classes |= _checked(value, key, choices)
        elif key in TOP_LEVEL:
            signatures.check_value(TOP_LEVEL[key], value, key)
        elif key != "choices" and key not in groups():
            raise RequestError(f"{key} is not a setting.{did_you_mean(key, [*TOP_LEVEL, *groups()])}")
    fitness.check_fit(classes, values, choices)


def _checked(node: Mapping[str, Any], group: str, choices: Mapping[str, Any]) -> dict[str, type]:
    """The class of a group's node and of each part that it chooses in turn, by group; all their settings are right."""
    cls = resolve(node, group)
    inner = parts(cls, node, group)
    settings = {name: item for name, item in node.items() if name != "_target_" and name not in inner}
    passed = PASSED.get(group, frozenset()) | set(inner)
    signatures.check_call(cls, settings, place(group), fitness.owner(group, choices), passed)
    classes = {group: cls}
    for name, part in inner.items():
        classes |= _checked(part, f"{group}/{name}", choices) if part is not None else {}
    return classes


def make(node: DictConfig | Mapping[str, Any], group: str, **passed: Any) -> Any:
    """The object that a config node names. Of `passed`, each value goes to the constructor if it declares that parameter.

    What the node chooses in turn (`objective/decay`) is made first, in the same way.

    Raises:
        RequestError: a setting is wrong.
    """
    values: dict[str, Any] = plain(node) if isinstance(node, DictConfig) else dict(node)
    if "_target_" not in values:
        raise RequestError(f"{group} is not chosen.")
    cls = resolve(values, group)
    given = {name: value for name, value in passed.items() if name in signatures.parameters(cls)}
    inner = {
        name: None if part is None else make(part, f"{group}/{name}", **passed)
        for name, part in parts(cls, values, group).items()
    }
    settings = {name: item for name, item in values.items() if name != "_target_" and name not in inner}
    unsettable = PASSED.get(group, frozenset()) | set(given) | set(inner)
    return cls(**signatures.check_call(cls, settings, place(group), group, unsettable), **given, **inner)


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
    layer: OutputLayer = make(node, "output", hidden_size=hidden_size, vocab_size=vocab_size, counts_V=counts_V)
    return layer


def start_runtime(config: DictConfig) -> Runtime:
    """The run's Runtime, started: threads, process group, and random numbers seeded with `config.seed` (1 without one)."""
    runtime: Runtime = make(config.runtime, "runtime")
    return runtime.start(config.get("seed", 1))


def network(
    config: DictConfig,
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
        RequestError: a setting is wrong, or sizes do not agree.
    """
    model = make(
        config.model,
        "model",
        source_vocab_size=source_vocab_size,
        target_vocab_size=target_vocab_size,
        num_classes=target_vocab_size,
    )
    with open_dict(config):  # the config of a checkpoint must do without the files that the model was first made from
        config.model.update(getattr(model, "resolved_settings", {}))
    counts = torch.as_tensor(counts_V, device="cpu") if counts_V is not None else None  # values matter, even on `meta`
    output = make(
        config.output,
        "output",
        hidden_size=model.hidden_size,
        vocab_size=target_vocab_size,
        counts_V=counts,
        embedding=_tied(config, model, target_vocab_size),
    )
    return model, output


def _tied(config: DictConfig, model: Any, vocab_size: int) -> nn.Parameter | None:
    """The target embedding where output.tied asks to share it."""
    if not config.output.get("tied", False):
        return None
    name = fitness.owner("model", config.get("choices", {}))
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
    config: DictConfig, model: Any, output: OutputLayer, target_tokenizer: Any = None, target_language: str | None = None
) -> Any:
    """The objective over a model and an output layer; tokenizer and language (ISO 639-1) are the target side's."""
    return make(
        config.objective,
        "objective",
        model=model,
        output=output,
        target_tokenizer=target_tokenizer,
        target_language=target_language,
        seed=config.get("seed", 1),
    )


def prepared(
    config: DictConfig,
    runtime: Runtime,
    tokenizers: tuple[Any, Any] | None = None,
    only: Sequence[str] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """The config's data, cleaned, tokenised and stored, as its task reads them; see data/prepare/text.py."""
    task = task_of(config)
    corpus = make(config.data, "data", cache_folder=runtime.cache_folder, reads_source=task.reads_source)
    made = make(config.tokenizer, "tokenizer"), make(config.cleaning, "cleaning")
    return task.prepare(corpus, *made, runtime.cache_folder, tokenizers, config.get("seed", 1), report, only)


def task_of(config: DictConfig) -> Task:
    """What the config's model is for; without a model, what its data are for."""
    if "model" in config:
        return task_for(resolve(config.model, "model"))
    task = task_for_data(resolve(config.data, "data"), config.data.get("block") is not None)
    if task is None:
        named = fitness.owner("data", config.get("choices", {}))
        raise RequestError(f"{named} is for a task of its own: it can be prepared beside its model only.")
    return task
