"""Downloads that show progress and go on where they broke off."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from seqgen_cli.errors import SeqgenError

_PIECE = 1 << 13  # bytes read at once, and at most so many are fetched again after a break
_ATTEMPTS = 5
_PATIENCE = 30.0  # seconds without a byte before a connection counts as broken


def download(url: str, folder: Path, sha256: str | None = None, pause: float = 1.0) -> Path:
    """Fetch a file once; later calls find it. Processes that ask at the same time wait for one.

    Args:
        url: http or https.
        folder: where the file is kept, under its own name behind a hash of the url.
        sha256: what it must be; None = take what comes.
        pause: seconds before the second attempt after a break; doubled each time.

    Raises:
        SeqgenError: the download failed (what came of it is kept for the next try), or is another file than `sha256` names.
    """
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.split('?')[0].rstrip('/').rsplit('/', 1)[-1]}"
    pooch.get_logger().setLevel("WARNING")  # the bar says that a download goes on, the error why it failed
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            found = pooch.retrieve(
                url, sha256 and f"sha256:{sha256}", name, folder, downloader=_Resuming(folder / f"{name}.part", pause)
            )
    except ValueError:  # pooch's word for another hash
        raise SeqgenError(f"{url} is not the file expected: its SHA-256 is not {sha256}.") from None
    except OSError as error:  # requests' errors are OSErrors
        raise SeqgenError(
            f"Downloading {url} into {folder} failed: {_reason(error)}. Run the command again to go on where it broke off, "
            "or fetch the file yourself and set data.archive to its path."
        ) from None
    return Path(found)


class _Resuming:
    """A downloader for pooch that keeps what has arrived in `part` and asks the server only for the rest."""

    def __init__(self, part: Path, pause: float) -> None:
        self._part, self._pause = part, pause

    def __call__(self, url: str, output_file: str, pooch_object: Any) -> None:
        """Fetch into `part`, trying again after breaks, then move it to pooch's own file."""
        for attempt in range(_ATTEMPTS):
            before = self._size()
            try:
                self._fetch(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == _ATTEMPTS - 1:
                    raise
                if self._size() == before:
                    time.sleep(self._pause * 2**attempt)
        self._part.replace(output_file)

    def _fetch(self, url: str) -> None:
        done = self._size()
        asked = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {"Accept-Encoding": "identity"}
        with requests.get(url, stream=True, timeout=_PATIENCE, headers=asked) as answer:
            if done and answer.status_code == requests.codes.requested_range_not_satisfiable:
                if answer.headers.get("Content-Range") == f"bytes */{done}":
                    return  # everything had arrived
                self._part.unlink()
                raise requests.ConnectionError("the file on the server has changed")
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                done = 0  # the server sends everything again
            total = int(answer.headers["Content-Length"]) + done if "Content-Length" in answer.headers else None
            with (
                self._part.open("ab" if done else "wb") as file,
                tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], disable=None) as bar,
            ):
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    bar.update(len(piece))
            if total is not None and self._size() < total:
                raise requests.ConnectionError("the connection broke off")

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0


def _reason(error: OSError) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer for {_PATIENCE:.0f} s"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection failed or broke off"
    return error.strerror or str(error)
