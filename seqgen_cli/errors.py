"""The errors that reach a user, one or two sentences saying what was wrong, where, and what to do; small words for them; and
text made fit to be written.
"""

import difflib
import errno
from collections.abc import Collection, Iterable

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "no such file or folder",
}


class SeqgenError(Exception):
    """The work failed (exit code 1): a full disk, a damaged file, numbers that are no longer finite."""

    exit_code = 1


class RequestError(SeqgenError):
    """The request was wrong (exit code 2): a misspelt key, a missing file, choices that do not fit."""

    exit_code = 2


class UnknownSettingError(RequestError):
    """A setting that there is not, whatever its value."""


def did_you_mean(word: str, choices: Collection[str]) -> str:
    """`" Did you mean X?"` for the nearest choice, or nothing."""
    near = difflib.get_close_matches(word, choices, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def join_or(words: Iterable[str]) -> str:
    """ "a, b or c"."""
    return _join(list(words), "or")


def join_and(words: Iterable[str]) -> str:
    """ "a, b and c"."""
    return _join(list(words), "and")


def counted(number: int, noun: str) -> str:
    """ "1 line", "1,200 lines"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def well_formed(text: str) -> tuple[str, int]:
    """The text with U+FFFD for each surrogate that has no partner, which no file can hold; and the number of those."""
    try:
        text.encode("utf-8")
        return text, 0
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return joined, joined.count("\ufffd") - text.count("\ufffd")


def _join(words: list[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


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
