"""What tokenizers share that are made of the bytes of one file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from seqgen_cli.errors import RequestError


class ModelFile:
    """A tokenizer that its bytes make again: saved, found by their hash, and pickled as such.

    Args:
        model: the bytes. name: what error messages call them.
    """

    kind: ClassVar[str]
    """What people call such a file."""
    ending: ClassVar[str]
    """Of the names of such files."""

    def __init__(self, model: bytes, name: str) -> None:
        self._model = model

    @property
    def model(self) -> bytes:
        """What makes the same tokenizer again."""
        return self._model

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model."""
        return hashlib.sha256(self._model).hexdigest()

    def encode_flat(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines in one array (int32), and the number of ids of each line (int64)."""
        raise NotImplementedError("abstract")

    def encode(self, lines: Sequence[str]) -> list[np.ndarray]:
        """Ids (int32) of each line, without `<s>` and `</s>`."""
        flat, lengths = self.encode_flat(lines)
        return np.split(flat, np.cumsum(lengths)[:-1]) if len(lines) else []

    def save(self, folder: Path, name: str) -> None:
        """Write FOLDER/NAME + ending."""
        (folder / f"{name}{self.ending}").write_bytes(self._model)

    @classmethod
    def load(cls, folder: Path, name: str) -> Self:
        """Read what `save` wrote; RequestError names the file when there is none or it is none."""
        return cls.from_file(folder / f"{name}{cls.ending}")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file; RequestError names it when there is none or it is none."""
        try:
            return cls(path.read_bytes(), str(path))
        except OSError as error:
            raise RequestError(f"The {cls.kind} {path} cannot be read: {error.strerror}.") from None

    def __getstate__(self) -> bytes:
        return self._model

    def __setstate__(self, model: bytes) -> None:
        self.__init__(model, self.kind)  # type: ignore[misc]
