"""Stopping by Ctrl-C or SIGTERM, also when the app blocks the event loop or its threads do not end."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Handles the signals that stop the host: they end the process at once, or run the callback once one is set.

    The handlers are Python's, not the event loop's, which would wait for a loop that the app may have blocked.
    """

    def __init__(self) -> None:
        # A process that still runs this many seconds after a signal is killed.
        self.patience = 3.0
        self._callback: Callable[[], object] | None = None

    def install(self, *, ignore_interrupt: bool = False) -> None:
        """Handle the signals. A worker ignores Ctrl-C: its supervisor gets the signal too, and stops the worker."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        if ignore_interrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def call(self, callback: Callable[[], object]) -> None:
        """Set the callback of a signal. It must be quick and must not wait."""
        self._callback = callback

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._callback is None:
            end_hard()  # not by an exception, which an import may catch
            return
        watchdog = threading.Timer(self.patience, end_hard)
        watchdog.daemon = True
        watchdog.start()
        self._callback()


def end_hard() -> None:
    """End the process now, whatever its threads do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
