"""Downloads from a server on this machine that breaks off, knows ranges or not, or gives another file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from seqgen_cli.data.corpora.download import download
from seqgen_cli.data.corpora.imdb import Imdb
from seqgen_cli.data.corpora.iwslt import IwsltJaEn
from seqgen_cli.errors import SeqgenError
from tests.contracts.test_iwslt import TRAIN, members, pack
from tests.numerics.test_labelled_corpora import write_archive

CONTENT = np.random.default_rng(0).bytes(1_500_000)


class Server:
    """Serves `content`, closing each connection after `breaks_after` bytes; remembers the ranges asked for."""

    def __init__(self) -> None:
        self.content, self.breaks_after, self.ranges, self.status = CONTENT, len(CONTENT), True, 200
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                server.asked.append(asked)
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
                if start >= len(server.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(server.content)}")
                    self.end_headers()
                    return
                self.send_response(206 if start else server.status)
                self.send_header("Content-Length", str(len(server.content) - start))
                self.end_headers()
                self.wfile.write(server.content[start : start + server.breaks_after])
                self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: a test's stderr is not for logs."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/texts/ja-en.zip"
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    yield serving
    serving.close()


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., bytes]:
    return lambda sha256=None: download(server.url, tmp_path / "downloads", sha256, pause=0.0).read_bytes()


def test_once_and_whole(server: Server, fetch: Callable[..., bytes]) -> None:
    assert fetch() == CONTENT
    assert fetch() == CONTENT
    assert server.asked == [None]


def test_goes_on_after_breaks(server: Server, fetch: Callable[..., bytes]) -> None:
    server.breaks_after = 75 * 8192
    assert fetch(hashlib.sha256(CONTENT).hexdigest()) == CONTENT
    assert server.asked == [None, "bytes=614400-", "bytes=1228800-"]


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server: Server, fetch: Callable[..., bytes], tmp_path: Path) -> None:
    server.breaks_after = 10 * 8192
    with pytest.raises(SeqgenError, match="go on where it broke off"):
        fetch()
    assert next((tmp_path / "downloads").glob("*.part")).stat().st_size == 5 * 81_920  # five attempts
    server.breaks_after, server.asked = len(CONTENT), []
    assert fetch() == CONTENT
    assert server.asked == ["bytes=409600-"]


def test_a_server_without_ranges_sends_it_all_again(server: Server, fetch: Callable[..., bytes], tmp_path: Path) -> None:
    server.breaks_after, server.ranges = 75 * 8192, False
    with pytest.raises(SeqgenError):
        fetch()
    server.breaks_after = len(CONTENT)
    assert fetch() == CONTENT


def test_everything_had_arrived(server: Server, fetch: Callable[..., bytes], tmp_path: Path) -> None:
    """Killed between the last byte and the renaming."""
    server.breaks_after = 1_000_000
    fetch()
    kept = next((tmp_path / "downloads").glob("*.zip"))
    kept.rename(kept.with_name(f"{kept.name}.part"))
    server.asked = []
    assert fetch() == CONTENT
    assert server.asked == ["bytes=1500000-"]


def test_another_file_is_refused(fetch: Callable[..., bytes], tmp_path: Path) -> None:
    with pytest.raises(SeqgenError, match="not the file expected"):
        fetch("0" * 64)
    assert not list((tmp_path / "downloads").glob("*.zip"))


def test_a_missing_file_and_no_server(server: Server, fetch: Callable[..., bytes], tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(SeqgenError, match="the server answered 404"):
        fetch()
    with pytest.raises(SeqgenError, match=r"connection failed .* data\.archive"):
        download("http://127.0.0.1:9/a.zip", tmp_path, pause=0.0)


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_the_corpus_fetches_its_archive(server: Server, tmp_path: Path, kind: str) -> None:
    ballast = {"ja-en/README": CONTENT[:40_000].hex()}
    server.content = Path(pack(tmp_path / f"ja-en.{kind}", ballast | members())).read_bytes()
    server.breaks_after = len(server.content) * 2 // 3
    corpus = IwsltJaEn(url=server.url, expected_pairs=len(TRAIN), cache_folder=tmp_path / "cache")
    assert list(corpus.splits()["train"]) == TRAIN
    assert len(server.asked) == 2


def test_the_reviews_archive_goes_on_after_a_break_and_must_be_the_one_named(server: Server, tmp_path: Path) -> None:
    ballast = {"aclImdb/README": CONTENT[:60_000]}
    server.content = write_archive(tmp_path / "aclImdb.tar.gz", 10, extra=ballast).read_bytes()
    server.breaks_after = len(server.content) * 2 // 3
    digest = hashlib.sha256(server.content).hexdigest()
    corpus = Imdb(url=server.url, sha256=digest, expected_reviews=20, cache_folder=tmp_path / "cache")
    assert {name: len(examples) for name, examples in corpus.labelled_splits().items()} == {"train": 14, "valid": 6, "test": 20}
    first, second = server.asked
    assert first is None and second is not None and 0 < int(second.strip("bytes=-")) <= server.breaks_after
    other = Imdb(url=server.url, sha256="0" * 64, expected_reviews=20, cache_folder=tmp_path / "other")
    with pytest.raises(SeqgenError, match=f"{server.url} is not the file expected: its SHA-256 is not 000"):
        other.labelled_splits()
    assert not list((tmp_path / "other").rglob("*.zip"))
