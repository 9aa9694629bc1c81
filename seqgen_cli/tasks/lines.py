"""Lines of text in and out of a command: files, standard input (a prompt at a terminal), bytes that are not UTF-8;
in windows, and what is said of them at the end."""

import io
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from seqgen_cli.config.checked import Config
from seqgen_cli.data.corpora.lines import open_text
from seqgen_cli.errors import RequestError, counted, well_formed

Item = TypeVar("Item")

_LINE_END = re.compile(r"\r\n|\r|\n")


def check_files(command: str, config: Config, text: str | None = None) -> None:
    """Refuse what cannot be meant, before a model is loaded.

    Args:
        text: the setting that may give texts in place of an input.
    """
    if config.ckpt is None:
        raise RequestError(f"seqgen {command} needs --ckpt RUN: a run folder such as runs/X, or a checkpoint.")
    if text is not None and getattr(config, text) is not None and config.input is not None:
        raise RequestError(f"Give either --{text} TEXT or --input FILE.")
    if config.input and config.output_file and Path(config.input).resolve() == Path(config.output_file).resolve():
        raise RequestError(f"The output {config.output_file} is the input itself: give another file.")


def summary(noun: str, counts: Counter[str], unusual: Mapping[str, str], start: float, log: logging.Logger) -> dict[str, Any]:
    """Log and return how many there were, in what time since `start` (of time.perf_counter), and how many of them unusual.

    Args:
        unusual: what to say of each count of those, by its name.
    """
    seconds = time.perf_counter() - start
    told = "".join(f"; {counts[name]:,} {what}" for name, what in unusual.items() if counts[name])
    done = counted(counts[noun], noun.removesuffix("s"))
    log.info(f"{done} in {seconds:.1f} s ({counts[noun] / max(seconds, 1e-9):,.1f} a second){told}.")
    return {noun: counts[noun], "seconds": seconds, **{name: counts[name] for name in unusual}}


def given(texts: str | Sequence[str] | None) -> list[str]:
    """Texts from the command line."""
    return [] if texts is None else [texts] if isinstance(texts, str) else list(texts)


def as_lines(texts: Iterable[str], taker: str) -> Iterator[str]:
    """Texts as lines: half a character (a lone surrogate) is U+FFFD, and an end of a line within one a space.

    Args:
        taker: who was given them, for what is said of a single text in the place of several.

    Raises:
        RequestError: they are one text.
    """
    if isinstance(texts, str):
        raise RequestError(f"{taker} takes a list of texts, and was given one text: put it in brackets, [text].")
    return (" ".join(_LINE_END.split(well_formed(text)[0])) for text in texts)


def opened_input(path: str | None) -> AbstractContextManager[IO[bytes]]:
    """A plain or gzipped file; standard input without one."""
    return nullcontext(sys.stdin.buffer) if path is None else open_text(Path(path))


def opened_output(path: str | None) -> AbstractContextManager[TextIO]:
    """A file, written anew; standard output without one."""
    if path is not None:
        return Path(path).open("w", encoding="utf-8", newline="\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    return nullcontext(sys.stdout)


def shows_progress(output: str | None) -> bool:
    """Whether a bar is wanted: not where the results themselves come up on the terminal."""
    return output is not None or not sys.stdout.isatty()


def line_count(path: str | None) -> int | None:
    """Lines of a plain file, for the progress bar; None where it would cost a decompression or cannot be known."""
    if path is None or path.endswith(".gz") or not sys.stderr.isatty() or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def prompted(source: IO[bytes]) -> Iterator[bytes]:
    """Lines typed at a terminal, until its end of file (Ctrl-D)."""
    sys.stderr.write("Type a line and press Enter; Ctrl-D ends.\n")
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = source.readline()
        if not line:
            sys.stderr.write("\n")
            return
        yield line


def decoded_lines(source: Iterable[bytes], path: str | None, invalid_utf8: str, counts: Counter[str]) -> Iterator[str]:
    """The lines without their ends (only \\n ends a line; \\r before it and a byte order mark are dropped), counted."""
    for number, line in enumerate(source, start=1):
        counts["lines"] += 1
        line = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            if invalid_utf8 == "error":
                raise RequestError(
                    f"{path or 'standard input'}, line {number:,}: not valid UTF-8 (byte 0x{line[error.start]:02x} at position "
                    f"{error.start}). Convert it to UTF-8, or set invalid_utf8=replace."
                ) from None
            counts["invalid"] += 1
            yield line.decode("utf-8", errors="replace")


def windows(items: Iterable[Item], largest: int, total: int | None = None) -> Iterator[tuple[int, list[Item]]]:
    """The items in runs of at most `largest`, each with the number of its first item, from 0.

    The first runs are smaller, so that work on a long or endless input gives results soon.

    Args:
        total: number of items, where known: not more than `largest` make one run.
    """
    iterator, done, size = iter(items), 0, min(largest, 64 if total is None or total > largest else largest)
    while chunk := list(islice(iterator, size)):
        yield done, chunk
        done, size = done + len(chunk), min(largest, 2 * size)
