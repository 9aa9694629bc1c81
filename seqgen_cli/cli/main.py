"""`seqgen <command>`: reads the command line, composes the config, runs the command, and turns any failure into a sentence.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted, 143 ended by SIGTERM. Nothing heavy is
imported before a command is known to run, so that --help answers at once.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from seqgen_cli.cli.grammar import Request, parse
from seqgen_cli.cli.helptext import command_page, overview
from seqgen_cli.config.listing import groups
from seqgen_cli.errors import SeqgenError, counted, sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv by default); returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        if "-sc" in words or "--shell-completion" in words:
            from seqgen_cli.cli.completion import complete

            return complete(words)
        request = parse(words)
        if request.version:
            print(f"seqgen {version('seqgen-cli')}")
        elif request.help or request.command is None:
            print(_page(request))
        else:
            if request.replaced:
                _say(f"the text is not UTF-8: {counted(request.replaced, 'byte')} of it read as U+FFFD.")
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


def _page(request: Request) -> str:
    asked = [word for word in request.overrides if word.partition("=")[0] in groups() or not request.command]
    if asked:
        from seqgen_cli.cli.choicepage import choice_page

        return choice_page(asked, request.config_dir)
    return command_page(request.command) if request.command else overview()


def _say(message: str) -> None:
    rank = os.environ.get("RANK", "0")
    print(f"seqgen{'' if rank == '0' else f' (rank {rank})'}: {message}", file=sys.stderr)


@contextmanager
def _starting() -> Iterator[None]:
    """Says so on a terminal, for as long as torch is imported: that takes seconds."""
    shown = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
    if shown:
        print("seqgen: starting ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _run(request: Request) -> int:
    """Compose, check and run one command, or hand a sweep over to Hydra."""
    assert request.command is not None
    if request.multirun:
        with _starting():
            from seqgen_cli.cli.sweep import sweep

        return sweep(request.command, request.overrides, request.debug)
    with _starting():
        from seqgen_cli.config.compose import compose, plain
        from seqgen_cli.config.door import check_keys, checked
        from seqgen_cli.report.tables import file_to_write, write_figures
        from seqgen_cli.runtime import process

        command = importlib.import_module(f"seqgen_cli.commands.{request.command}")
    config = compose(request.command, request.overrides)
    if config.get("continue"):
        config = importlib.import_module("seqgen_cli.cli.continuing").continued(config, request.overrides)
    if request.cfg:
        from omegaconf import OmegaConf

        check_keys(request.command, request.overrides)
        print(OmegaConf.to_yaml(config), end="")
        return 0
    process.start_logging(request.debug)
    asked = checked(plain(config), request.command)
    place = file_to_write("--json", asked.json if "json" in asked else None)
    file_to_write("--output", asked.output_file if "output_file" in asked else None)
    try:
        figures = command.run(asked)
    finally:
        process.shut_down()
    if place is not None and process.is_main():
        write_figures(place, figures)
    return 0
