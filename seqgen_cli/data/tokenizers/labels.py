"""The names of classes, in the place of a target tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from seqgen_cli.errors import SeqgenError


class Labels:
    """The classes of a corpus, in order; stands where a generator's target tokenizer does.

    Args:
        names: two or more, all different.

    Raises:
        SeqgenError: fewer, or twice the same.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) < 2 or len(set(names)) < len(names):
            raise SeqgenError(f"A classifier needs two or more different classes, not {list(names)}.")
        self.names = list(names)
        self.vocab_size = len(self.names)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()

    def save(self, folder: Path, name: str) -> None:
        """Write FOLDER/NAME.json."""
        (folder / f"{name}.json").write_text(json.dumps(self.names, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, name: str) -> Labels:
        """Read FOLDER/NAME.json."""
        path = folder / f"{name}.json"
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SeqgenError(f"The class names {path} cannot be read ({error}).") from error
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise SeqgenError(f"{path} is not a list of class names.")
        return cls(names)
