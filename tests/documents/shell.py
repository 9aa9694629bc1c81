"""A shell in which `seqgen` and `torchrun` start at once: each call is a fork of a process that has imported everything.

Run as a script it is the call: it hands its words, folder, environment and open files to the server, and ends as the fork does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LONGEST = 180  # seconds of a script
_RANKS = "2"  # of torchrun, however many a page asks for


class Shell:
    """Runs lines of bash, with small sizes added to every command.

    Args:
        place: an empty folder for what this needs. files: folder of the archives that a person would download.
        modules: folder of further Python packages.
    """

    def __init__(self, place: Path, files: Path, modules: Path) -> None:
        self._socket = place / "s"
        for name in ("seqgen", "torchrun"):
            (place / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{__file__}" "{self._socket}" {name} "$@"\n')
            (place / name).chmod(0o755)
        (place / "srun").write_text('#!/bin/sh\nexec "$@"\n')
        (place / "srun").chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{place}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{modules}",
            "SEQGEN_CACHE": str(place / "cache"),
            "OMP_NUM_THREADS": "1",
            "DOCUMENTS_FILES": str(files),
        }
        self._server = subprocess.Popen([sys.executable, "-m", "tests.documents.shell", str(self._socket)], env=self._environment)
        deadline = time.monotonic() + 120
        while not self._socket.exists():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)

    def run(self, script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """What a person sees who gives the script to bash in this folder."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
        )

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


def _call(place: str, words: list[str]) -> int:
    """In the caller's process: ask the server, wait for the exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        asked = json.dumps({"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
        socket.send_fds(connection, [len(asked).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(asked)
        code = connection.recv(1)
    return code[0] if code else 70


def _serve(place: str) -> None:
    import torch
    from transformers import AutoModel  # noqa: F401

    import seqgen_cli.commands.bench
    import seqgen_cli.commands.train
    import seqgen_cli.tasks.translate.task  # noqa: F401

    torch.set_num_threads(1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen()
        Path(f"{place}.new").rename(place)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(connection)
            connection.close()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass


def _answer(connection: socket.socket) -> None:
    """In a fork: become the command that was asked for."""
    size, files, *_ = socket.recv_fds(connection, 8, 3)
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        data += connection.recv(1 << 16)
    asked = json.loads(data)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[:0] = [str(Path(place).absolute()) for place in asked["environment"]["PYTHONPATH"].split(os.pathsep)]
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    code = 70
    try:
        code = _command(asked["words"])
        sys.stdout.flush()
    finally:
        connection.sendall(bytes([code]))
        os._exit(code)


def _command(words: list[str]) -> int:
    from seqgen_cli.cli.main import main
    from tests.documents.small import scaled

    name, *rest = words
    if name == "seqgen":
        return main(scaled(rest, os.environ["DOCUMENTS_FILES"]))
    flag, _, _, module, *own = rest  # --nproc-per-node 8 -m seqgen_cli train ...
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", flag, _RANKS, "-m", module]
    return subprocess.run([*launch, *scaled(own, os.environ["DOCUMENTS_FILES"])]).returncode


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(_call(sys.argv[1], sys.argv[2:]))
    _serve(sys.argv[1])
