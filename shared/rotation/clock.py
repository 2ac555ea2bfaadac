"""The time of rotations: Unix seconds that never go back within a process.

A wall clock that is set back would revive what has expired, and lengthen every wait. One that jumps ahead is followed:
a machine that slept has to catch up.
"""

import threading
import time
from collections.abc import Callable


class SteadyClock:
    """Calls return Unix seconds."""

    # _ahead  what the time is ahead of the monotonic clock: the most that was observed

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()
        self._lock = threading.Lock()

    def __call__(self) -> float:
        passed = self._monotonic()
        with self._lock:
            self._ahead = max(self._ahead, self._wall() - passed)
            return passed + self._ahead


steady_time = SteadyClock()
