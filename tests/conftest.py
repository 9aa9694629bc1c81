"""Every test process computes on one thread, so that several share the cores, and all keep one cache apart from the user's."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
if "SEQGEN_CACHE" not in os.environ:
    os.environ["SEQGEN_CACHE"] = tempfile.mkdtemp(prefix="seqgen-tests-")
    atexit.register(shutil.rmtree, os.environ["SEQGEN_CACHE"], ignore_errors=True)
