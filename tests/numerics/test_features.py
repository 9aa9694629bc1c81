"""The feature store: rounding within what it states, and entries that survive interruption and other processes."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from seqgen_cli.data.prepare import features
from seqgen_cli.data.prepare.features import FeatureStore, from_bytes, key_of, to_bytes
from seqgen_cli.errors import SeqgenError

SIZE = 6
TEXTS = [np.arange(start, start + length) % 40 for start, length in ((0, 5), (3, 1), (7, 9), (0, 5), (2, 4))]


def encode(source_BS: Tensor, lengths_B: Tensor) -> Tensor:
    """Features that tell id and place, and a wrong length: sin of both, scaled by the length."""
    place_S = torch.arange(source_BS.shape[1])
    angle_BSE = source_BS[:, :, None] + place_S[:, None] / 7 + torch.arange(SIZE) / 3
    return angle_BSE.sin() * lengths_B[:, None, None]


def expected(ids: np.ndarray) -> Tensor:
    return encode(torch.tensor(ids)[None], torch.tensor([len(ids)]))[0]


@pytest.mark.parametrize(("dtype", "error"), [("fp32", 0.0), ("fp16", 2**-11), ("bf16", 2**-8)])
def test_rounding_is_relative_to_the_value(dtype: features.FeatureType, error: float) -> None:
    value_NE = torch.randn(200, SIZE, dtype=torch.float32).exp() * torch.tensor([-1, 1]).repeat(3)
    back_NE = from_bytes(to_bytes(value_NE, dtype), dtype)
    assert ((back_NE - value_NE).abs() <= error * value_NE.abs()).all()


def test_int8_rounding_is_relative_to_the_tokens_largest_value() -> None:
    value_NE = torch.randn(200, SIZE) * torch.logspace(-3, 3, 200)[:, None]
    back_NE = from_bytes(to_bytes(value_NE, "int8"), "int8")
    assert ((back_NE - value_NE).abs() <= value_NE.abs().amax(-1, keepdim=True) / 253.9).all()
    assert torch.equal(from_bytes(to_bytes(torch.zeros(2, SIZE), "int8"), "int8"), torch.zeros(2, SIZE))


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_what_is_read_is_what_was_encoded(where: str, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "f" if where == "disk" else None, SIZE, "fp32")
    store.encode(TEXTS, encode, "train")
    for each in (store, pickle.loads(pickle.dumps(store))):
        read_BSE = each.read([key_of(ids) for ids in TEXTS])
        for row_SE, ids in zip(read_BSE, TEXTS, strict=True):
            torch.testing.assert_close(row_SE[: len(ids)], expected(ids), rtol=0, atol=1e-6)
            assert (row_SE[len(ids) :] == 0).all()
    assert store.tokens == 5 + 1 + 9 + 4  # the text that occurs twice is kept once
    assert store.missing_bytes([*TEXTS, np.arange(3)]) == 3 * SIZE * 4


class StoppedError(Exception):
    pass


def counting(calls: list[int], stop_after: int | None = None) -> features.Encode:
    def encode_some(source_BS: Tensor, lengths_B: Tensor) -> Tensor:
        if stop_after is not None and len(calls) == stop_after:
            raise StoppedError
        calls.append(len(source_BS))
        return encode(source_BS, lengths_B)

    return encode_some


def test_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_TOKENS_A_BATCH", 1)  # a batch for each text
    calls: list[int] = []
    with pytest.raises(StoppedError):
        FeatureStore(tmp_path, SIZE, "fp16").encode(TEXTS, counting(calls, stop_after=2), "train")
    again: list[int] = []
    store = FeatureStore(tmp_path, SIZE, "fp16")
    store.encode(TEXTS, counting(again), "train")
    assert len(calls) == 2 and len(again) == 2  # of four different texts
    store.encode(TEXTS, counting(again), "valid")
    assert len(again) == 2
    torch.testing.assert_close(store.read([key_of(TEXTS[2])])[0], expected(TEXTS[2]), rtol=2**-11, atol=1e-6)


def in_a_process(work: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    """Forked, so that nothing is imported again."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def assert_holds(folder: Path, there: int) -> None:
    """The longest `there` of TEXTS are in the store; encoding the rest makes it whole."""
    order = [TEXTS[place] for place in (2, 0, 4, 1)]
    store, calls = FeatureStore(folder, SIZE, "fp32"), list[int]()
    assert [key_of(ids) in store for ids in order] == [place < there for place in range(4)]
    store.encode(TEXTS, counting(calls), "train")
    assert len(calls) == 4 - there
    for ids in TEXTS:
        torch.testing.assert_close(store.read([key_of(ids)])[0], expected(ids), rtol=0, atol=1e-6)


def test_killed_between_batches_it_goes_on_from_the_last_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_TOKENS_A_BATCH", 1)
    monkeypatch.setattr(features, "_SECONDS_BETWEEN_FLUSHES", 0.0)
    context = multiprocessing.get_context("fork")
    reached, never = context.Event(), context.Event()

    def encode_two(source_BS: Tensor, lengths_B: Tensor) -> Tensor:
        if source_BS.shape[1] == 4:  # the third longest
            reached.set()
            never.wait()
        return encode(source_BS, lengths_B)

    process = in_a_process(lambda: FeatureStore(tmp_path, SIZE, "fp32").encode(TEXTS, encode_two, "train"))
    assert reached.wait(60)
    process.kill()
    process.join()
    assert_holds(tmp_path, 2)


@pytest.mark.parametrize("room", [15 * SIZE * 4, 14 * SIZE * 4 + 1, 14 * SIZE * 4])
def test_a_full_disk_loses_nothing_that_was_encoded(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on a file's size stands in for a full disk. Of 9 + 5 + 4 + 1 tokens it takes the first two texts whole."""
    monkeypatch.setattr(features, "_TOKENS_A_BATCH", 1)
    reading, writing = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            FeatureStore(tmp_path, SIZE, "fp32").encode(TEXTS, encode, "train")
        except SeqgenError as error:
            writing.send(str(error))

    process = in_a_process(work)
    assert reading.poll(60)
    assert reading.recv() == f"No space is left for prepared data in {tmp_path}. Free some, or set runtime.cache_folder."
    process.join()
    assert (tmp_path / "features.data").stat().st_size == 14 * SIZE * 4
    assert_holds(tmp_path, 2)


def test_what_cannot_fit_is_refused_before_it_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**9))
    features.check_room(tmp_path, 10**9)
    with pytest.raises(SeqgenError, match=r"Features need 2\.0 GB in .*, which has 1\.0 GB free\. Use data\.features=none"):
        features.check_room(tmp_path, 2 * 10**9)


def test_torn_files_are_cut_back_to_what_is_whole(tmp_path: Path) -> None:
    """As after a power failure: half an index entry, entries ahead of the data, data behind the index."""
    FeatureStore(tmp_path, SIZE, "fp32").encode(TEXTS[:2], encode, "train")
    data, index = tmp_path / "features.data", tmp_path / "features.index"
    whole = data.read_bytes()
    FeatureStore(tmp_path, SIZE, "fp32").encode(TEXTS, encode, "train")
    data.write_bytes(whole + b"\x07" * 13)
    index.write_bytes(index.read_bytes() + b"half")
    store = FeatureStore(tmp_path, SIZE, "fp32")
    assert key_of(TEXTS[0]) in store and key_of(TEXTS[2]) not in store
    store.encode(TEXTS, encode, "train")
    for ids in TEXTS:
        torch.testing.assert_close(store.read([key_of(ids)])[0], expected(ids), rtol=0, atol=1e-6)


def _run(folder: str, first: int) -> None:
    texts = [np.arange(start, start + 4) for start in range(first, first + 30)]
    FeatureStore(Path(folder), SIZE, "fp32").encode(texts, encode, "train")


def test_two_runs_at_once_leave_a_whole_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_run, args=(str(tmp_path), first)) for first in (0, 15)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    store = FeatureStore(tmp_path, SIZE, "fp32")
    assert store.tokens == 45 * 4  # texts that both wanted are there once
    for start in range(45):
        ids = np.arange(start, start + 4)
        torch.testing.assert_close(store.read([key_of(ids)])[0], expected(ids), rtol=0, atol=1e-6)
