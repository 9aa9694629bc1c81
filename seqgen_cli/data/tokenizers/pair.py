"""The tokenizers of a run on disk, whatever their kinds."""

from pathlib import Path
from typing import Any

from seqgen_cli.data.tokenizers.labels import Labels
from seqgen_cli.data.tokenizers.sentencepiece import Tokenizer
from seqgen_cli.data.tokenizers.wordpieces import EncoderTokenizer
from seqgen_cli.data.tokenizers.words import WordVocabulary


def save_pair(folder: Path, source: Any, target: Any) -> None:
    """Write the tokenizers of a run: one named joint when both sides share it, else source and target; no source: None."""
    if source is not None and source.fingerprint == target.fingerprint:
        source.save(folder, "joint")
    else:
        if source is not None:
            source.save(folder, "source")
        target.save(folder, "target")


def load_pair(folder: Path) -> tuple[Any, Any]:
    """What save_pair wrote; a joint tokenizer is one object, an absent source None. Classes stand in the target's place.

    Raises:
        RequestError, SeqgenError: there is none, or it is none.
    """
    joint = _find(folder, "joint")
    if joint is not None:
        return joint, joint
    return _find(folder, "source"), _find(folder, "target") or Tokenizer.load(folder, "target")


def _find(folder: Path, name: str) -> Any:
    """The tokenizer of this name, or the classes, if there are such."""
    if (folder / f"{name}.words.json").exists():
        return WordVocabulary.load(folder, name)
    if (path := folder / f"{name}.json").exists():
        return (Labels if path.read_bytes().lstrip().startswith(b"[") else EncoderTokenizer).load(folder, name)
    return Tokenizer.load(folder, name) if (folder / f"{name}.model").exists() else None
