"""What one request leaves behind for people: its parts' times, its trace, its log line."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

log = logging.getLogger("scoring_gateway")

# The parts of a request that Server-Timing tells, in the order of their happening.
DECODE, CREDENTIALS, WAIT, PREDICT = "decode", "credentials", "wait", "predict"


class Timings:
    """Adds up the seconds of each part of a request; parts of several images add up too.

    ``latest`` is the part that began last.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = {DECODE: 0.0, CREDENTIALS: 0.0, WAIT: 0.0, PREDICT: 0.0}
        self.latest = ""

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        self.latest = part
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start

    def server_timing(self) -> str:
        """The value of a Server-Timing header (https://www.w3.org/TR/server-timing/), in milliseconds."""
        total = time.perf_counter() - self._start
        parts = [*self._seconds.items(), ("total", total)]
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts)


@dataclass(frozen=True)
class Call:
    """What accompanies one request on its way through the gateway.

    ``deadline`` is a point of ``time.monotonic()``; the trace headers follow https://www.w3.org/TR/trace-context/ and
    are empty where there is no trace.
    """

    request_id: str
    deadline: float
    traceparent: str = ""
    tracestate: str = ""
    timings: Timings = field(default_factory=Timings)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; zero or less when it has passed."""
        return self.deadline - time.monotonic()
