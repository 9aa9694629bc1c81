"""seqgen translate: lines of text in, their translations out, in the same order."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import tee
from pathlib import Path
from typing import IO, Any, TextIO

from omegaconf import DictConfig

from seqgen_cli import build, plots
from seqgen_cli.data.corpora import check_aligned, open_text, read_lines
from seqgen_cli.errors import RequestError
from seqgen_cli.inference import Translation, Translator, open_checkpoints

_log = logging.getLogger(__name__)

_UNUSUAL = {
    "empty": "empty",
    "split": "over-long, translated in parts",
    "truncated": "with an output cut at the maximum length",
    "invalid": "not UTF-8, bad bytes replaced",
}


def run(config: DictConfig) -> dict[str, Any]:
    """Translate config.input to config.output_file; return the number of lines, seconds, and counts of unusual lines.

    Each output is written as soon as its window is translated: what was interrupted keeps what it wrote.
    """
    build.check(config)
    if config.ckpt is None:
        raise RequestError("seqgen translate needs --ckpt RUN: a run folder such as runs/X, or a checkpoint.")
    if config.input and config.output_file and Path(config.input).resolve() == Path(config.output_file).resolve():
        raise RequestError(f"The output {config.output_file} is the input itself: give another file.")
    if config.prefix:  # missing or too short is found before the model is loaded
        open_text(Path(config.prefix)).close()
        check_aligned(Path(config.input or config.prefix), Path(config.prefix))
    asking = config.input is None and sys.stdin.isatty()
    counts: Counter[str] = Counter()
    with _input(config.input) as source:
        translator = _translator(config)
        lines, again = tee(_decoded(_prompted(source) if asking else source, config.input, config.invalid_utf8, counts))
        start = time.perf_counter()
        with _output(config.output_file) as target:
            prefixes = read_lines(Path(config.prefix)) if config.prefix else None
            window, total = 1 if asking else config.window, _line_count(config.input)
            stream = translator.stream(again, window, total, not asking, prefixes)
            for number, (line, translation) in enumerate(zip(lines, stream, strict=True), start=1):
                _count(translation, counts)
                _write(target, number, translation, translator.decoder.outputs)
                if config.plot is not None and translation.parts:
                    _plot(translator, line, translation.text, Path(config.plot) / f"line-{number:06d}.png")
        seconds = time.perf_counter() - start
    unusual = "".join(f"; {counts[name]:,} {what}" for name, what in _UNUSUAL.items() if counts[name])
    _log.info(f"{counts['lines']:,} lines in {seconds:.1f} s ({counts['lines'] / max(seconds, 1e-9):,.1f} a second){unusual}.")
    return {"lines": counts["lines"], "seconds": seconds, **{name: counts[name] for name in _UNUSUAL}}


def _translator(config: DictConfig) -> Translator:
    decoder, runtime = build.make(config.decoding, "decoding"), build.start_runtime(config)
    translator = open_checkpoints(config.ckpt, runtime, config.trust, decoder, config.batch_tokens, config.max_source_tokens)
    if config.plot is not None:
        translator.alignments([])  # a model without any is refused before work begins
    return translator


def _input(path: str | None) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if path is None else open_text(Path(path))


def _output(path: str | None) -> AbstractContextManager[TextIO]:
    if path is not None:
        return Path(path).open("w", encoding="utf-8", newline="\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    return nullcontext(sys.stdout)


def _line_count(path: str | None) -> int | None:
    """Lines of a plain file, for the progress bar; None where it would cost a decompression or cannot be known."""
    if path is None or path.endswith(".gz") or not sys.stderr.isatty() or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _prompted(source: IO[bytes]) -> Iterator[bytes]:
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


def _decoded(source: Iterable[bytes], path: str | None, invalid_utf8: str, counts: Counter[str]) -> Iterator[str]:
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


def _count(translation: Translation, counts: Counter[str]) -> None:
    counts["empty"] += translation.parts == 0
    counts["split"] += translation.parts > 1
    counts["truncated"] += translation.n_best[0].truncated


def _write(target: TextIO, number: int, translation: Translation, outputs: int) -> None:
    """The translation on its line; of several outputs, a table: line number, score, text."""
    if outputs == 1:
        target.write(f"{translation.text}\n")
    else:
        target.writelines(f"{number}\t{output.score:.6f}\t{output.text}\n" for output in translation.n_best)
    target.flush()


def _plot(translator: Translator, line: str, text: str, path: Path) -> None:
    (alignment,) = translator.alignments([line], [text])
    plots.alignment_plot(path, alignment.source_pieces, alignment.target_pieces, alignment.weights_TS)
