"""Every test process computes on one thread, so that several share the cores, and all keep one cache apart from the user's."""

import atexit
import logging
import os
import shutil
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
if "SEQGEN_CACHE" not in os.environ:
    os.environ["SEQGEN_CACHE"] = tempfile.mkdtemp(prefix="seqgen-tests-")
    atexit.register(shutil.rmtree, os.environ["SEQGEN_CACHE"], ignore_errors=True)


@pytest.fixture(autouse=True)
def log_as_at_first() -> None:
    """A command sends seqgen's log to stderr alone, also one that a fixture ran: each test finds it where pytest reads it."""
    logger = logging.getLogger("seqgen_cli")
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
