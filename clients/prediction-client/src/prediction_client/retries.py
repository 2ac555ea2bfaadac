"""When a call is retried: decisions without I/O.

Only a connection that could not be established or was lost is worth a retry: scoring changes nothing on the service,
so a request may safely arrive twice. A retry costs a token and every call earns a fraction of one, so retries stay a
fraction of the load however long an outage lasts.
"""

import random
import time
from collections.abc import Callable

from prediction_client.errors import PredictionError, Unreachable

# Tokens earned by a call, and the most that are kept: enough to retry every call that a restart of the service breaks.
EARNED = 0.2
MAX_TOKENS = 100.0

# Seconds from a call's first failure during which it is retried.
PATIENCE = 2.0
# Retries end this many seconds before the deadline, so that the error names the cause instead of the deadline.
MARGIN = 0.03

# Pauses in seconds: random, up to the first before the first retry; the limit doubles each time, up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.02, 0.5


class RetryBudget:
    """Tokens for retries, shared by the calls of a client.

    Threads share it without a lock: two that take a token at the same time may count as one, which does no harm.
    """

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS

    def earn(self) -> None:
        self._tokens = min(MAX_TOKENS, self._tokens + EARNED)

    def spend(self) -> bool:
        """Take a token; False if there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Attempts:
    """The attempts of one call. ``deadline`` is a point of ``clock``; without a budget nothing is retried."""

    # _first_failure  a point of ``clock``, once an attempt failed

    def __init__(
        self,
        deadline: float,
        budget: RetryBudget | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._deadline = deadline
        self._budget = budget
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._first_failure: float | None = None
        if budget:
            budget.earn()

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, for the next attempt; more than zero, as gRPC requires."""
        return max(self._deadline - self._clock(), 0.001)

    def pause(self, failure: PredictionError) -> float | None:
        """Seconds to wait before the next attempt; None if the failure is final."""
        if not isinstance(failure, Unreachable) or self._budget is None:
            return None
        now = self._clock()
        if self._first_failure is None:
            self._first_failure = now
        self._failures += 1
        left = min(self._first_failure + PATIENCE, self._deadline - MARGIN) - now
        if left <= 0 or not self._budget.spend():
            return None
        limit: float = min(FIRST_BACKOFF * 2 ** min(self._failures - 1, 10), LAST_BACKOFF)
        return min(self._chance() * limit, left)
