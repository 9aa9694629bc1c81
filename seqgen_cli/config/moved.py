"""Classes that have moved since configs were first written, so that old runs and checkpoints still name them.

A run is known by the names that its classes had at first: moving one renames no run.
"""

from typing import Any

_CORPORA = ("imdb.Imdb", "imdb_text.ImdbText", "iwslt.IwsltJaEn", "mini_reviews.MiniReviews", "reviews.Reviews")

NOW: dict[str, str] = {
    **{f"seqgen_cli.data.{name}": f"seqgen_cli.data.corpora.{name}" for name in _CORPORA},
    "seqgen_cli.data.corpora.TextCorpus": "seqgen_cli.data.corpora.text.TextCorpus",
    "seqgen_cli.data.phrasebook.corpus.Phrasebook": "seqgen_cli.data.corpora.phrasebook.corpus.Phrasebook",
    "seqgen_cli.data.cleaning.StandardCleaning": "seqgen_cli.data.prepare.cleaning.StandardCleaning",
    "seqgen_cli.data.tokenizers.SentencePiece": "seqgen_cli.data.tokenizers.sentencepiece.SentencePiece",
    "seqgen_cli.data.word_vocabulary.Words": "seqgen_cli.data.tokenizers.words.Words",
    "seqgen_cli.data.wordpieces.WordPieces": "seqgen_cli.data.tokenizers.wordpieces.WordPieces",
    "seqgen_cli.runtime.Runtime": "seqgen_cli.runtime.process.Runtime",
}
"""Where each stands now, by the name it had at first."""

_FIRST = {now: first for first, now in NOW.items()}


def where(name: str) -> str:
    """Where the class of this dotted name stands now."""
    return NOW.get(name, name)


def named_at_first(values: Any) -> Any:
    """Plain data with every `_target_` by the name it had at first."""
    if isinstance(values, dict):
        return {key: _FIRST.get(item, item) if key == "_target_" else named_at_first(item) for key, item in values.items()}
    return [named_at_first(item) for item in values] if isinstance(values, list) else values
