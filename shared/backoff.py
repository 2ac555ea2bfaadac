"""Pauses between attempts: exponential, capped, with jitter. A decision without I/O."""

import random
from collections.abc import Callable

# Doubling beyond this changes nothing: every cap is reached long before.
_MAX_DOUBLINGS = 32


def backoff(
    attempt: int, first: float, last: float, *, jitter: float = 0.0, chance: Callable[[], float] = random.random
) -> float:
    """Seconds to pause after failed attempt number ``attempt`` (1 is the first).

    Args:
        attempt: how many attempts have failed in a row.
        first: the pause after the first failure, in seconds; it doubles with each further one.
        last: the longest pause, in seconds.
        jitter: the share of the pause that is random, from 0 to 1; it keeps clients apart that failed together.
        chance: returns a number from 0 to 1.
    """
    longest = min(first * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS), last)
    return longest * (1 - jitter + jitter * chance()) if jitter else longest
