"""The cache under crashes, damage, company and full disks."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqgen_cli.data.corpora.text import TextCorpus
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.prepare import store
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece
from seqgen_cli.errors import RequestError, SeqgenError
from tests.corpus_files import AS_IS, SMALL, prepared, sentences, write


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def corpus_at(folder: Path) -> TextCorpus:
    return TextCorpus("ja", "en", train=write(folder / "train", sentences(200)), valid=write(folder / "dev", sentences(20, 5)))


def assert_same(one: Prepared, other: Prepared) -> None:
    assert one.fingerprint == other.fingerprint and one.report == other.report
    for name, dataset in one.splits.items():
        rows = np.arange(len(dataset))
        assert dataset.source_lines() == other.splits[name].source_lines()
        assert dataset.batch(rows).source_BS.tolist() == other.splits[name].batch(rows).source_BS.tolist()
        assert dataset.batch(rows).targets_BT.tolist() == other.splits[name].batch(rows).targets_BT.tolist()


def test_stored_ids_are_those_of_encoding(tmp_path: Path) -> None:
    pairs = sentences(300)
    data = prepared(tmp_path, [pairs])
    side = data.splits["train"]._source
    for row, ids in enumerate(data.source_tokenizer.encode([source for source, _ in pairs])):
        assert side.tokens[row].tolist() == ids.tolist()
    assert side.tokens.data.dtype == np.uint16


def test_large_vocabularies_are_stored_in_more_bytes(tmp_path: Path) -> None:
    with_writer = store.RaggedWriter(tmp_path, "x")
    with_writer.append(np.array([70_000, 1, 2], np.int32), np.array([1, 0, 2]))
    with_writer.append(np.array([], np.int32), np.array([], np.int64))
    with_writer.close()
    rows = store.Ragged(tmp_path, "x", "int32")
    assert [row.tolist() for row in rows] == [[70_000], [], [1, 2]]


def test_what_is_stored_is_shared_and_keyed_by_what_made_it(tmp_path: Path) -> None:
    corpus, cache = corpus_at(tmp_path), tmp_path / "cache"
    folders = []
    for tokenizer, cleaning in (
        (SMALL, AS_IS),
        (SMALL, AS_IS),  # the same: nothing new
        (SentencePiece(vocab_size=50), AS_IS),  # tokenizer and tokens anew
        (SMALL, StandardCleaning(max_length=40)),  # all anew
    ):
        prepare(corpus, tokenizer, cleaning, cache)
        folders.append({kind: len(list(cache.glob(f"{kind}-*"))) for kind in ("text", "tokenizer", "tokens")})
    assert folders == [
        {"text": 1, "tokenizer": 1, "tokens": 1},
        {"text": 1, "tokenizer": 1, "tokens": 1},
        {"text": 1, "tokenizer": 2, "tokens": 2},
        {"text": 2, "tokenizer": 3, "tokens": 3},
    ]


def test_weights_change_what_is_trained_on_and_nothing_stored(tmp_path: Path) -> None:
    corpora = [sentences(40), sentences(40, 7)]
    one, same, other = (prepared(tmp_path, corpora, weights) for weights in (None, [1, 1], [1, 0.5]))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(list((tmp_path / "cache").glob("tokens-*"))) == 1


def test_changed_text_is_prepared_anew_wherever_it_stands(tmp_path: Path) -> None:
    first = prepare(corpus_at(tmp_path / "a"), SMALL, AS_IS, tmp_path / "cache")
    moved = prepare(corpus_at(tmp_path / "b"), SMALL, AS_IS, tmp_path / "cache")
    assert first.fingerprint == moved.fingerprint
    write(tmp_path / "b" / "train", [*sentences(199), ("ちがう", "different")])
    changed = prepare(
        corpus_files := TextCorpus("ja", "en", train=str(tmp_path / "b" / "train")), SMALL, AS_IS, tmp_path / "cache"
    )
    assert changed.fingerprint != first.fingerprint
    assert changed.splits["train"].target_lines([199]) == ["different"], corpus_files


def test_checkpoint_tokenizers_find_the_same_store(tmp_path: Path) -> None:
    """Evaluation with a run's own tokenizers reads what training stored."""
    corpus, cache = corpus_at(tmp_path), tmp_path / "cache"
    trained = prepare(corpus, SMALL, AS_IS, cache)
    before = sorted(cache.iterdir())
    again = prepare(corpus, SMALL, AS_IS, cache, tokenizers=(trained.source_tokenizer, trained.target_tokenizer))
    assert_same(trained, again)
    assert sorted(cache.iterdir()) == before


def test_only_some_splits(tmp_path: Path) -> None:
    corpus, cache = corpus_at(tmp_path), tmp_path / "cache"
    trained = prepare(corpus, SMALL, AS_IS, cache)
    both = (trained.source_tokenizer, trained.target_tokenizer)
    (tmp_path / "train.ja").write_text("not read\n")
    valid = prepare(corpus, SMALL, AS_IS, cache, both, only=["valid"])
    assert list(valid.splits) == ["valid"] and valid.target_counts_V is None
    assert valid.splits["valid"].batch([3]).source_BS.tolist() == trained.splits["valid"].batch([3]).source_BS.tolist()
    with pytest.raises(RequestError, match="no test split; it has train, valid"):
        prepare(corpus, SMALL, AS_IS, cache, both, only=["test"])
    with pytest.raises(RequestError, match="no training text"):
        prepare(corpus, SMALL, AS_IS, cache, only=["valid"])


FORK = multiprocessing.get_context("fork")  # a spawned process would import torch for seconds


def corpus_at_existing(folder: Path) -> TextCorpus:
    return TextCorpus("ja", "en", train=str(folder / "train"), valid=str(folder / "dev"))


def _prepare_and_say(folder: Path, barrier: multiprocessing.Barrier, queue: multiprocessing.Queue) -> None:
    built = []
    original = store._build
    store._build = lambda target, build: (built.append(target.name), original(target, build))
    barrier.wait()
    data = prepare(corpus_at_existing(folder), SMALL, AS_IS, folder / "cache")
    queue.put((built, data.fingerprint, data.splits["train"].batch([0, 199]).targets_BT.tolist()))


def test_processes_at_once_build_once(tmp_path: Path) -> None:
    corpus_at(tmp_path)
    queue, barrier = FORK.Queue(), FORK.Barrier(3)
    processes = [FORK.Process(target=_prepare_and_say, args=(tmp_path, barrier, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert all(result[1:] == results[0][1:] for result in results)
    assert sorted(name.split("-")[0] for built, *_ in results for name in built) == ["text", "tokenizer", "tokens", "written"]


def test_without_locks_the_first_to_finish_wins(tmp_path: Path) -> None:
    """What happens where a file system has no locks: the other process finished while this one was building."""
    folder = tmp_path / "cache" / "thing"

    def build(place: Path) -> None:
        (place / "data").write_text("mine")
        folder.mkdir()
        (folder / "data").write_text("theirs")
        (folder / store.MANIFEST).write_text('{"data": 6}')

    assert store.once(folder, build) == folder
    assert (folder / "data").read_text() == "theirs"
    assert [path.name for path in folder.parent.iterdir() if path.suffix == ".tmp"] == []


def _prepare_and_die(folder: Path, flushes: int) -> None:
    """kill -9 before flushing another file than so many."""
    original, left = os.fsync, iter(range(flushes))

    def fsync(descriptor: int) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        original(descriptor)

    os.fsync = fsync
    prepare(corpus_at_existing(folder), SMALL, AS_IS, folder / "cache")


@pytest.mark.parametrize(("flushes", "whole"), [(0, 0), (13, 1), (17, 2)])
def test_a_kill_midway_leaves_nothing_taken_for_whole(tmp_path: Path, flushes: int, whole: int) -> None:
    """In the text, the tokenizers, or the tokens."""
    corpus, cache = corpus_at(tmp_path), tmp_path / "cache"
    process = FORK.Process(target=_prepare_and_die, args=(tmp_path, flushes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(cache.glob("[!.]*"))) == whole and len(list(cache.glob(".*.tmp"))) == 1
    data = prepare(corpus, SMALL, AS_IS, cache)
    assert_same(data, prepare(corpus, SMALL, AS_IS, tmp_path / "other cache"))
    assert not list(cache.glob(".*.tmp"))


@pytest.mark.parametrize("kind", ["text", "tokenizer", "tokens", "written"])
@pytest.mark.parametrize("damage", ["cut", "lost", "no manifest", "bad manifest"])
def test_damage_is_found_and_built_again(tmp_path: Path, kind: str, damage: str) -> None:
    corpus, cache = corpus_at(tmp_path), tmp_path / "cache"
    prepare(corpus, SMALL, AS_IS, cache)
    before = contents(cache)
    folder = next(cache.glob(f"{kind}-*"))
    largest = max((path for path in folder.iterdir()), key=lambda path: path.stat().st_size)
    match damage:
        case "cut":
            os.truncate(largest, largest.stat().st_size - 1)
        case "lost":
            largest.unlink()
        case "no manifest":
            (folder / store.MANIFEST).unlink()
        case "bad manifest":
            (folder / store.MANIFEST).write_text("[1, 2]")
    said: list[str] = []
    prepare(corpus, SMALL, AS_IS, cache, report=said.append)
    assert any("damaged" in line and folder.name in line for line in said)
    assert contents(cache) == before


def _prepare_on_a_full_disk(folder: Path, queue: multiprocessing.Queue) -> None:
    """The kernel refuses to let a file grow, as it does on a full disk or beyond a quota."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
    try:
        prepare(corpus_at_existing(folder), SMALL, AS_IS, folder / "cache")
    except SeqgenError as error:
        queue.put((error.exit_code, str(error)))


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path: Path) -> None:
    corpus, queue = corpus_at(tmp_path), FORK.Queue()
    process = FORK.Process(target=_prepare_on_a_full_disk, args=(tmp_path, queue))
    process.start()
    code, message = queue.get(timeout=300)
    process.join()
    assert code == 1 and message.startswith(f"No space is left for prepared data in {tmp_path / 'cache'}")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    prepare(corpus, SMALL, AS_IS, tmp_path / "cache")


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match=r"cannot be written .*runtime\.cache_folder"):
        prepare(corpus_at(tmp_path), SMALL, AS_IS, tmp_path / "file" / "cache")


def test_an_error_while_building_leaves_nothing(tmp_path: Path) -> None:
    corpus = TextCorpus("ja", "en", train=write(tmp_path / "train", [("あ", "a"), ("い", "b")]))
    (tmp_path / "train.en").write_text("a\n")
    with pytest.raises(RequestError, match="2 lines"):
        prepare(corpus, SMALL, AS_IS, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


MEMORY = """
import sys
from pathlib import Path
from seqgen_cli.data.prepare import cleaning
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text_store import store_text
cleaning.PARTITION = 1 << 14
def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
count = int(sys.argv[2])
pairs = ((f"source sentence {number} of some length", f"target sentence {number} of some length") for number in range(count))
store_text(Path(sys.argv[1]), {"train": pairs}, StandardCleaning())
print(anonymous())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_of_cleaning_does_not_follow_the_corpus(tmp_path: Path) -> None:
    """Ten times the corpus (8 MB more text, twice that as strings of Python) may not cost 5 MB more memory."""
    used = []
    for count in (10_000, 100_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", MEMORY, str(folder), str(count)], capture_output=True, text=True, check=True)
        used.append(int(done.stdout))
    assert used[1] - used[0] < 5_000, used
