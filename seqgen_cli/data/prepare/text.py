"""From a corpus to data sets: clean, tokenise, store; whatever was done before is found in the cache.

Three folders in the cache, each named by a hash of what made it and shared by every run that asks for the same:
`text-*` the lines (training lines cleaned), `tokenizer-*` trained tokenizers, `tokens-*` ids. Several processes
may prepare at once: one works, the others wait and use its result. Text and ids stay on disk; memory grows by some 30 bytes
an example (its line in the text, its lengths), and while cleaning by 8 bytes a line of the evaluation sets.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from seqgen_cli.data.blocks import BlockDataset
from seqgen_cli.data.corpora.base import SIDES, Corpus, RunningText, running_text, sides_of
from seqgen_cli.data.dataset import Dataset, Prepared, Sampling, Side, open_side, spread
from seqgen_cli.data.prepare import store, token_store
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.round_trip import round_trips
from seqgen_cli.data.prepare.store import Text
from seqgen_cli.data.prepare.text_store import parts, store_text
from seqgen_cli.data.prepare.token_store import store_tokens
from seqgen_cli.data.tokenizers.base import TextTokenizer, TokenizerSettings
from seqgen_cli.data.tokenizers.pair import load_pair
from seqgen_cli.errors import RequestError
from seqgen_cli.runtime import process

_log = logging.getLogger(__name__)

_MANY_UNKNOWN = 0.01  # of a split's target tokens: a warning
FORMAT = 2  # of the folders in the cache: raise it when what is written into them changes


def prepare(
    corpus: Corpus,
    tokenizer: TokenizerSettings,
    cleaning: StandardCleaning,
    cache: Path,
    tokenizers: tuple[TextTokenizer | None, TextTokenizer] | None = None,
    seed: int = 1,
    report: Callable[[str], None] = lambda line: None,
    only: Sequence[str] | None = None,
) -> Prepared:
    """Prepare a corpus, or find it prepared. Every rank of a run may call it at once.

    Args:
        corpus: where the text comes from; of two sides, or of the target alone (see TargetSide).
        tokenizer: how to train tokenizers, or which to load; also subword sampling.
        cleaning: which training rows to keep; no line of a RunningText is too long.
        cache: folder of everything prepared; made when absent.
        tokenizers: source and target tokenizers to use in place of `tokenizer`'s (those of a checkpoint).
        seed: names the draws of subword sampling. Nothing stored depends on it.
        report: told each line of the report as it comes up, and about waiting.
        only: splits to return. Without "train" among them, it is not even read; with it, all are prepared, since what
            is cleaned from train depends on the others.

    Raises:
        RequestError: the corpus or a setting is at fault. SeqgenError: the disk is full.
    """
    splits = dict(corpus.splits())
    if missing := [name for name in only or () if name not in splits]:
        raise RequestError(f"The data has no {missing[0]} split; it has {', '.join(splits)}.")
    splits = {name: pairs for name, pairs in splits.items() if only is None or "train" in only or name in only}
    sides, running = sides_of(corpus), running_text(corpus)
    if running is not None:
        _check_blocks(running, tokenizer, sides)
        cleaning = replace(cleaning, max_length=None)
    known = _known(tokenizer, tokenizers, sides)
    text_key = store.key(FORMAT, corpus.fingerprint(), sorted(splits), repr(cleaning))
    text = store.once(cache / f"text-{text_key}", lambda folder: store_text(folder, splits, cleaning, sides), report)
    notes: list[str] = []
    trained = known is None
    if known is None:
        known, notes = _trained(tokenizer, sides, text, cache, report)
    by_side = dict(zip(sides, known, strict=True))
    tokens_key = store.key(FORMAT, text_key, [each.fingerprint for each in known])
    tokens = store.once(cache / f"tokens-{tokens_key}", lambda folder: store_tokens(folder, text, cleaning, by_side), report)

    infos = token_store.read_info(tokens)
    lines = notes + [line for name in splits for line in infos[name].report]
    targets = {name: (Text(text, f"{name}.target"), np.fromfile(tokens / f"{name}.rows", np.int64)) for name in splits}
    written = round_trips(cache, targets, by_side["target"], corpus.target_language, [tokens_key], report)
    mends = tokenizer.mends if trained else dict.fromkeys(("changed", "unknown"), "a tokenizer trained on these lines")
    lines += [told for name, trip in written.items() if (told := trip.told(name, mends))]
    for line in lines:
        report(line)
    _warn_of_unknown({name: infos[name].unknown for name in splits}, mends.get("unknown"))
    sampling = None if tokenizer.sampling is None else Sampling(*tokenizer.sampling, seed)
    weights = {name: parts(rows)[1] for name, rows in splits.items()}
    datasets: dict[str, Dataset | BlockDataset] = {}
    for name in [name for name in splits if only is None or name in only]:
        opened = {side: open_side(text, tokens, name, side, each) for side, each in by_side.items()}
        drawn = sampling if name == "train" else None
        datasets[name] = _dataset(name, opened, infos[name].parts, weights[name], running, drawn)
    return Prepared(
        splits=datasets,
        source_tokenizer=by_side.get("source"),
        target_tokenizer=by_side["target"],
        source_language=corpus.source_language,
        target_language=corpus.target_language,
        target_counts_V=np.fromfile(tokens / "target_counts", np.int64) if "train" in splits else None,
        fingerprint=store.key(tokens_key, weights.get("train"), repr(sampling), *([repr(running)] if running else [])),
        report=lines,
        unknown_rates={name: infos[name].unknown for name in datasets},
        round_trips={name: written[name] for name in datasets},
    )


def _dataset(
    name: str,
    opened: Mapping[str, Side],
    sizes: Sequence[int],
    weights: Sequence[float],
    running: RunningText | None,
    sampling: Sampling | None,
) -> Dataset | BlockDataset:
    """A split of so many rows from each of its corpora, read block by block where it is running text."""
    if running is not None and running.block is not None:
        return BlockDataset(name, opened["target"], sizes, weights, running.block, running.context)
    return Dataset(name, opened.get("source"), opened["target"], sizes, weights, sampling)


def _warn_of_unknown(rates: Mapping[str, float], way: str | None) -> None:
    """Say which splits have many target tokens that the tokenizer does not know, and what to do, if anything helps."""
    for name, rate in rates.items():
        if rate > _MANY_UNKNOWN and process.is_main():
            told = f"{name}: {rate:.1%} of the target's tokens are unknown to the tokenizer, so that no model can write them."
            _log.warning(f"{told} Against that: {way}." if way else told)


def _check_blocks(running: RunningText, tokenizer: TokenizerSettings, sides: Sequence[str]) -> None:
    """Refuse blocks of pairs, and blocks whose tokens change."""
    if running.block is not None and len(sides) > 1:
        raise RequestError(f"data.block={running.block} cuts a text of one side, and this one has a source. Use data.block=null.")
    if running.block is not None and tokenizer.sampling is not None:
        raise RequestError(
            f"data.block={running.block} needs tokens that stay where they are. "
            "Use tokenizer.sampling_alpha=null, or data.block=null."
        )


def _known(
    settings: TokenizerSettings, tokenizers: tuple[TextTokenizer | None, TextTokenizer] | None, sides: Sequence[str]
) -> tuple[TextTokenizer, ...] | None:
    """The tokenizers of these sides that need no training, or None."""
    if tokenizers is None:
        return settings.given(sides)
    known = tuple(each for side, each in zip(SIDES, tokenizers, strict=True) if side in sides and each is not None)
    if len(known) < len(sides):
        raise RequestError("The checkpoint is a language model's: it has no tokenizer for the source that the data has.")
    return known


def _trained(
    settings: TokenizerSettings, sides: Sequence[str], text: Path, cache: Path, report: Callable[[str], None]
) -> tuple[tuple[TextTokenizer, ...], list[str]]:
    """Tokenizers trained on the training lines of a text store, and notes about them."""
    if not (text / "train.rows").exists():
        raise RequestError("There is no training text to train tokenizers on: set data.train, or give the tokenizers' models.")

    def build(folder: Path) -> None:
        notes = []
        for side, lines in _training_lines(settings, sides, text).items():
            report(f"Training a {settings.kind} tokenizer ({side}).")
            model, note = settings.train(side, lines)
            settings.open(model).save(folder, side)
            notes += [note] if note else []
        (folder / "notes.json").write_text(json.dumps(notes))

    made_by = [FORMAT, text.name, settings.training_key(sides)]
    folder = store.once(cache / f"tokenizer-{store.key(*made_by)}", build, report)
    return load_pair(folder)[-len(sides) :], json.loads((folder / "notes.json").read_text())


def _training_lines(settings: TokenizerSettings, sides: Sequence[str], text: Path) -> dict[str, Iterator[str]]:
    """The lines that each tokenizer is trained on."""
    rows = np.fromfile(text / "train.rows", np.int64)

    def lines(side: str, wanted: int) -> Iterator[str]:
        every = Text(text, f"train.{side}")
        return (every[rows[number]] for number in spread(len(rows), wanted))

    wanted = settings.training_lines or 2 * len(rows)
    if settings.joint and len(sides) > 1:
        return {"joint": chain.from_iterable(lines(side, (wanted + 1) // 2) for side in sides)}
    return {side: lines(side, wanted) for side in sides}
