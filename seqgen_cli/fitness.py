"""Whether the choices of a run fit each other: from what a constructor's hints ask for (`model: Generator`), from what the
model is for (classifying, translating, generating text from no source), and from the sides that the data have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from seqgen_cli import signatures
from seqgen_cli.data.corpora import Corpus
from seqgen_cli.data.labelled import LabelledCorpus
from seqgen_cli.data.wordpieces import WordPieces
from seqgen_cli.errors import RequestError
from seqgen_cli.groups import PROTOCOLS, resolve
from seqgen_cli.listing import group_choices, read_settings
from seqgen_cli.metrics.classification import ClassificationMetrics
from seqgen_cli.metrics.language_model import LanguageModelMetrics
from seqgen_cli.models.base import Classifier
from seqgen_cli.words import join_or

Task = Literal["classify", "generate", "translate"]
"""What a model is for, by the name of the command that applies it."""

_METRICS_OF: dict[type, Task] = {ClassificationMetrics: "classify", LanguageModelMetrics: "generate"}
"""What the metrics measure that do not measure translations."""

_KINDS = {
    "Generator": "a model that generates",
    "Aligner": "a model that can show its alignments",
    "Classifier": "a model that classifies",
}


def check_fit(classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse choices that do not fit each other.

    Args:
        classes: of each group chosen. values: the config as plain data. choices: the name of each group's choice.

    Raises:
        RequestError: names both choices, and what would fit.
    """
    for key, cls in classes.items():
        _check_needs(key, cls, classes, choices)
    _check_task(classes, choices)
    check_source(classes, values, choices)
    _check_samples(classes, values, choices)


def task_for(model: type) -> Task:
    """What models of this class are for."""
    if not signatures.missing_members(model, Classifier):
        return "classify"
    return "translate" if reads_source(model) else "generate"


def _check_task(classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
    """Refuse data, a tokenizer, metrics or an output layer that are for models of another task.

    Where data are prepared without a model, they are what the tokenizer has to fit.
    """
    decides = "model" if "model" in classes else "data"
    if decides not in classes or (decides == "data" and "tokenizer" not in classes):
        return
    task = task_for(classes["model"]) if decides == "model" else "classify" if _is_labelled(classes["data"]) else "translate"
    labelled = task == "classify"
    fits: dict[str, Callable[[type], bool]] = {
        "data": lambda cls: _is_labelled(cls) == labelled,
        "tokenizer": lambda cls: (cls is WordPieces) == labelled,
        "metrics": lambda cls: _METRICS_OF.get(cls, "translate") == task,
        "output": lambda cls: bool(getattr(cls, "classifies", labelled)) == labelled,
    }
    for group, fit in fits.items():
        if group in classes and not fit(classes[group]):
            fitting = [name for name, cls in _choices_of(group).items() if fit(cls)]
            does, other = _unlike(task, None if group != "metrics" else _METRICS_OF.get(classes[group], "translate"))
            does = does if decides == "model" else f"is for models that {'classify' if labelled else 'generate'}"
            unfit = f"{owner(decides, choices)} {does}; {owner(group, choices)} is for {other}."
            raise RequestError(f"{unfit} Use {group}={join_or(fitting)}.")


def _unlike(task: Task, other: Task | None) -> tuple[str, str]:
    """What a model for this task does, and which models another choice is for: those for the `other` task, or (None) those
    that classify where this one generates, and the other way round."""
    if other is None or task == "classify":
        does = "classifies texts" if task == "classify" else "generates text"
        return does, "models that generate" if task == "classify" else "models that classify"
    kinds = {"classify": "models that classify", "translate": "models that translate", "generate": "language models"}
    return "reads a source" if task == "translate" else "reads no source", kinds[other]


def _is_labelled(corpus: type) -> bool:
    return not signatures.missing_members(corpus, LabelledCorpus)


def check_source(classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse data of one side, or cut into blocks, for a model that reads a source."""
    if not {"model", "data"} <= set(classes) or not reads_source(classes["model"]):
        return
    if signatures.missing_members(classes["data"], Corpus):
        return  # labelled texts
    data = values["data"]
    if not _has_source(classes["data"], data):
        if "source_language" in data:
            why, way = "has none while data.source_language is null", "Set data.source_language"
        else:
            whole = [name for name, cls in _choices_of("data").items() if _has_source(cls, read_settings(f"data/{name}"))]
            why, way = "has none", f"Use data={join_or(whole)}"
    elif data.get("block") is not None:
        why, way = f"is cut into blocks by data.block={data['block']}, which have none", "Use data.block=null"
    else:
        return
    fitting = [name for name, cls in _choices_of("model").items() if not reads_source(cls)]
    other = f", or model={join_or(fitting)}" if fitting else ""
    raise RequestError(f"{owner('model', choices)} reads a source; {owner('data', choices)} {why}. {way}{other}.")


def _check_samples(classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse an objective that rewards a model's outputs where there is nothing to reward them by, or to compare them with."""
    objective = classes.get("objective", object)
    if getattr(objective, "rewards_outputs", False) and "model" in classes and not reads_source(classes["model"]):
        sourced = join_or([name for name, cls in _choices_of("model").items() if task_for(cls) == "translate"])
        plain = join_or([name for name, cls in _choices_of("objective").items() if not getattr(cls, "rewards_outputs", False)])
        raise RequestError(
            f"{owner('objective', choices)} compares what a model writes with the reference of its source; "
            f"{owner('model', choices)} reads no source. Use objective={plain}, or model={sourced}."
        )
    least = getattr(classes.get("objective/baseline"), "least_samples", 1)
    settings = values.get("objective") or {}
    if settings.get("samples", least) < least:
        raise RequestError(
            f"objective.samples={settings['samples']} is too few for {owner('objective/baseline', choices)}, which compares the "
            f"samples of a source with one another. Use objective.samples={least} or more, or another objective/baseline."
        )
    if settings.get("include_reference") is False and settings.get("samples", 2) < 2:
        raise RequestError(
            "objective.samples=1 without the reference is a set of one output, from which nothing is learned. "
            "Use objective.samples=2 or more, or objective.include_reference=true."
        )
    if settings.get("kl", 0) > 0 and "init_from" in values and not values["init_from"]:
        raise RequestError(
            f"objective.kl={settings['kl']} keeps the model near the one it starts from, which is random without init_from. "
            "Start from a trained one, init_from=RUN, or use objective.kl=0."
        )


def reads_source(model: type) -> bool:
    """Whether models of this class have a source: all but language models, which say so."""
    return bool(getattr(model, "reads_source", True))


def _has_source(corpus: type, settings: Mapping[str, Any]) -> bool:
    """Whether a data choice holds pairs: not if its source_language, a setting or the class's, is None."""
    languages = settings.get("source_language", getattr(corpus, "source_language", ""))
    return languages is not None and not signatures.missing_members(corpus, Corpus)


def owner(group: str, choices: Mapping[str, Any]) -> str:
    """What the user calls a part of the config: "model=transformer"."""
    return f"{group}={choices[group]}" if choices.get(group) else group


def _check_needs(key: str, cls: type, classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
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
