"""When a request is sent again: decisions without I/O."""

import random
from collections.abc import Callable

# Pauses in seconds: random, up to the first before the first retry; the limit doubles each time, up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.5, 8.0

# Attempts after which a connection that is lost during every upload is a failure.
MAX_LOST_CONNECTIONS = 3


class Retries:
    """The pauses before the attempts for one image, which add up to ``limit`` seconds at most."""

    def __init__(self, limit: float, chance: Callable[[], float] = random.random) -> None:
        self._left = limit
        self._chance = chance
        self._pauses = 0
        self._lost_connections = 0

    def pause(self, retry_after: float | None) -> float | None:
        """Seconds until the next attempt, at least ``retry_after``; None if that exceeds the limit.

        A random part is added to ``retry_after``, so that the clients that were refused together do not return
        together.
        """
        if retry_after is None:
            seconds = self._chance() * min(FIRST_BACKOFF * 2.0**self._pauses, LAST_BACKOFF)
        else:
            seconds = retry_after + self._chance() * min(0.1 * retry_after, 1)
        if seconds >= self._left:
            return None
        self._pauses += 1
        self._left -= seconds
        return seconds

    def pause_after_lost_connection(self) -> float | None:
        """As :meth:`pause`; None too if the connection was lost ``MAX_LOST_CONNECTIONS`` times."""
        self._lost_connections += 1
        return None if self._lost_connections >= MAX_LOST_CONNECTIONS else self.pause(None)
