"""seqgen eval on a translation model's checkpoint, its likelihood and the quality of its translations; or on a file of such."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.config.moved import named_at_first
from seqgen_cli.data.corpora.base import Corpus
from seqgen_cli.data.corpora.lines import read_lines
from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from seqgen_cli.data.prepare import store
from seqgen_cli.data.prepare.round_trip import round_trip
from seqgen_cli.errors import RequestError, counted, join_and
from seqgen_cli.metrics.base import Figure
from seqgen_cli.metrics.languages import of_file
from seqgen_cli.metrics.nearest_copy import nearest_copy_bleu
from seqgen_cli.metrics.perplexity import Likelihood
from seqgen_cli.metrics.translation import TranslationMetrics
from seqgen_cli.report.tables import count, number
from seqgen_cli.runtime.process import Runtime
from seqgen_cli.tasks.evaluation import evaluation_config, flat, run_of, show_figures
from seqgen_cli.tasks.translate.translator import Translator, open_translator

_log = logging.getLogger(__name__)


def score_files(config: Config) -> dict[str, Any]:
    """Score hypotheses in a file against references in others."""
    if config.hyp is None or config.ref is None:
        raise RequestError("To score files without a model, give both --hyp FILE and --ref FILE.")
    paths = [config.ref] if isinstance(config.ref, str) else list(config.ref)
    hypotheses = list(read_lines(Path(config.hyp)))
    references = [list(read_lines(Path(path))) for path in paths]
    for path, lines in zip(paths, references, strict=True):
        if len(lines) != len(hypotheses):
            raise RequestError(
                f"{config.hyp} has {counted(len(hypotheses), 'line')} but {path} has {len(lines):,}: "
                "each translation needs its reference on the same line."
            )
    language = config.target_language or of_file(paths[0])
    metrics = config.metrics
    scores = metrics.compute(hypotheses, references, language)
    title = f"{config.hyp} against {', '.join(paths)}: {counted(len(hypotheses), 'sentence')}"
    show_figures(title, scores, metrics, ".2f", notes=_notes(metrics, scores, language, references[0]))
    return {"sentences": len(hypotheses), **flat(scores)}


def try_metrics(metrics: TranslationMetrics, target_language: str | None) -> None:
    """Measure what is no text of the data's: what the metrics refuse, they refuse now, and not after hours of work."""
    metrics.compute(["a"], [["a"]], target_language, bootstrap=0)


def evaluate(config: Config) -> dict[str, Any]:
    """Likelihood and translations of a split by a checkpoint; several processes share the sentences."""
    metrics: TranslationMetrics = config.metrics
    assert config.ckpt is not None
    runtime = build.start_runtime(config)
    _log.info("Reading the model and the %s sentences.", config.split)
    translator = open_translator(config.ckpt, runtime, config.trust, config.decoding)
    whole = evaluation_config(translator.config, config)
    corpus: Corpus = whole.corpus
    sources, references = _lines(corpus, config.split, config.limit)
    try_metrics(metrics, corpus.target_language)
    measured = _measure(translator, runtime, sources, references)
    if not runtime.is_main:
        return {}
    _log.info("Scoring the translations.")
    scores = metrics.compute(measured.texts, [references], corpus.target_language)
    baseline = _baseline(corpus, config, runtime.cache_folder)
    place = _write(config, whole, translator.folder, measured.texts)
    written = round_trip(references, translator.target_tokenizer, corpus.target_language).told(config.split)
    notes = [*_notes(metrics, scores, corpus.target_language, references), *([written] if written else [])]
    if measured.unread:
        lines = counted(measured.unread, "line")
        notes.append(f"perplexity and NLL leave out {lines} of more than the {translator.longest} tokens that the model reads.")
    notes += [f"Translations: {place}"] if place else []
    title = f"{translator.folder}: {config.split}, {counted(len(sources), 'sentence')}"
    show_figures(title, scores, metrics, ".2f", [*_copy_rows(baseline), *_measured_rows(measured)], notes)
    kept = {"translations": str(place)} if place else {}
    return {"sentences": len(sources), **flat(scores), **baseline, **measured.figures(), **kept}


@dataclass(frozen=True)
class _Measured:
    """What a checkpoint did with a split: its likelihood, but for `unread` lines that are longer than the model reads, and its
    translations with the time they took.
    """

    likelihood: Likelihood
    unread: int
    texts: list[str]
    output_tokens: int
    seconds: float

    def figures(self) -> dict[str, Any]:
        speed = {"sentences_per_second": len(self.texts) / self.seconds, "tokens_per_second": self.output_tokens / self.seconds}
        return {**self.likelihood.figures(), **speed}


def _measure(translator: Translator, runtime: Runtime, sources: Sequence[str], references: Sequence[str]) -> _Measured:
    """Score the references and translate the sources, every sentence once over all processes."""
    mine = slice(runtime.rank, None, runtime.world_size)
    sides = (translator.source_tokenizer.encode(sources[mine]), translator.target_tokenizer.encode(references[mine]))
    reads = translator.reads(*sides)
    read_sources, read_references = (list(compress(lines[mine], reads)) for lines in (sources, references))
    scored = translator.score(read_sources, read_references)
    runtime.barrier()
    start = time.perf_counter()
    translations = translator.translate(sources[mine], progress=True)
    runtime.barrier()
    seconds = time.perf_counter() - start
    own = Likelihood.of([line.log_prob for line in scored], [line.tokens for line in scored], read_references)
    counts = (sum(translation.tokens for translation in translations), reads.count(False))
    parts = runtime.gather((own, [translation.text for translation in translations], *counts))
    texts = [""] * len(sources)
    for rank, (_, part, *_) in enumerate(parts):
        texts[rank :: runtime.world_size] = part
    likelihood, unread = Likelihood.total(part for part, *_ in parts), sum(part[3] for part in parts)
    return _Measured(likelihood, unread, texts, sum(part[2] for part in parts), seconds)


def _lines(corpus: Corpus, split: str, limit: int | None) -> tuple[list[str], list[str]]:
    """The split's sources and references as they stand in the corpus: nothing is cleaned away."""
    splits = corpus.splits()
    if split not in splits:
        raise RequestError(f"The data has no split {split}; it has {join_and(sorted(splits))}.")
    pairs = list(islice(splits[split], limit))
    return [source for source, _ in pairs], [target for _, target in pairs]


def _write(config: Config, whole: Config, checkpoint: Path, texts: Sequence[str]) -> Path | None:
    """Keep the translations in the (first) run's folder, named for what made them; None where it cannot be written."""
    others = None if isinstance(config.ckpt, str) else config.ckpt
    settings = [config.values["decoding"], whole.values["data"], config.values["runtime"]["precision"], config.limit]
    made_by = [checkpoint.name, others, *settings]
    name = hashlib.sha256(json.dumps(named_at_first(made_by), sort_keys=True).encode()).hexdigest()[:8]
    path = run_of(checkpoint) / "eval" / f"{config.split}-{name}.txt"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    except OSError as error:
        _log.warning(f"{path} cannot be written ({error.strerror}), so the translations are not kept.")
        return None
    return path


def _baseline(corpus: Corpus, config: Config, cache: Path) -> dict[str, float]:
    """BLEU of copying the translation of the nearest training sentence: what remembering alone earns on the phrasebook.

    The search takes seconds, so its result is kept in the cache.
    """
    split, limit, tokenizer = config.split, config.limit, config.metrics.bleu_tokenizer(corpus.target_language)
    if not isinstance(corpus, Phrasebook) or split == "train":
        return {}

    def search(folder: Path) -> None:
        splits = corpus.splits()
        score = nearest_copy_bleu(splits["train"], islice(splits[split], limit), tokenizer)
        (folder / "bleu.json").write_text(json.dumps(score.score), encoding="utf-8")

    folder = store.once(cache / f"copy-{store.key(corpus.fingerprint(), split, limit, tokenizer)}", search, _log.info)
    return {"copy_bleu": json.loads((folder / "bleu.json").read_text(encoding="utf-8"))}


def _copy_rows(baseline: Mapping[str, float]) -> list[list[str]]:
    return [["BLEU of copying the nearest training sentence", f"{value:.2f}", ""] for value in baseline.values()]


def _measured_rows(measured: _Measured) -> list[list[str]]:
    figures = measured.figures()
    return [
        ["perplexity", f"{figures['perplexity']:.4g}", ""],
        ["NLL per character, nats", number(figures["nll_per_character"], ".4f"), ""],
        ["decoding, tokens/s", count(figures["tokens_per_second"]), ""],
        ["decoding, sentences/s", count(figures["sentences_per_second"]), ""],
    ]


def _notes(
    metrics: TranslationMetrics, scores: Mapping[str, Figure], language: str | None, references: Sequence[str]
) -> list[str]:
    """Each metric's signature, and how BLEU cut the text."""
    notes = [f"{figure.name}: {figure.signature}" for figure in scores.values()]
    if "bleu" in scores:
        notes.append(f"BLEU's words: {metrics.bleu_tokenizer(language)} (target language {language or 'unknown'})")
    return notes + ([told] if (told := metrics.misfit(language, references)) else [])
