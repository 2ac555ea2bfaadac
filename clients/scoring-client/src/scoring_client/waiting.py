"""When a request is sent again: decisions without I/O."""

import random
from collections.abc import Callable

# Seconds: a random pause up to the first, then up to twice as much each time, up to the last.
FIRST, LAST = 0.5, 8.0

# A connection that breaks during an upload may do so each time.
BREAKS = 3


class Waiting:
    """The pauses before the tries of one image, which together last ``limit`` seconds at most."""

    def __init__(self, limit: float, chance: Callable[[], float] = random.random) -> None:
        self._left = limit
        self._chance = chance
        self._pauses = 0
        self._breaks = 0

    def pause(self, retry_after: float | None) -> float | None:
        """Seconds until the next try, never before ``retry_after``; None where that would be too late.

        A little is added by chance to what the gateway says, so that not everybody whom it turned away comes back at
        the same moment.
        """
        if retry_after is None:
            seconds = self._chance() * min(FIRST * 2.0**self._pauses, LAST)
        else:
            seconds = retry_after + self._chance() * min(0.1 * retry_after, 1)
        if seconds >= self._left:
            return None
        self._pauses += 1
        self._left -= seconds
        return seconds

    def pause_after_break(self) -> float | None:
        """As :meth:`pause`, after a connection that broke; None when that was often enough."""
        self._breaks += 1
        return None if self._breaks >= BREAKS else self.pause(None)
