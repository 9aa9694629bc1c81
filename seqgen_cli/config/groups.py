"""The config groups: which package holds each, what a choice of it must offer, and what the program passes to it."""

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from seqgen_cli.config import moved
from seqgen_cli.config.signatures import missing_members
from seqgen_cli.data.batching import Batching
from seqgen_cli.data.corpora.base import Corpus
from seqgen_cli.data.corpora.labelled import LabelledCorpus
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.tokenizers.base import TokenizerSettings
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.decoding.base import Decoder
from seqgen_cli.errors import RequestError, join_and
from seqgen_cli.metrics.base import Reward
from seqgen_cli.models.base import Model
from seqgen_cli.objectives.base import Decay, Objective, Schedule
from seqgen_cli.objectives.baselines import Baseline
from seqgen_cli.objectives.handovers import Handover
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.training.trainer import Trainer

PACKAGES: dict[str, str] = {
    "data": "seqgen_cli.data.corpora",
    "tokenizer": "seqgen_cli.data.tokenizers",
    "cleaning": "seqgen_cli.data.prepare",
    "batching": "seqgen_cli.data.batching",
    "model": "seqgen_cli.models",
    "output": "seqgen_cli.outputs",
    "objective": "seqgen_cli.objectives",
    "objective/decay": "seqgen_cli.objectives",
    "objective/reward": "seqgen_cli.metrics",
    "objective/baseline": "seqgen_cli.objectives",
    "objective/handover": "seqgen_cli.objectives",
    "optimizer": "seqgen_cli.training",
    "schedule": "seqgen_cli.training",
    "trainer": "seqgen_cli.training",
    "decoding": "seqgen_cli.decoding",
    "metrics": "seqgen_cli.metrics",
    "runtime": "seqgen_cli.runtime.process",
}
"""Where each group's own choices are defined. An inner group (`objective/decay`) is of what a choice chooses in turn."""


class OptimizerSettings(Protocol):
    """How to optimise."""

    def make(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """The optimizer over these parameters."""
        ...


class Metrics(Protocol):
    """How to measure outputs against references."""

    def compute(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]], target_language: str | None
    ) -> Mapping[str, Any]:
        """Figures by name."""
        ...


PROTOCOLS: dict[str, tuple[type, ...]] = {
    "data": (Corpus, LabelledCorpus),
    "tokenizer": (TokenizerSettings, WordPieces),
    "cleaning": (StandardCleaning,),
    "batching": (Batching,),
    "model": (Model,),
    "output": (OutputLayer,),
    "objective": (Objective,),
    "objective/decay": (Decay,),
    "objective/reward": (Reward,),
    "objective/baseline": (Baseline,),
    "objective/handover": (Handover,),
    "optimizer": (OptimizerSettings,),
    "schedule": (Schedule,),
    "trainer": (Trainer,),
    "decoding": (Decoder,),
    "metrics": (Metrics,),
    "runtime": (Runtime,),
}
"""What a choice of each group must offer (one of these protocols), or be (a class)."""

PASSED: dict[str, frozenset[str]] = {
    "data": frozenset({"cache_folder", "reads_source"}),
    "model": frozenset({"source_vocab_size", "target_vocab_size", "num_classes"}),
    "output": frozenset({"hidden_size", "vocab_size", "counts_V", "embedding"}),
    "objective": frozenset({"model", "output", "target_tokenizer", "target_language", "seed", "counts_V"}),
    "objective/reward": frozenset({"target_language"}),
    "schedule": frozenset({"total_updates"}),
}
"""What the parts of a run must agree on: given by the program to the constructors that declare it, never written in a config."""


def place(group: str) -> str:
    """Where the group's choice stands in the config: "objective/decay" -> "objective.decay"."""
    return group.replace("/", ".")


def resolve(node: Mapping[str, Any], group: str) -> type:
    """The class that the user's config node names.

    Raises:
        RequestError: it cannot be imported, is no class, or does not offer what its group promises.
    """
    path = str(node["_target_"])
    module, _, name = moved.where(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "Is its package installed, or its folder on PYTHONPATH?"
        raise RequestError(f"{place(group)}._target_={path} cannot be imported ({error}). {hint}") from error
    return _as_choice(found, path, group)


def resolve_stranger(node: Mapping[str, Any], group: str, trust: Sequence[str]) -> type:
    """The class that a stranger's config node names: one defined in that group's own package, or in a trusted one.

    Nothing outside those packages is imported to find out.

    Raises:
        RequestError: anything else.
    """
    path = node["_target_"]
    package = str(path).partition(".")[0]
    refused = RequestError(
        f"the checkpoint's {place(group)}._target_={path} is not a choice of {group} in seqgen. "
        f"If you trust the package that defines it, say trust=[{package}]."
    )
    if group not in PACKAGES or not isinstance(path, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        raise refused
    module_name, _, name = moved.where(path).rpartition(".")
    allowed = [PACKAGES[group], *trust]
    if not any(_within(module_name, own) for own in allowed):
        raise refused
    try:
        found = vars(importlib.import_module(module_name)).get(name)
    except ImportError as error:
        raise refused from error
    if not isinstance(found, type) or not any(_within(found.__module__, own) for own in allowed):
        raise refused
    return _as_choice(found, path, group)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _as_choice(found: Any, path: str, group: str) -> type:
    if not isinstance(found, type):
        raise RequestError(f"{place(group)}._target_={path} is not a class.")
    lackings = [missing_members(found, protocol) for protocol in PROTOCOLS.get(group, (object,))]
    if all(lackings):
        lacking = min(lackings, key=len)
        raise RequestError(f"{place(group)}._target_={path} is not a choice of {group}: it lacks {join_and(lacking)}.")
    return found
