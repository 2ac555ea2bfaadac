"""How often, and when, a call is tried again: decisions without I/O.

Only a connection that could not be made or broke is worth another try: scoring changes nothing, so a call may safely
arrive twice. A retry costs a token, and calls earn tokens, so that retries stay a fraction of the load however long a
service is in trouble.
"""

import random
from collections.abc import Callable

# What a call earns, and how many tokens can be saved up: a fifth more load at the worst, and room for a restart that
# breaks every call under way.
EARNED = 0.2
SAVED = 100.0

# An outage is waited out this long from its beginning, in seconds; what comes later fails at once.
PATIENCE = 2.0
# Waiting ends this long before the deadline, in seconds, so that the cause can be told instead of the delay.
MARGIN = 0.03

# Between tries, in seconds: a random time up to the first, then up to twice as much each time, up to the last.
BACKOFF_FIRST, BACKOFF_LAST = 0.02, 0.5


class RetryBudget:
    """Counts tokens: every call puts in ``EARNED``, every retry takes one out."""

    def __init__(self) -> None:
        self._tokens = SAVED

    def earn(self) -> None:
        self._tokens = min(SAVED, self._tokens + EARNED)

    def spend(self) -> bool:
        """Take a token; False where there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f}>"


def patience(*, now: float, down_since: float, remaining: float) -> float:
    """How long a call may go on waiting for a service, in seconds; zero or less: not at all.

    Args:
        now: the clock's time.
        down_since: when the service was first seen to be away.
        remaining: seconds until the call's deadline.
    """
    return min(down_since + PATIENCE - now, remaining - MARGIN)


def backoff(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait before try number ``attempt`` (1 is the first retry); ``chance`` gives 0 to 1."""
    ceiling: float = BACKOFF_FIRST * 2 ** min(attempt - 1, 10)
    return chance() * min(ceiling, BACKOFF_LAST)
