"""From labelled texts to data sets: tokenise and store once; what was done before is found in the cache.

Folders, each named by a hash of what made it and shared by all runs that ask for the same: `labelled-*` the texts and
their classes, `vocabulary-*` a tokenizer where one had to be trained, `pieces-*` token ids.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from seqgen_cli.data.corpora.labelled import Example, LabelledCorpus
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.data.prepare import store
from seqgen_cli.data.prepare.cleaning import chunks
from seqgen_cli.data.prepare.store import RaggedWriter, Text, TextWriter, save_array
from seqgen_cli.data.tokenizers.labels import Labels
from seqgen_cli.data.tokenizers.wordpieces import EncoderTokenizer, WordPieces
from seqgen_cli.errors import RequestError, counted

FORMAT = 1  # of the folders in the cache: raise it when what is written into them changes
_CHUNK = 1024
_MANY_UNKNOWN = 0.01  # of the word pieces: worth a word


def prepare_labelled(
    corpus: LabelledCorpus,
    tokenizer: WordPieces,
    cache: Path,
    tokenizers: tuple[EncoderTokenizer, Labels] | None = None,
    report: Callable[[str], None] = lambda line: None,
    only: Sequence[str] | None = None,
) -> Prepared:
    """Prepare labelled texts, or find them prepared. Every rank of a run may call it at once.

    Args:
        corpus: where the texts come from.
        tokenizer: the encoder's.
        cache: folder of everything prepared; made when absent.
        tokenizers: a checkpoint's tokenizer and class names, to use in place of the corpus's own.
        report: told each line of the report as it comes up, and about waiting.
        only: prepare these splits and no other.

    Raises:
        RequestError: the corpus or a setting is at fault. SeqgenError: the disk is full.
    """
    names = tokenizers[1].names if tokenizers else corpus.class_names()
    splits = {name: examples for name, examples in corpus.labelled_splits().items() if only is None or name in only}
    made_by = (FORMAT, corpus.fingerprint(), sorted(splits))
    text = cache / f"labelled-{store.key(*made_by, list(names) if names else None)}"
    every, notes = names or getattr(corpus, "found_names", None), list(getattr(corpus, "notes", ()))
    text = store.once(text, lambda folder: _store_texts(folder, splits, every, notes), report)
    info = json.loads((text / "info.json").read_text())
    labels = Labels(info["names"])
    # From here on keys hold class names and tokenizer as they were found, not how they were asked for: a run gone on with, whose
    # checkpoint gives both, has the same data.
    text_key = store.key(*made_by, labels.names)
    pieces = tokenizers[0] if tokenizers else _tokenizer(tokenizer, text, text_key, list(splits), cache, report)
    pieces_key = store.key(FORMAT, text_key, pieces.fingerprint)
    pieces_folder = store.once(cache / f"pieces-{pieces_key}", lambda folder: _store_pieces(folder, text, splits, pieces), report)
    lines = [*info["report"], *json.loads((pieces_folder / "info.json").read_text())]
    for line in lines:
        report(line)
    datasets = {}
    for name in splits:
        labels_n = np.fromfile(text / f"{name}.labels", np.int32)
        datasets[name] = LabelledDataset(name, pieces_folder, Text(text, f"{name}.text"), labels_n, pieces.pad)
    counts_C = np.bincount(datasets["train"].labels_n, minlength=labels.vocab_size) if "train" in datasets else None
    return Prepared(
        splits=datasets,
        source_tokenizer=pieces,
        target_tokenizer=labels,
        source_language=None,
        target_language=None,
        target_counts_V=counts_C,
        fingerprint=pieces_folder.name,
        report=lines,
    )


def _store_texts(
    folder: Path, splits: Mapping[str, Iterable[Example]], names: Sequence[str] | None, notes: Sequence[str]
) -> None:
    """Write each split's texts and classes, the class names, and a report that ends in `notes`."""
    every = {split: list(examples) for split, examples in splits.items()}
    for split, examples in every.items():
        if not examples:
            raise RequestError(f"data: the {split} split has no text.")
    first = next(iter(every))
    found = list(names) if names else sorted({label for _, label in every.get("train", every[first])})
    number = {name: place for place, name in enumerate(found)}
    lines = []
    for split, examples in every.items():
        for _, label in examples:
            if label not in number:
                raise RequestError(f"data: a text of {split} has the class {label!r}, which is not one of {', '.join(found)}.")
        with TextWriter(folder, f"{split}.text") as writer:
            writer.append(text for text, _ in examples)
        save_array(folder / f"{split}.labels", np.array([number[label] for _, label in examples], np.int32))
        counts = Counter(label for _, label in examples)
        lines.append(
            f"{split}: {counted(len(examples), 'text')}, " + ", ".join(f"{counts[name]:,} {name}" for name in found) + "."
        )
    lines += _duplicates({split: [text for text, _ in examples] for split, examples in every.items()})
    (folder / "info.json").write_text(json.dumps({"names": found, "report": [*lines, *notes]}))


def _duplicates(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """How many texts of one split stand in another word for word; all are kept."""
    lines = []
    order = [split for split in ("train", "valid", "test") if split in texts]
    for place, split in enumerate(order):
        for other in order[place + 1 :]:
            known = set(texts[split])
            if count := sum(text in known for text in texts[other]):
                lines.append(f"{split} holds {counted(count, 'text')} of {other}, word for word; all are kept.")
    return lines


def _tokenizer(
    settings: WordPieces, text: Path, text_key: str, splits: Sequence[str], cache: Path, report: Callable[[str], None]
) -> EncoderTokenizer:
    """The encoder's own tokenizer, or one trained on the training texts."""
    if not settings.needs_training:
        return settings.pretrained()
    if "train" not in splits:
        raise RequestError("There is no training text to train a tokenizer on.")

    def build(folder: Path) -> None:
        settings.train(Text(text, "train.text")).save(folder, "tokenizer")

    folder = store.once(cache / f"vocabulary-{store.key(FORMAT, text_key, repr(settings))}", build, report)
    return EncoderTokenizer.load(folder, "tokenizer")


def _store_pieces(folder: Path, text: Path, splits: Iterable[str], tokenizer: EncoderTokenizer) -> None:
    """Write the ids of each split, and a report."""
    lines = [_store_split(folder, name, Text(text, f"{name}.text"), tokenizer) for name in splits]
    (folder / "info.json").write_text(json.dumps(lines))


def _store_split(folder: Path, split: str, texts: Text, tokenizer: EncoderTokenizer) -> str:
    """Write the ids of a split; its line of the report."""
    cut = total = longest = unknown = 0
    with closing(RaggedWriter(folder, f"{split}.ids")) as writer:
        for chunk in chunks(texts, _CHUNK):
            whole = tokenizer.encode_whole(chunk)
            cut += sum(tokenizer.is_cut(ids) for ids in whole)
            rows = [tokenizer.cut(ids) for ids in whole]
            unknown += sum(int((ids == tokenizer.unk).sum()) for ids in rows)
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            total, longest = total + int(lengths.sum()), max(longest, int(lengths.max()))
            writer.append(np.concatenate(rows), lengths)
    kept = {"head": "the beginning", "tail": "the end", "head_tail": "beginning and end"}[tokenizer.truncation]
    shortened = f"; {counted(cut, 'text')} ({cut / len(texts):.1%}) cut to {tokenizer.max_length}, {kept} kept" if cut else ""
    foreign = f"; {unknown / total:.1%} of them unknown to the encoder" if unknown > _MANY_UNKNOWN * total else ""
    return f"{split}: {total / len(texts):.1f} word pieces a text, the longest {longest}{shortened}{foreign}."
