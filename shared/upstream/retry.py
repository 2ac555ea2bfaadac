"""How often, and when, a call is retried: decisions without I/O.

Only a connection that could not be made or broke is worth a retry: scoring changes nothing, so a call may arrive twice.
A retry costs a token, and calls earn tokens, so that retries stay a fraction of the load however long a service is in
trouble.
"""

from shared.backoff import backoff

# What a call earns, and how many tokens can be saved up: a fifth more load at the worst, and room for a restart that
# breaks every call in progress.
EARNED = 0.2
SAVED = 100.0

# An outage is waited out this long from its beginning, in seconds; later calls fail at once.
PATIENCE = 2.0
# An outage that no call has met for that many seconds is over: a later one has its own beginning.
FORGOTTEN = 5.0
# Waiting ends this long before the deadline, in seconds, so that the error names the cause instead of the delay.
MARGIN = 0.03

# Pauses between attempts, in seconds: random up to the first, then up to twice as much each time, up to the last.
PAUSE_FIRST, PAUSE_LAST = 0.02, 0.5


class RetryBudget:
    """Counts tokens: every call adds ``EARNED``, every retry takes one."""

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

    @property
    def tokens(self) -> float:
        return self._tokens

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f}>"


def patience(*, now: float, down_since: float, remaining: float) -> float:
    """How long a call may go on waiting for a service, in seconds; zero or less: not at all.

    Args:
        now: the clock's time.
        down_since: when the service was first seen to be unreachable.
        remaining: seconds until the call's deadline.
    """
    return min(down_since + PATIENCE - now, remaining - MARGIN)


def pause(attempt: int) -> float:
    """Seconds to wait after failed attempt number ``attempt``."""
    return backoff(attempt, PAUSE_FIRST, PAUSE_LAST, jitter=1.0)
