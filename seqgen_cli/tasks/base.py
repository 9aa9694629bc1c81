"""What a task is: all in which translating, generating and classifying differ. Adding one is adding a folder beside this file.

A model is for the task that it names, `task = "package.module"`, a module with a TASK; or, where it names none, for the one of
seqgen's own tasks that serves it. Nobody asks which task it is: what depends on it is asked of the task.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.base import higher_is_better
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.validation import Trained, Validation

GROUPS = ("data", "tokenizer", "metrics", "output")
"""The groups with choices that are for some tasks only."""


class Task(ABC):
    """A task. What is said here holds for one whose models read a text and predict something about it.

    `config` is a command's or a run's Config (config/checked.py).
    """

    name: ClassVar[str]
    command: ClassVar[str] = "eval"
    """The command that applies its models; `seqgen_cli.load` takes that command's settings."""
    holds: ClassVar[str]
    """What a checkpoint of it is called: "a translation model"."""
    kind: ClassVar[str]
    """What its models are called: "models that translate"."""
    does: ClassVar[str]
    """What its models do: "reads a source"."""
    writes: ClassVar[bool] = False
    """Whether its models generate text."""
    reads_source: ClassVar[bool] = True
    """Whether its models have a source, and so a tokenizer for it."""
    unit: ClassVar[str] = "texts"
    """What progress and speed are counted in."""
    unit_in_words: ClassVar[str] = "texts"
    """What that is called: "target tokens"."""
    source_unit: ClassVar[str] = "tokens"
    """What a source is counted in."""

    def serves(self, model: type) -> bool:
        """Whether it is the task of models of this class, which name none."""
        return False

    def fits(self, group: str, choice: type) -> bool:
        """Whether a choice of one of GROUPS can be used with its models."""
        return True

    def check(self, classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Refuse choices that do not fit each other; see config/fitness.py.

        Raises:
            RequestError: names both choices, and what would fit.
        """
        return

    @abstractmethod
    def prepare(
        self,
        corpus: Any,
        tokenizer: Any,
        cleaning: Any,
        cache: Path,
        tokenizers: tuple[Any, Any] | None,
        seed: int,
        report: Callable[[str], None],
        only: Sequence[str] | None,
    ) -> Prepared:
        """The corpus cleaned, tokenised and stored; arguments as of data/prepare/text.py's `prepare`."""

    def sizes(self, config: Any) -> tuple[int | None, int] | None:
        """Words of the source and of the target, as `Prepared`'s tokenizers would tell, where the config alone says so."""
        return None

    def largest(self, config: Any) -> tuple[int | None, int] | None:
        """The most words that source and target can have by the config alone; None where it does not say."""
        return None

    def lengths(self, dataset: Any) -> dict[str, np.ndarray]:
        """The lengths of each side of a split, by what they are counted in: {"source tokens": (n,) ...}."""
        return {self.source_unit: dataset.source_lengths_n}

    def noun(self, dataset: Any) -> str:
        """What an example of the split is called."""
        return "text"

    def tally(self, prepared: Prepared, split: str) -> dict[str, int]:
        """How many examples there are of each class, where there are classes."""
        return {}

    def vocabularies(self, prepared: Prepared) -> str:
        """How large they are, in words."""
        source, target = prepared.source_tokenizer, prepared.target_tokenizer
        if source is None:
            return f"vocabulary: {target.vocab_size:,}"
        if source is target:
            return f"joint vocabulary: {source.vocab_size:,}"
        return f"vocabularies: source {source.vocab_size:,}, target {target.vocab_size:,}"

    def encode_once(
        self,
        config: Any,
        model: Any,
        runtime: Runtime,
        prepared: Prepared,
        splits: Sequence[str],
        indices: Sequence[int] | None = None,
    ) -> int:
        """Compute before training what every epoch would compute anew; how many tokens of the source were read for that.

        Args:
            indices: of these examples of a split only; None: all.
        """
        return 0

    def validation(self, config: Any, trained: Trained) -> Validation:
        """What measures a live model, as config.trainer's `samples` and `decode_limit` ask."""
        return Validation(trained)

    def figures(self, config: Any) -> list[str] | None:
        """The names of all that `validation` measures, for a misspelt trainer.best_metric; None: not known beforehand."""
        return None

    def try_figures(self, config: Any) -> None:
        """Measure what is no text of the data's, so that metrics refuse now what they would refuse at the first validation.

        Raises:
            RequestError: they do.
        """
        return

    def higher_is_better(self, metric: str) -> bool:
        """Whether a larger value of one of the validation's figures is the better one.

        Raises:
            RequestError: there is no such figure.
        """
        return higher_is_better(metric)

    @abstractmethod
    def evaluate(self, config: Any) -> dict[str, Any]:
        """seqgen eval: measure config.ckpt, print a table, return the figures."""

    def scored(self, config: Any) -> Iterator[tuple[Sequence[Any], Sequence[str]]]:
        """seqgen score: windows of the texts in config.target with the likelihood of each (tasks/ensemble.py)."""
        raise RequestError(f"{config.ckpt} holds {self.holds}, which gives no text a probability: seqgen score cannot use it.")

    @abstractmethod
    def open(self, config: Any, runtime: Runtime) -> Any:
        """The model of config.ckpt ready for text, by the settings of the task's command."""


@cache
def tasks() -> tuple[Task, ...]:
    """seqgen's own tasks: every folder beside this file has one."""
    folders = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    return tuple(importlib.import_module(f"{__package__}.{folder}.task").TASK for folder in folders)


def task_for(model: type) -> Task:
    """What models of this class are for."""
    named = getattr(model, "task", None)
    if named is None:
        return next(task for task in tasks() if task.serves(model))
    try:
        found = importlib.import_module(named).TASK
    except (ImportError, AttributeError, TypeError) as error:  # the last: it leaves out what only it can say
        raise RequestError(f"{model.__name__}.task={named} is no module with a TASK ({error}).") from error
    if not isinstance(found, Task):
        raise RequestError(f"{named}.TASK is no Task of seqgen_cli.tasks.base.")
    return found


def task_for_data(corpus: type, running: bool = False) -> Task | None:
    """What a corpus of this class is prepared for where no model says: the task that reads most of it.

    Args:
        running: it is cut into blocks, which have no source.
    """
    fitting = [task for task in tasks() if task.fits("data", corpus)]
    return next((task for task in fitting if task.reads_source != running), None)
