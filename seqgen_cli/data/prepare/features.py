"""Encode once: the outputs of a frozen encoder, kept in memory or on disk, found again by what was encoded.

A store holds one row of bytes for each token. An entry is found by a hash of its token ids, so any split, subset or run
that reads the same text finds it; encoder weights, tokenizer and precision name the folder. Bytes are appended and flushed
before the index that names them, so an interrupted run leaves nothing that could be taken for whole, and the next one goes on
from there. A lock lets one process write at a time; those that wait find its entries.

How far a value read is from the one encoded, at most: fp16 and bf16 round to 2^-11 and 2^-8 of the value; int8 to 1/254 of
the largest value of its token.

Shapes: B texts, S word pieces, L word pieces of one text, E encoder size, N tokens, W bytes of one token.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from seqgen_cli.data.batch import pad
from seqgen_cli.data.prepare.store import explained
from seqgen_cli.errors import SeqgenError

FeatureType = Literal["fp32", "fp16", "bf16", "int8"]
Encode = Callable[[Tensor, Tensor], Tensor]
"""(B, S) ids and lengths -> (B, S, E) on the CPU."""

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("start", "<i8"), ("length", "<i8")])
_SECONDS_BETWEEN_FLUSHES = 10.0
_TOKENS_A_BATCH = 16_384  # of the encoder, padding included

Key = tuple[int, int]


class Rows(Protocol):
    """What features are computed for: token ids of each example."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> np.ndarray: ...


def row_bytes(size: int, dtype: FeatureType) -> int:
    """W: bytes that one token of E values takes."""
    return size + 4 if dtype == "int8" else size * _TYPES[dtype].itemsize


def to_bytes(features_NE: Tensor, dtype: FeatureType) -> Tensor:
    """(N, E) float -> (N, W) uint8."""
    if dtype != "int8":
        return features_NE.to(_TYPES[dtype]).contiguous().view(torch.uint8)
    scale_N1 = features_NE.float().abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    whole_NE = (features_NE.float() / scale_N1).round().to(torch.int8)
    return torch.cat([scale_N1.contiguous().view(torch.uint8), whole_NE.view(torch.uint8)], dim=-1)


def from_bytes(bytes_NW: Tensor, dtype: FeatureType) -> Tensor:
    """(..., W) uint8 -> (..., E) float32."""
    if dtype != "int8":
        return bytes_NW.contiguous().view(_TYPES[dtype]).float()
    scale = bytes_NW[..., :4].contiguous().view(torch.float32)
    return bytes_NW[..., 4:].view(torch.int8).float() * scale


def key_of(ids: np.ndarray) -> Key:
    """128 bits of the token ids."""
    digest = hashlib.blake2b(np.ascontiguousarray(ids, np.int32).tobytes(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


class FeatureStore:
    """Features by token ids. Pickles by reference to its files (or to its shared memory).

    Args:
        folder: where it stands on disk; None = in memory, for this process alone.
        size: E. dtype: how values are kept.

    Raises:
        SeqgenError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | None, size: int, dtype: FeatureType) -> None:
        self.folder, self.size, self.dtype = folder, size, dtype
        self.width = row_bytes(size, dtype)
        self._places: dict[Key, tuple[int, int]] = {}
        self._data: np.ndarray | Tensor = torch.empty((0, self.width), dtype=torch.uint8)
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise explained(error, folder) from error
            self.refresh()

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    @property
    def tokens(self) -> int:
        """Tokens in the store."""
        return sum(length for _, length in self._places.values())

    def refresh(self) -> None:
        """Read what is on disk now, this process's entries and others'."""
        if self.folder is None:
            return
        data, index = self.folder / "features.data", self.folder / "features.index"
        rows = data.stat().st_size // self.width if data.exists() else 0
        records = _whole_records(index, rows)
        self._places = {(high, low): (start, length) for high, low, start, length in records.tolist()}
        self._data = np.memmap(data, np.uint8, "r", shape=(rows, self.width)) if rows else np.zeros((0, self.width), np.uint8)

    def read(self, keys: Sequence[Key]) -> Tensor:
        """The features of some texts, (B, S, E) float32, zero beyond each text's length."""
        places = [self._places[key] for key in keys]
        data = self._data.numpy() if isinstance(self._data, Tensor) else self._data
        bytes_BSW = np.zeros((len(keys), max(length for _, length in places), self.width), np.uint8)
        for row_SW, (start, length) in zip(bytes_BSW, places, strict=True):
            row_SW[:length] = data[start : start + length]
        return from_bytes(torch.from_numpy(bytes_BSW), self.dtype)

    def encode(self, rows: Rows, encode: Encode, name: str, report: Callable[[str], None] = lambda line: None) -> None:
        """Encode those of `rows` that are not here yet, batches of like length, the longest first.

        Raises:
            SeqgenError: the disk is full.
        """
        keys = [key_of(rows[index]) for index in range(len(rows))]
        if all(key in self for key in keys):
            return
        if self.folder is None:
            missing = self._missing(rows, keys)
            self._grow(sum(len(rows[index]) for index in missing))
            self._encode(rows, keys, missing, encode, name, _InMemory(self))
            return
        try:
            with _Locked(self.folder, report), _OnDisk(self) as writer:
                self._encode(rows, keys, self._missing(rows, keys), encode, name, writer)
        except OSError as error:
            raise explained(error, self.folder) from error
        finally:
            self.refresh()

    def missing_bytes(self, rows: Rows) -> int:
        """What encoding `rows` would add to the store."""
        keys = [key_of(rows[index]) for index in range(len(rows))]
        return sum(len(rows[index]) for index in self._missing(rows, keys)) * self.width

    def _missing(self, rows: Rows, keys: Sequence[Key]) -> list[int]:
        """The first row of each text that is not here, longest first."""
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in self._places}
        return sorted(first.values(), key=lambda index: (-len(rows[index]), index))

    def _encode(
        self, rows: Rows, keys: Sequence[Key], missing: list[int], encode: Encode, name: str, writer: _InMemory | _OnDisk
    ) -> None:
        total = sum(len(rows[index]) for index in missing)
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"encoding {name}", disable=None, leave=False) as bar:
            for batch in _batches(rows, missing):
                source_BS, lengths_B = pad([rows[index] for index in batch], 0)
                features_BSE = encode(source_BS, lengths_B)
                for index, features_SE in zip(batch, features_BSE, strict=True):
                    writer.append(keys[index], to_bytes(features_SE[: len(rows[index])], self.dtype))
                bar.update(int(lengths_B.sum()))

    def _grow(self, tokens: int) -> None:
        more = torch.empty((tokens, self.width), dtype=torch.uint8)
        self._data = torch.cat([torch.as_tensor(self._data), more]) if len(self._data) else more

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_data": None} if self.folder is not None else self.__dict__

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.refresh()


class _InMemory:
    """Appends to a store's own memory, which has been grown to hold everything."""

    def __init__(self, store: FeatureStore) -> None:
        self._store, self._end = store, store.tokens

    def append(self, key: Key, bytes_LW: Tensor) -> None:
        length = len(bytes_LW)
        torch.as_tensor(self._store._data)[self._end : self._end + length] = bytes_LW
        self._store._places[key] = (self._end, length)
        self._end += length


class _OnDisk:
    """Appends to a store's files: data first, and at times the index of what is safely there."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._pending: list[tuple[int, int, int, int]] = []

    def __enter__(self) -> _OnDisk:
        store = self._store
        assert store.folder is not None
        store.refresh()  # another process may have written until the lock was free
        # Unbuffered: what a full disk does not take is not tried again when the file is closed.
        self._data, self._index = ((store.folder / f"features.{part}").open("ab", buffering=0) for part in ("data", "index"))
        # What an interrupted run left behind the last whole entry is cut off.
        records = _whole_records(store.folder / "features.index", len(store._data))
        self._index.truncate(len(records) * _RECORD.itemsize)
        self._end = int((records["start"] + records["length"]).max(initial=0))
        self._data.truncate(self._end * store.width)
        self._flushed = time.monotonic()
        return self

    def append(self, key: Key, bytes_LW: Tensor) -> None:
        _write(self._data, bytes_LW.contiguous().numpy().data)
        self._pending.append((*key, self._end, len(bytes_LW)))
        self._end += len(bytes_LW)
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self._flush()

    def _flush(self) -> None:
        os.fsync(self._data.fileno())
        _write(self._index, np.array(self._pending, _RECORD).tobytes())
        os.fsync(self._index.fileno())
        self._pending, self._flushed = [], time.monotonic()

    def __exit__(self, *error: object) -> None:
        try:
            # Half an entry that a full disk took makes room for the index of the whole ones.
            self._data.truncate(self._end * self._store.width)
            self._flush()
        finally:
            self._data.close()
            self._index.close()


def _write(file: IO[bytes], contents: bytes | memoryview) -> None:
    """Write everything; an unbuffered file may take it in parts."""
    left = memoryview(contents).cast("B")
    while left:
        left = left[file.write(left) :]


def _whole_records(index: Path, rows: int) -> np.ndarray:
    """The index up to its first entry that is cut off, or ahead of the data (as after a power failure)."""
    if not index.exists():
        return np.zeros(0, _RECORD)
    records = np.fromfile(index, _RECORD, index.stat().st_size // _RECORD.itemsize)
    torn = np.flatnonzero(records["start"] + records["length"] > rows)
    return records[: torn[0]] if len(torn) else records


class _Locked:
    """The store's lock; says so when it has to wait."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self._lock, self._report = FileLock(folder / ".lock"), report

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0.5)
        except Timeout:
            self._report("Waiting for another run that is encoding the same texts.")
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def check_room(folder: Path | None, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        SeqgenError: less than `needed` bytes are free.
    """
    if folder is not None and shutil.disk_usage(folder).free < needed:
        raise SeqgenError(
            f"Features need {needed / 1e9:.1f} GB in {folder}, which has {shutil.disk_usage(folder).free / 1e9:.1f} GB free. "
            "Use data.features=none, data.features_dtype=int8, or another runtime.cache_folder."
        )


def _batches(rows: Rows, order: Sequence[int]) -> Iterable[list[int]]:
    """Rows in this order (longest first), in batches of about equal cost."""
    start = 0
    while start < len(order):
        stop = start + max(1, _TOKENS_A_BATCH // len(rows[order[start]]))
        yield list(order[start:stop])
        start = stop
