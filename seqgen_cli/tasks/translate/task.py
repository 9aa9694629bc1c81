"""Translating: a source in, its translation out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqgen_cli.config import build
from seqgen_cli.config.fitness import choices_of, owner
from seqgen_cli.config.listing import read_settings
from seqgen_cli.config.signatures import missing_members
from seqgen_cli.data.corpora.base import Corpus
from seqgen_cli.data.corpora.lines import aligned, check_aligned, read_lines
from seqgen_cli.data.prepare.cleaning import chunks
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.errors import RequestError, join_or
from seqgen_cli.models.base import Generator
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.base import Task
from seqgen_cli.tasks.ensemble import WINDOW, Scored, evaluated, fits_text, generates, largest
from seqgen_cli.tasks.translate.evaluation import evaluate, try_metrics
from seqgen_cli.tasks.translate.translator import Translator, open_translator
from seqgen_cli.tasks.translate.validation import TranslatorValidation
from seqgen_cli.tasks.validation import Trained


class Translating(Task):
    """Models that read a source: all but classifiers and language models, which say what they are."""

    name = command = "translate"
    holds = "a translation model"
    does = "reads a source"
    kind = "models that translate"
    writes = True
    unit, unit_in_words, source_unit = "tokens", "target tokens", "source tokens"
    prepare = staticmethod(prepare)
    evaluate = staticmethod(evaluate)

    def serves(self, model: type) -> bool:
        return generates(model) and bool(getattr(model, "reads_source", True))

    def fits(self, group: str, choice: type) -> bool:
        return fits_text(self.name, group, choice)

    def check(self, classes: Mapping[str, type], values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Refuse data of one side, or cut into blocks; and one table for the words of two vocabularies."""
        tokenizer = values.get("tokenizer") or {}
        separate = tokenizer.get("joint") is False and not tokenizer.get("source_model")
        shares = "model" in values and values["model"].get("share_embeddings")
        if separate and shares and not values.get("continue"):  # a run begun before this was refused may go on
            raise RequestError(
                "model.share_embeddings=true needs one vocabulary for both sides, and tokenizer.joint=false makes two. "
                "Use tokenizer.joint=true, or model.share_embeddings=false."
            )
        if "data" not in classes or missing_members(classes["data"], Corpus):
            return
        data = values["data"]
        if not _has_source(classes["data"], data):
            if "source_language" in data:
                why, way = "has none while data.source_language is null", "Set data.source_language"
            else:
                whole = [name for name, cls in choices_of("data").items() if _has_source(cls, read_settings(f"data/{name}"))]
                why, way = "has none", f"Use data={join_or(whole)}"
        elif data.get("block") is not None:
            why, way = f"is cut into blocks by data.block={data['block']}, which have none", "Use data.block=null"
        else:
            return
        fitting = [name for name, cls in choices_of("model").items() if not getattr(cls, "reads_source", True)]
        other = f", or model={join_or(fitting)}" if fitting else ""
        raise RequestError(f"{owner('model', choices)} reads a source; {owner('data', choices)} {why}. {way}{other}.")

    def lengths(self, dataset: Any) -> dict[str, np.ndarray]:
        if dataset.source_lengths_n is None:
            return {"tokens": dataset.target_lengths_n}
        return {"source tokens": dataset.source_lengths_n, "target tokens": dataset.target_lengths_n}

    def noun(self, dataset: Any) -> str:
        return str(dataset.noun) if dataset.source_lengths_n is None else "pair"

    def validation(self, config: Any, trained: Trained) -> TranslatorValidation:
        limit, samples = config.trainer.decode_limit, config.trainer.samples
        return TranslatorValidation(trained, config.decoding, config.metrics, limit, samples)

    def figures(self, config: Any) -> list[str] | None:
        found = evaluated(config)
        return [*found, *config.metrics.names] if found is not None and _decodes(config) else found

    def try_figures(self, config: Any) -> None:
        if _decodes(config):
            try_metrics(config.metrics, config.corpus.target_language)

    def largest(self, config: Any) -> tuple[int, int] | None:
        source, target = largest(config, "source"), largest(config, "target")
        return None if source is None or target is None else (source, target)

    def scored(self, config: Any) -> Iterator[Scored]:
        """Of translations, given their sources."""
        if config.source is None:
            raise RequestError("seqgen score needs --source FILE: the model reads a source.")
        source, target = Path(config.source), Path(config.target)
        check_aligned(source, target)
        pairs = aligned(read_lines(source), read_lines(target), config.source, config.target)
        translator = open_translator(config.ckpt, build.start_runtime(config), config.trust)
        windows = enumerate(tuple(map(list, zip(*window, strict=True))) for window in chunks(pairs, WINDOW))
        return ((translator.score(sources, targets, number * WINDOW), targets) for number, (sources, targets) in windows)

    def open(self, config: Any, runtime: Runtime) -> Translator:
        return open_translator(config.ckpt, runtime, config.trust, config.decoding, config.batch_tokens, config.max_source_tokens)


def _decodes(config: Any) -> bool:
    """Whether validation translates."""
    return config.trainer.decode_limit != 0 and not missing_members(config.model.cls, Generator)


def _has_source(corpus: type, settings: Mapping[str, Any]) -> bool:
    """Whether a data choice holds pairs: not if its source_language, a setting or the class's, is None."""
    languages = settings.get("source_language", getattr(corpus, "source_language", ""))
    return languages is not None and not missing_members(corpus, Corpus)


TASK = Translating()
