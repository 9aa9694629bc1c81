"""A command's config, or a run's own, as plain typed values, objects, and Parts that wait for what the program passes.

Each value is converted once, by the hint that also checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seqgen_cli.config import signatures
from seqgen_cli.config.groups import PASSED, resolve
from seqgen_cli.config.parts import Part, part
from seqgen_cli.config.settings import TOP_LEVEL, Settings, attribute
from seqgen_cli.data.batching import Batching
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.errors import RequestError
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task, task_for, task_for_data
from seqgen_cli.training.trainer import Trainer


class Config(Settings):
    """Top-level settings by their keys; each group's choice by the group's name, None where none is chosen.

    A choice to which the program passes something is a Part to call (`config.model(source_vocab_size=...)`); any other is
    the object itself (`config.trainer`). Each is made at first use, once, so that of a checkpoint's config only what is asked
    for need be right; config/door.py asks for all.

    Args:
        values: plain data, as it was written.

    Raises:
        RequestError: a top-level setting is wrong; or, when a group is asked for, one of its settings.
    """

    data: Part
    model: Part
    output: Part
    objective: Part
    schedule: Part
    tokenizer: Any
    cleaning: StandardCleaning
    batching: Batching
    optimizer: Any
    trainer: Trainer
    decoding: Decoder
    metrics: Any
    runtime: Runtime
    bench: Any
    layer: Any
    synthetic: Any

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.choices: dict[str, Any] = self.values.get("choices") or {}
        """The name of each group's choice, as far as it is known."""
        self._parts: dict[str, Part] = {}
        for key in self.values.keys() & TOP_LEVEL.keys():
            setattr(self, attribute(key), signatures.check_value(TOP_LEVEL[key], self.values[key], key))

    def __contains__(self, key: str) -> bool:
        """Whether the key is there, and its value is not null."""
        return self.values.get(key) is not None

    if not TYPE_CHECKING:  # a misspelt attribute is for mypy to see

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in self.values:
                raise AttributeError(f"this config has no {name}")
            found = self.part(name) if name in self.chosen else None
            found = found() if found is not None and name not in PASSED else found
            setattr(self, name, found)
            return found

    @cached_property
    def chosen(self) -> list[str]:
        """The groups that have a choice."""
        return [key for key, node in self.values.items() if isinstance(node, Mapping) and "_target_" in node]

    def part(self, group: str) -> Part:
        """The choice of a group that has one."""
        if group not in self._parts:
            self._parts[group] = part(self.values[group], group, self.choices)
        return self._parts[group]

    @cached_property
    def task(self) -> Task:
        """What its model is for; without a model, what its data are for."""
        if "model" in self:
            return task_for(resolve(self.values["model"], "model"))
        task = task_for_data(self.data.cls, self.data.settings.get("block") is not None)
        if task is None:
            raise RequestError(f"{self.data.owner} is for a task of its own: it can be prepared beside its model only.")
        return task

    @cached_property
    def corpus(self) -> Any:
        """Its data, not read yet, of which the source is left out where the task has none."""
        return self.data(cache_folder=self.runtime.cache_folder, reads_source=self.task.reads_source)

    def changed(self, changes: Mapping[str, Any]) -> Config:
        """Another one, with some values in place of those it had: whole nodes, or keys of one."""
        return Config(_merged(self.values, changes))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes with some of their keys changed; another choice, or another value, takes the place of the one before."""
    found = dict(old)
    for key, value in new.items():
        one_node = isinstance(value, Mapping) and "_target_" not in value and isinstance(old.get(key), Mapping)
        found[key] = _merged(old[key], value) if one_node else value
    return found
