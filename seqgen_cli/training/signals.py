"""Ctrl-C and SIGTERM while training: noted when they come, acted on where everything can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from seqgen_cli.errors import SeqgenError


class InterruptedTrainingError(Exception):
    """Raised at a point where a checkpoint may be written."""


class StoppedError(SeqgenError):
    """Training was asked to stop and has saved a checkpoint: exit code 130 after Ctrl-C, 143 after SIGTERM."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class Interruption:
    """Inside the block the first Ctrl-C or SIGTERM is only noted, in `signal`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # the only one that may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
