"""Classifying: a text in, its class out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqgen_cli.config.signatures import missing_members
from seqgen_cli.data.corpora.labelled import LabelledCorpus
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.prepare.labelled import prepare_labelled
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Classifier
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task
from seqgen_cli.tasks.classify.classifier import TextClassifier, open_classifier
from seqgen_cli.tasks.classify.encoding import encode_once
from seqgen_cli.tasks.classify.evaluation import evaluate
from seqgen_cli.tasks.classify.validation import ClassifierValidation
from seqgen_cli.tasks.validation import Trained


class Classifying(Task):
    """Models with one hidden vector for each text."""

    name = command = "classify"
    holds = "a classifier"
    does = "classifies texts"
    kind = "models that classify"
    source_unit = "word pieces"
    encode_once = staticmethod(encode_once)
    evaluate = staticmethod(evaluate)

    def serves(self, model: type) -> bool:
        return not missing_members(model, Classifier)

    def fits(self, group: str, choice: type) -> bool:
        if group == "data":
            return not missing_members(choice, LabelledCorpus)
        if group == "tokenizer":
            return choice is WordPieces
        if group == "metrics":
            return getattr(choice, "task", None) == self.name
        return bool(getattr(choice, "classifies", True))

    def check(self, classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Refuse a tokenizer that leaves texts longer than the model reads."""
        kept, read = ((values.get(group) or {}).get("max_length") for group in ("tokenizer", "model"))
        if kept is not None and read is not None and kept > read:
            raise RequestError(
                f"tokenizer.max_length={kept} leaves texts longer than model.max_length={read} says the encoder reads. "
                "Set model.max_length alone: the tokenizer's follows it."
            )

    def prepare(
        self, corpus: Any, tokenizer: Any, cleaning: Any, cache: Path, tokenizers: tuple[Any, Any] | None, seed: int, *rest: Any
    ) -> Prepared:
        """Every text counts: none is cleaned away."""
        return prepare_labelled(corpus, tokenizer, cache, tokenizers, *rest)

    def sizes(self, config: Any) -> tuple[int, int]:
        return config.tokenizer.vocab_size, len(config.corpus.class_names() or (0, 1))

    def largest(self, config: Any) -> tuple[int, int] | None:
        return None if config.corpus.class_names() is None else self.sizes(config)

    def tally(self, prepared: Prepared, split: str) -> dict[str, int]:
        labels = prepared.target_tokenizer
        counts_C = np.bincount(prepared.splits[split].labels_n, minlength=labels.vocab_size)
        return dict(zip(labels.names, counts_C.tolist(), strict=True))

    def vocabularies(self, prepared: Prepared) -> str:
        pieces, labels = prepared.source_tokenizer, prepared.target_tokenizer
        return f"vocabulary: {pieces.vocab_size:,} word pieces; {labels.vocab_size:,} classes"

    def validation(self, config: Any, trained: Trained) -> ClassifierValidation:
        return ClassifierValidation(trained, config.metrics, config.trainer.samples)

    def figures(self, config: Any) -> list[str]:
        return ["nll", *(name for name in config.metrics.names if name != "log_loss")]

    def open(self, config: Any, runtime: Runtime) -> TextClassifier:
        return open_classifier(config.ckpt, runtime, config.trust, config.batch_tokens)


TASK = Classifying()
