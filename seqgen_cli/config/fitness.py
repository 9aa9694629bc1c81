"""Whether the choices of a run fit each other: from what a constructor's hints ask for (`model: Generator`), and from what the
model's task says of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from seqgen_cli.config import signatures
from seqgen_cli.config.groups import PROTOCOLS, resolve
from seqgen_cli.config.listing import group_choices, read_settings
from seqgen_cli.config.parts import owner
from seqgen_cli.errors import RequestError, join_or
from seqgen_cli.tasks.base import GROUPS, Task, task_for, task_for_data, tasks

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
    if "model" in classes:
        task_for(classes["model"]).check(classes, values, choices)
    _check_samples(classes, values, choices)


def _check_task(classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
    """Refuse data, a tokenizer, metrics or an output layer that are for models of another task.

    Where data are prepared without a model, they are what the tokenizer has to fit.
    """
    if "model" in classes:
        decides, task = "model", task_for(classes["model"])
    elif "data" in classes and "tokenizer" in classes and (found := task_for_data(classes["data"])):
        decides, task = "data", found
    else:
        return
    for group in GROUPS:
        if group not in classes or task.fits(group, classes[group]):
            continue
        others = [other for other in tasks() if other.fits(group, classes[group])]
        alike = not task.writes or any(other.writes for other in others)
        does = task.does if alike else "generates text"
        if decides == "data":
            does = f"is for {'models that generate' if task.writes else task.kind}"
        unfit = f"{owner(decides, choices)} {does}; {owner(group, choices)} is for {_kind(others)}."
        fitting = [name for name, cls in choices_of(group).items() if task.fits(group, cls)]
        raise RequestError(f"{unfit} Use {group}={join_or(fitting)}.")


def _kind(tasks: Sequence[Task]) -> str:
    """What models for any of these tasks are called."""
    several = len(tasks) > 1 and all(task.writes for task in tasks)
    return "models that generate" if several else join_or([task.kind for task in tasks]) or "models of another task"


def _check_samples(classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse settings of an objective that leave it nothing to learn from its samples."""
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


def _check_needs(key: str, cls: type, classes: Mapping[str, type], choices: Mapping[str, Any]) -> None:
    """Refuse `cls` where it asks for another part (by a parameter named for that group) that is not what it needs."""
    for group, needed in _needs(cls).items():
        if group not in classes or not signatures.missing_members(classes[group], needed):
            continue
        mine = [name for name, other in choices_of(key).items() if _accepts(other, group, classes[group])]
        theirs = [name for name, other in choices_of(group).items() if not signatures.missing_members(other, needed)]
        ways = [f"{name}={join_or(options)}" for name, options in ((key, mine), (group, theirs)) if options]
        use = f" Use {', or '.join(ways)}." if ways else ""
        kind = _KINDS.get(needed.__name__, f"a {needed.__name__}")
        raise RequestError(f"{owner(key, choices)} needs {kind}; {owner(group, choices)} is not one.{use}")


def _needs(cls: type) -> dict[str, type]:
    return {n: p.annotation for n, p in signatures.parameters(cls).items() if n in PROTOCOLS and isinstance(p.annotation, type)}


def _accepts(cls: type, group: str, other: type) -> bool:
    return not signatures.missing_members(other, _needs(cls).get(group, object))


def choices_of(group: str) -> dict[str, type]:
    """The classes of a group's shipped choices."""
    return {name: resolve(read_settings(f"{group}/{name}"), group) for name in group_choices(group)}
