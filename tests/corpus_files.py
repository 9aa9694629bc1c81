"""Small corpora on disk, and data prepared from them, for tests of the data room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqgen_cli.data.corpora.text import TextCorpus
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece

WORDS = "the a red blue small big cat dog bird fish house tree sees likes eats finds under over near with and".split()  # noqa: SIM905
KANA = "あいうえおかきくけこさしすせそたちつてと"

SMALL = SentencePiece(vocab_size=60)
AS_IS = StandardCleaning(
    normalize="none", drop_empty=False, max_length=None, max_ratio=None, drop_duplicates=False, drop_overlap="none"
)


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Different (source, target) pairs of very different lengths."""
    random = np.random.default_rng(seed)
    lengths = random.geometric(0.12, count)
    sources = ["".join(random.choice(list(KANA), length + 1)) for length in lengths]
    targets = [" ".join(random.choice(WORDS, length)) for length in lengths]
    return [
        (f"{source}{number}", f"{target} {number}") for number, (source, target) in enumerate(zip(sources, targets, strict=True))
    ]


def write(prefix: Path, pairs: Sequence[tuple[str, str]]) -> str:
    """PREFIX.ja and PREFIX.en; returns the prefix."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("ja", "en")):
        Path(f"{prefix}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8", newline="")
    return str(prefix)


def prepared(
    folder: Path,
    train: Sequence[Sequence[tuple[str, str]]],
    weights: list[float] | None = None,
    tokenizer: SentencePiece = SMALL,
    cleaning: StandardCleaning = AS_IS,
) -> Prepared:
    """Prepare these training corpora, and 30 pairs each to validate and test."""
    prefixes = [write(folder / f"train{number}", pairs) for number, pairs in enumerate(train)]
    valid, test = (write(folder / name, sentences(30, seed)) for name, seed in (("dev", 91), ("test", 92)))
    corpus = TextCorpus("ja", "en", train=list(prefixes), valid=valid, test=test, weights=weights)
    return prepare(corpus, tokenizer, cleaning, folder / "cache")
