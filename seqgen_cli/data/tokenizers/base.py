"""What a tokenizer promises, and the settings that make one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class TextTokenizer(Protocol):
    """Lines to ids and back. Pickles, and gives the same ids in every process."""

    vocab_size: int
    pad: int
    unk: int
    bos: int
    eos: int

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the ids."""
        ...

    def encode(self, lines: Sequence[str]) -> list[np.ndarray]:
        """Ids (int32) of each line, without `<s>` and `</s>`."""
        ...

    def encode_flat(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines in one array (int32), and the number of ids of each line (int64)."""
        ...

    def decode(self, rows: Iterable[Sequence[int] | np.ndarray]) -> list[str]:
        """The text of each id sequence; `<s>`, `</s>` and padding leave nothing."""
        ...

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What stands behind each id, for people."""
        ...

    def save(self, folder: Path, name: str) -> None:
        """Write it to a file of the folder, its name being `name` and an ending of its own."""
        ...


class TokenizerSettings(Protocol):
    """How to tokenise text: tokenizers to train, or given ones. A "side" is source or target."""

    kind: str
    joint: bool
    training_lines: int | None
    """Lines that train a tokenizer, drawn evenly from a larger corpus; None = all."""

    @property
    def sampling(self) -> tuple[float, int] | None:
        """alpha and nbest of subword sampling in training (see Tokenizer.encode_sampled), or None."""
        ...

    def training_key(self, sides: Sequence[str]) -> list[object]:
        """What decides the trained tokenizers, besides the corpus."""
        ...

    @property
    def mends(self) -> Mapping[str, str]:
        """The settings that keep target lines from being "changed" by it, and from holding "unknown" tokens, if any would."""
        ...

    def given(self, sides: Sequence[str]) -> tuple[TextTokenizer, ...] | None:
        """The user's tokenizers of these sides, or None when they are to be trained."""
        ...

    def train(self, side: str, lines: Iterable[str]) -> tuple[bytes, str | None]:
        """Train the tokenizer of a side, or of both ("joint"): its bytes, and a note about it, if any."""
        ...

    def open(self, model: bytes) -> TextTokenizer:
        """The tokenizer that `train` made."""
        ...
