"""When a prediction client tries a call again: a decision, without I/O."""

import time

from shared.fpga.prediction_errors import PredictionError, Unreachable
from shared.fpga.retries import RetryBudget, backoff, patience


class Attempts:
    """The tries of one call.

    A service that is away is waited for from the first failure on, for two seconds at most and within the deadline, in
    pauses of random length. Every other failure is final: a wrong key stays wrong. Calls of several threads may share
    a budget; a token that two of them take at once counts as one, which does no harm.

    ``deadline`` is a point of ``time.monotonic()``; without a budget nothing is tried again.
    """

    def __init__(self, deadline: float, budget: RetryBudget | None) -> None:
        self._deadline = deadline
        self._budget = budget
        self._failures = 0
        self._down_since = 0.0
        if budget:
            budget.earn()

    @property
    def remaining(self) -> float:
        """Seconds for the next try; gRPC takes none that is zero or less."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause(self, failure: PredictionError) -> float | None:
        """Seconds to wait before the next try; None where the failure is final."""
        if not isinstance(failure, Unreachable) or self._budget is None:
            return None
        now = time.monotonic()
        self._down_since = self._down_since or now
        self._failures += 1
        seconds = patience(now=now, down_since=self._down_since, remaining=self._deadline - now)
        if seconds <= 0 or not self._budget.spend():
            return None
        return min(backoff(self._failures), seconds)
