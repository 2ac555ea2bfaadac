"""The times of a request's parts, as the header Server-Timing reports them."""

import time
from collections.abc import Iterable, Mapping

# The parts, in the order in which they happen.
_PARTS = DECODE, CREDENTIALS, WAIT, PREDICT = "decode", "credentials", "wait", "predict"
_SERVER_TIMING = ", ".join(f"{part};dur=%.2f" for part in (*_PARTS, "total"))

# A part of a traced request, with its start and end by time.perf_counter().
type Span = tuple[str, float, float]

# What is in progress during a part, in words; empty before the first.
IN_PROGRESS: Mapping[str, str] = {
    "": "the request was waiting for its turn",
    DECODE: "the image was being read",
    CREDENTIALS: "Key Vault was being read",
    WAIT: "the connection to the service was being made",
    PREDICT: "the service was scoring",
}


class Timings:
    """Adds up the seconds of each part of a request; the parts of several images add up too.

    ``latest`` is the part that started last; ``spans`` are those of a request that is traced, and None otherwise.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = dict.fromkeys(_PARTS, 0.0)
        self._calls = _Calls()
        self.latest = ""
        self.spans: list[Span] | None = None

    def for_image(self) -> "Timings":
        """Timings of one image among several: they add to the same sums, and have a ``latest`` of their own."""
        part = Timings()
        part._seconds, part._calls, part.spans = self._seconds, self._calls, self.spans
        return part

    def measure(self, part: str) -> "_Measurement":
        """The duration of a ``with`` block, however it ends, is added to ``part``."""
        return _Measurement(self, part)

    def call_started(self) -> float:
        """A call of the service starts: the time, for :meth:`call_ended`."""
        self.latest = PREDICT
        calls, now = self._calls, time.perf_counter()
        if not calls.open:
            calls.since = now
        calls.open += 1
        return now

    def call_ended(self, started: float) -> float:
        """The call ends, however that is; the time."""
        calls, now = self._calls, time.perf_counter()
        calls.open -= 1
        if not calls.open:
            calls.seconds += now - calls.since
        self.add(PREDICT, started, now)
        return now

    def add(self, part: str, started: float, ended: float) -> None:
        self._seconds[part] += ended - started
        if self.spans is not None:
            self.spans.append((part, started, ended))

    def parts(self) -> Iterable[tuple[str, float]]:
        """The parts with their seconds."""
        return self._seconds.items()

    @property
    def service_seconds(self) -> float:
        """The time in which the service was scoring; that of calls at the same time counts once."""
        return self._calls.seconds

    def server_timing(self) -> str:
        """The value of a Server-Timing header (https://www.w3.org/TR/server-timing/), in milliseconds."""
        total = time.perf_counter() - self._start
        decode, credentials, wait, predict = self._seconds.values()
        return _SERVER_TIMING % (1000 * decode, 1000 * credentials, 1000 * wait, 1000 * predict, 1000 * total)


class _Calls:
    """The calls in progress, and the time in which there was one."""

    __slots__ = ("open", "seconds", "since")

    def __init__(self) -> None:
        self.open = 0
        self.seconds = 0.0
        self.since = 0.0


class _Measurement:
    """A class, not a generator, which would take twice as long: each request passes through several of these."""

    __slots__ = ("_part", "_start", "_timings")

    def __init__(self, timings: Timings, part: str) -> None:
        self._timings = timings
        self._part = part

    def __enter__(self) -> None:
        self._timings.latest = self._part
        self._start = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._timings.add(self._part, self._start, time.perf_counter())
