"""From a config to objects: composes it, checks it, builds what it names, and makes a model again from a checkpoint.

The only place that instantiates. A mistake is found before any data is read: keys, types and ranges from the constructors'
signatures, and whether choices fit each other from the hints of what they ask for (`model: Generator`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from seqgen_cli import signatures
from seqgen_cli.compose import compose, plain
from seqgen_cli.data.corpora import Corpus, TargetSide
from seqgen_cli.data.labelled import LabelledCorpus
from seqgen_cli.data.prepare import Prepared, prepare
from seqgen_cli.data.prepare_labelled import prepare_labelled
from seqgen_cli.data.tokenizers import load_pair
from seqgen_cli.data.wordpieces import WordPieces
from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.groups import PASSED, PROTOCOLS, resolve
from seqgen_cli.listing import group_choices, groups, read_settings
from seqgen_cli.metrics.classification import ClassificationMetrics
from seqgen_cli.metrics.language_model import LanguageModelMetrics
from seqgen_cli.models.base import Classifier
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.restore import SkipRandomInit, load_weights, read_config, read_weights
from seqgen_cli.runtime import Runtime
from seqgen_cli.settings import TOP_LEVEL
from seqgen_cli.words import did_you_mean, join_or

__all__ = [
    "Restored",
    "Task",
    "check",
    "check_task_of",
    "compose",
    "evaluation_data",
    "from_checkpoint",
    "is_running_text",
    "make",
    "network",
    "objective",
    "output_layer",
    "plain",
    "prepared",
    "reads_source",
    "start_runtime",
    "task_of",
    "task_of_checkpoint",
]

Task = Literal["classify", "generate", "translate"]
"""What a model is for, by the name of the command that applies it."""

_METRICS_OF: dict[type, Task] = {ClassificationMetrics: "classify", LanguageModelMetrics: "generate"}
"""What the metrics measure that do not measure translations."""

_KINDS = {
    "Generator": "a model that generates",
    "Aligner": "a model that can show its alignments",
    "Classifier": "a model that classifies",
}


def check(config: DictConfig) -> None:
    """Check every key, type and range, and that the choices fit each other.

    Raises:
        RequestError: names the key, its value, what is allowed and the nearest match.
    """
    values = plain(config)
    choices = values.get("choices", {})
    classes = {}
    for key, value in values.items():
        if isinstance(value, dict) and "_target_" in value:
            classes[key] = resolve(value, key)
            settings = {name: item for name, item in value.items() if name != "_target_"}
            signatures.check_call(classes[key], settings, key, owner(key, choices), PASSED.get(key, frozenset()))
        elif key in TOP_LEVEL:
            signatures.check_value(TOP_LEVEL[key], value, key)
        elif key != "choices" and key not in groups():
            raise RequestError(f"{key} is not a setting.{did_you_mean(key, [*TOP_LEVEL, *groups()])}")
    for key, cls in classes.items():
        _check_fit(key, cls, classes, choices)
    _check_task(classes, choices)
    _check_source(classes, values, choices)


def _check_task(classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
    """Refuse data, a tokenizer, metrics or an output layer that are for models of another task."""
    if "model" not in classes:
        return
    task = _task(classes["model"])
    labelled = task == "classify"
    fits: dict[str, Callable[[type], bool]] = {
        "data": lambda cls: (not signatures.missing_members(cls, LabelledCorpus)) == labelled,
        "tokenizer": lambda cls: (cls is WordPieces) == labelled,
        "metrics": lambda cls: _METRICS_OF.get(cls, "translate") == task,
        "output": lambda cls: bool(getattr(cls, "classifies", labelled)) == labelled,
    }
    does = {"classify": "classifies texts", "translate": "generates text", "generate": "generates text"}[task]
    other = "models that generate" if labelled else "models that classify"
    for group, fit in fits.items():
        if group in classes and not fit(classes[group]):
            fitting = [name for name, cls in _choices_of(group).items() if fit(cls)]
            if group == "metrics":
                kinds = {"classify": "models that classify", "translate": "models that translate", "generate": "language models"}
                other = kinds[_METRICS_OF.get(classes[group], "translate")]
                does = {"classify": does, "translate": "reads a source", "generate": "reads no source"}[task]
            unfit = f"{owner('model', choices)} {does}; {owner(group, choices)} is for {other}."
            raise RequestError(f"{unfit} Use {group}={join_or(fitting)}.")


def _check_source(classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse data of one side, or cut into blocks, for a model that reads a source."""
    if not {"model", "data"} <= set(classes) or not _reads_source(classes["model"]):
        return
    if signatures.missing_members(classes["data"], Corpus):
        return  # labelled texts
    data = values["data"]
    whole = [name for name, cls in _choices_of("data").items() if _has_source(cls, read_settings(f"data/{name}"))]
    if not _has_source(classes["data"], data):
        settable = "source_language" in data
        why = "has none while data.source_language is null" if settable else "has none"
        way = "Set data.source_language" if settable else f"Use data={join_or(whole)}"
    elif data.get("block") is not None:
        why, way = f"is cut into blocks by data.block={data['block']}, which have none", "Use data.block=null"
    else:
        return
    fitting = [name for name, cls in _choices_of("model").items() if not _reads_source(cls)]
    other = f", or model={join_or(fitting)}" if fitting else ""
    raise RequestError(f"{owner('model', choices)} reads a source; {owner('data', choices)} {why}. {way}{other}.")


def _reads_source(model: type) -> bool:
    return bool(getattr(model, "reads_source", True))


def _has_source(corpus: type, settings: Mapping[str, Any]) -> bool:
    """Whether a data choice holds pairs: not if its source_language, a setting or the class's, is None."""
    languages = settings.get("source_language", getattr(corpus, "source_language", ""))
    return languages is not None and not signatures.missing_members(corpus, Corpus)


def owner(group: str, choices: Mapping[str, Any]) -> str:
    """What the user calls a part of the config: "model=transformer"."""
    return f"{group}={choices[group]}" if choices.get(group) else group


def _check_fit(key: str, cls: type, classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
    """Refuse `cls` where it asks for another part (by a parameter named for that group) that is not what it needs."""
    for group, needed in _needs(cls).items():
        if group not in classes or not signatures.missing_members(classes[group], needed):
            continue
        mine = [name for name, other in _choices_of(key).items() if _accepts(other, group, classes[group])]
        theirs = [name for name, other in _choices_of(group).items() if not signatures.missing_members(other, needed)]
        ways = [f"{name}={join_or(options)}" for name, options in ((key, mine), (group, theirs)) if options]
        use = f" Use {', or '.join(ways)}." if ways else ""
        kind = _KINDS.get(needed.__name__, f"a {needed.__name__}")
        raise RequestError(f"{owner(key, choices)} needs {kind}; {owner(group, choices)} is not one.{use}")


def _needs(cls: type) -> dict[str, type]:
    return {n: p.annotation for n, p in signatures.parameters(cls).items() if n in PROTOCOLS and isinstance(p.annotation, type)}


def _accepts(cls: type, group: str, other: type) -> bool:
    return not signatures.missing_members(other, _needs(cls).get(group, object))


def _choices_of(group: str) -> dict[str, type]:
    """The classes of a group's shipped choices."""
    return {name: resolve(read_settings(f"{group}/{name}"), group) for name in group_choices(group)}


def make(node: DictConfig | Mapping[str, Any], group: str, **passed: Any) -> Any:
    """The object that a config node names. Of `passed`, each value goes to the constructor if it declares that parameter.

    Raises:
        RequestError: a setting is wrong.
    """
    values: dict[str, Any] = plain(node) if isinstance(node, DictConfig) else dict(node)
    if "_target_" not in values:
        raise RequestError(f"{group} is not chosen.")
    cls = resolve(values, group)
    given = {name: value for name, value in passed.items() if name in signatures.parameters(cls)}
    settings = {name: item for name, item in values.items() if name != "_target_"}
    return cls(**signatures.check_call(cls, settings, group, group, PASSED.get(group, frozenset()) | set(given)), **given)


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
    counts_V = None if counts is None else torch.as_tensor(counts, device="cpu")
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
    name = owner("model", config.get("choices", {}))
    if not isinstance(getattr(model, "embedding", None), nn.Embedding):
        raise RequestError(f"output.tied=true shares the target embedding, but {name} has none. Use output.tied=false.")
    weight = model.embedding.weight
    if tuple(weight.shape) != (vocab_size, model.hidden_size):
        raise RequestError(
            f"output.tied=true needs embeddings as wide as the hidden vectors, but {name} has embeddings of {weight.shape[1]} "
            f"and hidden vectors of {model.hidden_size}. Make them equal, or use output.tied=false."
        )
    return weight


def objective(config: DictConfig, model: Any, output: OutputLayer, target_tokenizer: Any = None) -> Any:
    """The objective over a model and an output layer."""
    return make(
        config.objective, "objective", model=model, output=output, target_tokenizer=target_tokenizer, seed=config.get("seed", 1)
    )


def prepared(
    config: DictConfig,
    runtime: Runtime,
    tokenizers: tuple[Any, Any] | None = None,
    only: Sequence[str] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """The config's data, cleaned, tokenised and stored; see `seqgen_cli.data.prepare.prepare`."""
    two_sides = reads_source(config)
    corpus = make(config.data, "data", cache_folder=runtime.cache_folder, reads_source=two_sides)
    tokenizer = make(config.tokenizer, "tokenizer")
    if isinstance(corpus, LabelledCorpus):
        return prepare_labelled(corpus, tokenizer, runtime.cache_folder, tokenizers, report, only)
    cleaning = make(config.cleaning, "cleaning")
    if not two_sides and corpus.source_language is not None:
        corpus = TargetSide(corpus)
    return prepare(corpus, tokenizer, cleaning, runtime.cache_folder, tokenizers, config.get("seed", 1), report, only)


def reads_source(config: DictConfig) -> bool:
    """Whether the source side of the data is read: a language model reads none, and blocks are cut from one side."""
    if "model" in config:
        return _reads_source(resolve(config.model, "model"))
    return not is_running_text(config)


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds: its config, the networks (evaluation mode, on the CPU) and their tokenizers.

    A language model has no source tokenizer (None); a classifier has its Labels for a target tokenizer.
    """

    config: DictConfig
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
    config = OmegaConf.create(read_config(folder / "config.yaml", trust))
    source_tokenizer, target_tokenizer = load_pair(folder / "tokenizers")
    if source_tokenizer is None and reads_source(config):
        raise SeqgenError(f"{folder} has no source tokenizer, which its model needs.")
    weights = read_weights(folder / "model.safetensors")
    with SkipRandomInit():
        # A layer shaped by word frequencies keeps its counts as a buffer, so that its weights say how to build it.
        sizes = (source_tokenizer and source_tokenizer.vocab_size, target_tokenizer.vocab_size)
        model, output = network(config, *sizes, counts_V=weights.get("output.counts_V"))
    load_weights({"model": model, "output": output}, weights, folder)
    return Restored(config, model.eval(), output.eval(), source_tokenizer, target_tokenizer)


def is_running_text(config: DictConfig) -> bool:
    """Whether the data are read as one stream of lines, block by block."""
    return config.data.get("block") is not None


def task_of(config: DictConfig) -> Task:
    """What the config's model is for: it classifies texts, translates them, or, a language model, generates them."""
    return _task(resolve(config.model, "model"))


def _task(model: type) -> Task:
    if not signatures.missing_members(model, Classifier):
        return "classify"
    return "translate" if _reads_source(model) else "generate"


def task_of_checkpoint(folder: Path, trust: Sequence[str] = ()) -> Task:
    """What a checkpoint's model is for; its config is read as `from_checkpoint` does."""
    return task_of(OmegaConf.create(read_config(folder / "config.yaml", trust)))


def check_task_of(folder: Path, trust: Sequence[str], wanted: Task) -> None:
    """Refuse a checkpoint whose model is for another task.

    Raises:
        RequestError: says which command is for it.
    """
    held = {"classify": "a classifier", "translate": "a translation model", "generate": "a language model, which has no source"}
    task = task_of_checkpoint(folder, trust)
    if task != wanted:
        raise RequestError(f"{folder} holds {held[task]}: it cannot {wanted}. Use seqgen {task}.")


def evaluation_data(trained: DictConfig, config: DictConfig) -> DictConfig:
    """What to evaluate on: the data chosen (`data=text ...`), or the checkpoint's with the keys given (`data.years=[2015]`).

    Raises:
        RequestError: a setting is wrong.
    """
    asked = config.get("data")
    node = asked if asked is not None and "_target_" in asked else OmegaConf.merge(plain(trained.data), asked or {})
    assert isinstance(node, DictConfig)
    choices = config.choices if node is asked else trained.get("choices", {})
    check(OmegaConf.create({"data": node, "choices": choices}))
    if "model" in trained:
        classes = {"model": resolve(trained.model, "model"), "data": resolve(plain(node), "data")}
        named = {"model": trained.get("choices", {}).get("model"), "data": choices.get("data")}
        _check_source(classes, {"data": plain(node)}, named)
    return node
