"""Stopping, always: by Ctrl-C or SIGTERM, and also when the app hangs or does not let go of its threads."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """What the signals to stop do: before :meth:`call` names something to stop, they end the process at once.

    Python-level handlers, not the event loop's: those would wait for a loop that the app may have blocked.
    """

    def __init__(self) -> None:
        # A process that is still there this many seconds after a signal is ended hard.
        self.patience = 3.0
        self._callback: Callable[[], object] | None = None

    def install(self, *, ignore_interrupt: bool = False) -> None:
        """Handle the signals. A worker leaves Ctrl-C to its supervisor, whom the terminal tells as well."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        if ignore_interrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def call(self, callback: Callable[[], object]) -> None:
        """Name what a signal is to do from now on. It must be quick and must not wait."""
        self._callback = callback

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._callback is None:
            sys.exit(0)
        watchdog = threading.Timer(self.patience, end_hard)
        watchdog.daemon = True
        watchdog.start()
        self._callback()


def end_hard() -> None:
    """End the process now, whatever its threads do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
