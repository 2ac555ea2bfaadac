"""Ways of bounding how many calls a worker has under way: each sees its own calls alone, as a real worker does.

A limiter is asked before a call and told after it; calls end in the order in which they began. The gateway's own is
``shared.admission`` itself, on the simulation's clock. Latencies and times are in seconds.
"""

# What a limiter is told is more than some of them use.
# ruff: noqa: ARG002

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from unittest.mock import patch

from shared import admission
from shared.errors import DeadlineExceeded, Overloaded
from shared.settings import ServiceSettings
from shared.telemetry import Call

MOST = ServiceSettings.max_concurrency


class Limiter(Protocol):
    """What bounds the calls under way of one worker."""

    @property
    def limit(self) -> float:
        """How many there may be."""

    def admits(self, now: float, in_flight: int) -> bool:
        """Whether another call may be made, with ``in_flight`` under way; if so, it is."""

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        """The oldest call has ended after ``latency``, in time or at its deadline; it is among the ``in_flight``."""


# Makes a worker's limiter from its deadline.
type Maker = Callable[[float], Limiter]


class _Clock:
    """Stands in for the module ``time``."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


_CLOCK = _Clock()


@contextmanager
def own_clock() -> Iterator[None]:
    """While it lasts, the gateway's own limiter lives by the simulation's clock."""
    with patch.object(admission, "time", _CLOCK):
        yield


class _Call(Call):
    """A call that was made just now."""

    @property
    def remaining(self) -> float:
        return self.deadline


class Own:
    """The gateway's own limiter; only within :func:`own_clock`."""

    def __init__(self, deadline: float, most: int = MOST) -> None:
        self._admission = admission.Admission(most, deadline)
        self._call = _Call("", deadline)
        self._under_way: deque[tuple[AbstractContextManager[None], AbstractContextManager[None]]] = deque()

    @property
    def limit(self) -> float:
        return self._admission._bound  # noqa: SLF001 - told by nothing else

    def admits(self, now: float, in_flight: int) -> bool:
        _CLOCK.now = now
        place, watch = self._admission.place(1, self._call), self._admission.watch(self._call)
        try:
            place.__enter__()
        except Overloaded:
            return False
        watch.__enter__()
        self._under_way.append((place, watch))
        return True

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        _CLOCK.now = now
        place, watch = self._under_way.popleft()
        if in_time:
            watch.__exit__(None, None, None)
        else:
            error = DeadlineExceeded("")
            watch.__exit__(DeadlineExceeded, error, None)
        place.__exit__(None, None, None)


class _Counting:
    """A limiter that compares what is under way with its limit."""

    def __init__(self, first: float) -> None:
        self._limit = first

    @property
    def limit(self) -> float:
        return self._limit

    def admits(self, now: float, in_flight: int) -> bool:
        return in_flight < max(1, int(self._limit))

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        """Nothing is learnt."""


class Fixed(_Counting):
    """A limit that never changes."""


class Aimd(_Counting):
    """The gateway's own rule once more, with each of its parts to be left out: what are they good for?

    ``first``: where it begins. ``doubles``: the limit grows with every answer until it is cut for the first time.
    ``from_flight``: it cuts what is under way, not a limit that may be far above. ``patient``: twice the lowest latency
    seen is never too long. ``bound``: half of the deadline always is.
    """

    def __init__(
        self,
        deadline: float,
        *,
        first: int = admission.FIRST,
        doubles: bool = True,
        from_flight: bool = True,
        patient: bool = True,
        bound: bool = True,
        most: int = MOST,
    ) -> None:
        super().__init__(float(min(first, most)))
        self._target = admission.SHARE * deadline
        self._bound = admission.LARGEST_SHARE * deadline if bound else float("inf")
        self._patience = admission.TIMES if patient else 0.0
        self._most, self._from_flight = float(most), from_flight
        self._growing = doubles
        self._cut_at = float("-inf")
        self._lowest = float("inf")

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        if in_time:
            self._lowest = min(self._lowest, latency)
        patience = self._patience * self._lowest if self._patience else 0.0
        too_long = latency > max(self._target, min(patience, self._bound))
        if not in_time or too_long:
            self._shrink(now, latency, in_flight, admission.CUT if in_time else admission.CUT_HARD)
        elif 2 * in_flight >= self._limit:
            self._limit = min(self._most, self._limit + (1 if self._growing else 1 / self._limit))

    def _shrink(self, now: float, latency: float, in_flight: int, factor: float) -> None:
        # A call that was sent before the last cut says nothing about it.
        if now - latency >= self._cut_at:
            used = min(self._limit, in_flight) if self._from_flight else self._limit
            self._limit = max(1.0, used * factor)
            self._growing = False
            self._cut_at = now


class Vegas(_Counting):
    """After TCP Vegas: the queue that one's own calls form is estimated from the lowest latency seen, and kept small.

    ``limit * (1 - lowest / latency)`` calls are waiting; the limit grows by one a round while fewer than ``low`` do,
    and shrinks by one a round while more than ``high`` do.
    """

    def __init__(self, *, most: int = 1_000, low: float = 3.0, high: float = 6.0) -> None:
        super().__init__(float(admission.FIRST))
        self._most, self._low, self._high = float(most), low, high
        self._lowest = float("inf")

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        if not in_time:
            self._limit = max(1.0, self._limit / 2)
            return
        self._lowest = min(self._lowest, latency)
        waiting = self._limit * (1 - self._lowest / latency)
        if waiting > self._high:
            self._limit = max(1.0, self._limit - 1 / self._limit)
        elif waiting < self._low and 2 * in_flight >= self._limit:
            self._limit = min(self._most, self._limit + 1 / self._limit)


class Gradient(_Counting):
    """After the gradient of Netflix' concurrency-limits: the limit follows the usual latency over the present one.

    The usual latency is a slow average; a present one up to ``tolerance`` times as long is no reason to shrink; four
    calls may queue.
    """

    def __init__(self, *, most: int = 1_000, tolerance: float = 1.5, smoothing: float = 0.2) -> None:
        super().__init__(float(admission.FIRST))
        self._most, self._tolerance, self._smoothing = float(most), tolerance, smoothing
        self._usual = 0.0

    def done(self, now: float, latency: float, in_flight: int, *, in_time: bool) -> None:
        self._usual = latency if not self._usual else self._usual + (latency - self._usual) / 600
        if self._usual > 2 * latency:
            self._usual *= 0.95
        if 2 * in_flight < self._limit:
            return
        gradient = min(1.0, max(0.5, self._tolerance * self._usual / latency))
        wanted = self._limit * gradient + 4
        self._limit = min(self._most, max(1.0, self._limit + (wanted - self._limit) * self._smoothing))
