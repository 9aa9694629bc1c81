"""What a piece of work costs: its time, where in it the time goes, and the most memory it held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import psutil
import torch

from seqgen_cli.runtime.devices import has_own_memory, synchronize

_SAMPLE_SECONDS = 0.002


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, the device's queue included."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


class Stopwatch:
    """Seconds inside each `section` that runs while this is running; an inner section's are not the outer one's.

    Waits for the device where a section begins and ends, so that work belongs to the section that asked for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    def __enter__(self) -> Stopwatch:
        _running.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _running.remove(self)

    def enter(self, name: str) -> None:
        """A section begins."""
        self._pass()
        self._open.append(name)

    def leave(self) -> None:
        """The section entered last ends."""
        self._pass()
        self._open.pop()

    def _pass(self) -> None:
        synchronize(self.device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


_running: list[Stopwatch] = []


@contextmanager
def section(name: str) -> Iterator[None]:
    """Work of one kind, for whoever measures where the time goes; costs next to nothing while nobody does."""
    watches = list(_running)
    for watch in watches:
        watch.enter(name)
    try:
        yield
    finally:
        for watch in watches:
            watch.leave()


class PeakMemory:
    """Bytes in use at the highest point inside a `with`, or several, over what was in use when this was made.

    On CUDA what the allocator gave out; elsewhere the resident memory of the process, whose highest point the kernel keeps
    on Linux; on other systems a thread looks every 2 ms.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak_bytes = 0
        self._process = psutil.Process()
        self._done: threading.Event | None = None
        self._start = torch.cuda.memory_allocated(device) if has_own_memory(device) else self._resident()

    def __enter__(self) -> PeakMemory:
        if has_own_memory(self.device):
            torch.cuda.reset_peak_memory_stats(self.device)
        elif not _forget_high_water():
            self._done = threading.Event()
            self._sampler = threading.Thread(target=self._sample, args=(self._done,), daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if has_own_memory(self.device):
            self._note(torch.cuda.max_memory_allocated(self.device))
        elif self._done is not None:
            self._done.set()
            self._sampler.join()
            self._note(self._resident())
        else:
            self._note(_high_water())

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_SECONDS):
            self._note(self._resident())

    def _note(self, bytes_in_use: int) -> None:
        self.peak_bytes = max(self.peak_bytes, bytes_in_use - self._start)

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


def _forget_high_water() -> bool:
    """Let the kernel's mark begin anew at what is resident now; False where there is none, or it may not be reset."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _high_water() > 0
    except OSError:
        return False


def _high_water() -> int:
    """The most bytes that were resident since the mark was reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
