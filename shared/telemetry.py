"""What one request leaves behind for people: its parts' times, its trace, its log line."""

import asyncio
import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger("scoring_gateway")

# The parts of a request that Server-Timing tells, in the order of their happening.
_PARTS = DECODE, CREDENTIALS, WAIT, PREDICT = "decode", "credentials", "wait", "predict"
_SERVER_TIMING = ", ".join(f"{part};dur={{:.2f}}" for part in (*_PARTS, "total"))


class Timings:
    """Adds up the seconds of each part of a request; parts of several images add up too.

    ``latest`` is the part that began last.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = dict.fromkeys(_PARTS, 0.0)
        self.latest = ""

    def measure(self, part: str) -> "_Measurement":
        """What a ``with`` block takes, however it ends, counts for ``part``."""
        return _Measurement(self, part)

    def add(self, part: str, seconds: float) -> None:
        self._seconds[part] += seconds

    def server_timing(self) -> str:
        """The value of a Server-Timing header (https://www.w3.org/TR/server-timing/), in milliseconds."""
        total = time.perf_counter() - self._start
        return _SERVER_TIMING.format(*(seconds * 1000 for seconds in (*self._seconds.values(), total)))


class _Measurement:
    """A class and no generator, which would cost twice as much: each request passes through several of these."""

    __slots__ = ("_part", "_start", "_timings")

    def __init__(self, timings: Timings, part: str) -> None:
        self._timings = timings
        self._part = part

    def __enter__(self) -> None:
        self._timings.latest = self._part
        self._start = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._timings.add(self._part, time.perf_counter() - self._start)


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

    def in_time(self) -> asyncio.Timeout:
        """Bounds what has no deadline of its own; a TimeoutError then ends the request.

        gRPC calls have one, and must not be bounded again: one that is cancelled leaves memory behind in gRPC.
        """
        return asyncio.timeout(max(self.remaining, 0))
