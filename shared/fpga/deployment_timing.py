"""How long a call of the control plane may take, and when it is tried again: decisions without I/O."""

import datetime as dt
import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

# The statuses that say "not now"; all others would say the same again.
RETRIED = frozenset({408, 429, 500, 502, 503, 504})

# Seconds. The pauses double, and a random part of each keeps clients that failed together apart.
RETRY_FIRST, RETRY_LAST = 0.5, 20.0

# Seconds between two looks at an operation: a deployment takes seconds here and minutes in Azure.
POLL_FIRST, POLL_LAST = 0.25, 15.0


@dataclass(frozen=True)
class Timing:
    """Time as the client sees it, all in seconds; ``chance`` gives 0 to 1. Tests pass their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def deadline(self, seconds: float) -> "Deadline":
        """A deadline so far from now."""
        return Deadline(self.clock, self.clock() + seconds)


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock by which a call has ended."""

    clock: Callable[[], float]
    moment: float

    @property
    def remaining(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.moment - self.clock()


def pause(number: int, first: float, last: float, chance: Callable[[], float]) -> float:
    """Seconds to wait after try ``number`` (1 is the first): between a half and all of a time that doubles."""
    longest = min(first * 2.0 ** min(number - 1, 32), last)
    return longest * (0.5 + 0.5 * chance())


def retry_after(value: str, now: dt.datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for (RFC 9110, section 10.2.3): a number, or a date.

    None for one that cannot be read; ``now`` has a time zone.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - now).total_seconds())
