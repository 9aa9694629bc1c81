"""`seqgen <command>`: reads the command line, composes the config, runs the command, and turns any failure into a sentence.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted, 143 ended by SIGTERM. Nothing heavy is
imported before a command is known to run, so that --help answers at once.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.grammar import Request, parse
from seqgen_cli.helptext import command_page, overview

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "no such file or folder",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv by default); returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        if "-sc" in words or "--shell-completion" in words:
            from seqgen_cli.hydra_main import complete

            return complete(words)
        request = parse(words)
        if request.version:
            print(f"seqgen {version('seqgen-cli')}")
        elif request.help or request.command is None:
            print(command_page(request.command) if request.command else overview())
        else:
            return _run(request)
        return 0
    except BrokenPipeError:
        # Whoever read our output has gone (`seqgen ... | head`); keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # raised where an exception would be taken for a failed job of a sweep
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        _say("interrupted.")
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(sentence(error))
        return error.exit_code if isinstance(error, SeqgenError) else 1


def sentence(error: BaseException) -> str:
    """What to tell the user of a failure."""
    if isinstance(error, SeqgenError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return (
            "out of memory. Use smaller batches (batching.*) with trainer.accumulate, a smaller model, or runtime.precision=bf16."
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{_DISK[error.errno]}."
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return f"unexpected {type(error).__name__}: {first} (--debug shows where)"


def _say(message: str) -> None:
    rank = os.environ.get("RANK", "0")
    print(f"seqgen{'' if rank == '0' else f' (rank {rank})'}: {message}", file=sys.stderr)


def _run(request: Request) -> int:
    """Compose, check and run one command, or hand a sweep over to Hydra."""
    assert request.command is not None
    if request.multirun:
        from seqgen_cli.sweep import sweep

        return sweep(request.command, request.overrides, request.debug)
    from seqgen_cli import build, runtime

    config = build.compose(request.command, request.overrides)
    if config.get("continue"):
        config = importlib.import_module("seqgen_cli.commands.continuing").continued(config, request.overrides)
    if request.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    build.check(config)
    runtime.start_logging(request.debug)
    place = file_to_write("--json", config.get("json"))
    file_to_write("--output", config.get("output_file"))
    try:
        figures = importlib.import_module(f"seqgen_cli.commands.{request.command}").run(config)
    finally:
        runtime.shut_down()
    if place is not None and runtime.is_main():
        write_figures(place, figures)
    return 0


def file_to_write(flag: str, name: str | None) -> Path | None:
    """The file that a flag asks to write, refused before any work where that cannot be."""
    if name is not None and not Path(name).absolute().parent.is_dir():
        raise RequestError(f"{flag} {name}: its folder does not exist.")
    return Path(name) if name is not None else None


def write_figures(place: Path, figures: Any) -> None:
    """Write the figures as JSON; a reader never sees half a file."""
    temporary = place.with_name(f".{place.name}.part")
    temporary.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(place)
