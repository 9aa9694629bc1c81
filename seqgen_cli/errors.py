"""The errors that reach a user: one or two sentences saying what was wrong, where, and what to do."""


class SeqgenError(Exception):
    """The work failed (exit code 1): a full disk, a damaged file, numbers that are no longer finite."""

    exit_code = 1


class RequestError(SeqgenError):
    """The request was wrong (exit code 2): a misspelt key, a missing file, choices that do not fit."""

    exit_code = 2
