"""Limits of the calls that a worker has under way; each limiter only has information on its own worker's calls.

A limiter is called before and after each call; calls end in the order in which they began. The gateway's own is
``shared.upstream.admission`` itself, on the simulation's clock. Latencies and times are in seconds.
"""

# ruff: noqa: ARG002 - not every limiter uses all arguments

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol
from unittest.mock import patch

from shared.errors import DeadlineExceeded, Overloaded
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream import admission

MOST = ServiceSettings.max_concurrency
# As good as none, for the limiters that have no setting.
UNLIMITED = 1_000.0


class Ended(Protocol):
    """A call that has ended."""

    @property
    def in_time(self) -> bool: ...

    @property
    def last(self) -> bool:
        """Whether it is the last of its request."""


class Limiter:
    """Limits the calls of one worker, to a fixed number where no subclass changes it."""

    def __init__(self, first: float) -> None:
        self._limit = first

    @property
    def limit(self) -> float:
        """The most calls under way."""
        return self._limit

    def admits(self, now: float, in_flight: int, images: Sequence[int] = (1,)) -> bool:
        """Whether calls with so many images may begin, with ``in_flight`` under way; if so, they do."""
        return in_flight < max(1, int(self._limit))

    def done(self, now: float, latency: float, in_flight: int, call: Ended) -> None:
        """The oldest call has ended after ``latency``, in time or at its deadline; it counts as ``in_flight``."""


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
    """Until the context ends, the gateway's own limiter uses the simulation's clock."""
    with patch.object(admission, "time", _CLOCK):
        yield


class _Call(RequestContext):
    """A call that has just begun."""

    @property
    def remaining(self) -> float:
        return self.deadline


class Own(Limiter):
    """The gateway's own limiter; only within :func:`own_clock`. ``kind`` may be one that lacks a part of it."""

    def __init__(
        self, deadline: float, most: int = MOST, kind: type[admission.Admission] = admission.Admission
    ) -> None:
        self._admission = kind(most, deadline)
        self._call = _Call("", deadline)
        self._under_way: deque[tuple[AbstractContextManager[None], AbstractContextManager[None]]] = deque()

    @property
    def limit(self) -> float:
        return self._admission._limit  # noqa: SLF001 - it has no public name

    def admits(self, now: float, in_flight: int, images: Sequence[int] = (1,)) -> bool:
        _CLOCK.now = now
        permit = self._admission.permit(sum(images), self._call)
        try:
            permit.__enter__()
        except Overloaded:
            return False
        context = replace(self._call, images=len(images))
        for count in images:
            call = self._admission.track(context, count)
            call.__enter__()
            self._under_way.append((call, permit))
        return True

    def done(self, now: float, latency: float, in_flight: int, call: Ended) -> None:
        _CLOCK.now = now
        error = None if call.in_time else DeadlineExceeded("")
        tracked, permit = self._under_way.popleft()
        tracked.__exit__(None if error is None else DeadlineExceeded, error, None)
        if call.last:
            permit.__exit__(None, None, None)


class NeverAges(admission.Admission):
    """The gateway's admission, but the shortest time that was seen stays for ever."""

    def __init__(self, ceiling: int, deadline: float) -> None:
        super().__init__(ceiling, deadline)
        self._shortest = defaultdict(_Unforgotten)


class _Unforgotten(admission.ShortestTime):
    def learn(self, seconds: float, now: float, *, alone: bool) -> None:
        self.seconds = min(self.seconds, seconds)


class CountsMessages(admission.Admission):
    """The gateway's admission, but what is with the service is counted in messages."""

    def track(self, context: RequestContext, images: int = 1) -> admission.TrackedCall:
        return super().track(context)


class WantsRoomForAll(admission.Admission):
    """The gateway's admission, but all images of a request must be within the limit."""

    def _acquire(self, images: int, context: RequestContext) -> None:
        if self._images and self._images + images > int(self._limit):
            raise Overloaded("")
        super()._acquire(images, context)


class Aimd(Limiter):
    """The gateway's rule once more, with parts that can be left out, to see the effect of each.

    ``first``: the limit at first. ``doubles``: it grows with every answer until it is cut for the first time.
    ``from_flight``: a cut starts from the calls under way, not from the limit, which may be far above. ``patient``:
    ``multiple`` times the lowest observed latency is never too long. ``bound``: half of the deadline always is.
    """

    def __init__(
        self,
        deadline: float,
        *,
        first: int = admission.FIRST_LIMIT,
        doubles: bool = True,
        from_flight: bool = True,
        patient: bool = True,
        bound: bool = True,
        multiple: float = admission.MULTIPLE,
    ) -> None:
        super().__init__(float(first))
        self._target = admission.SHARE * deadline
        self._bound = admission.LARGEST_SHARE * deadline if bound else float("inf")
        self._patience = multiple if patient else 0.0
        self._from_flight, self._growing = from_flight, doubles
        self._cut_at, self._lowest = float("-inf"), float("inf")

    def done(self, now: float, latency: float, in_flight: int, call: Ended) -> None:
        in_time = call.in_time
        if in_time:
            self._lowest = min(self._lowest, latency)
        patience = self._patience * self._lowest if self._patience else 0.0
        too_long = latency > max(self._target, min(patience, self._bound))
        if not in_time or too_long:
            self._shrink(now, latency, in_flight, admission.CUT if in_time else admission.CUT_HARD)
        elif 2 * in_flight >= self._limit:
            self._limit = min(MOST, self._limit + (1 if self._growing else 1 / self._limit))

    def _shrink(self, now: float, latency: float, in_flight: int, factor: float) -> None:
        # Not for a call that began before the last cut.
        if now - latency >= self._cut_at:
            used = min(self._limit, in_flight) if self._from_flight else self._limit
            self._limit = max(1.0, used * factor)
            self._growing = False
            self._cut_at = now


class Vegas(Limiter):
    """After TCP Vegas: the queue of the worker's own calls is estimated from the lowest observed latency.

    ``limit * (1 - lowest / latency)`` calls are waiting; the limit grows by one a round while these are fewer than
    three, and shrinks by one a round while they are more than six.
    """

    def __init__(self) -> None:
        super().__init__(float(admission.FIRST_LIMIT))
        self._lowest = float("inf")

    def done(self, now: float, latency: float, in_flight: int, call: Ended) -> None:
        if not call.in_time:
            self._limit = max(1.0, self._limit / 2)
            return
        self._lowest = min(self._lowest, latency)
        waiting = self._limit * (1 - self._lowest / latency)
        if waiting > 6:
            self._limit = max(1.0, self._limit - 1 / self._limit)
        elif waiting < 3 and 2 * in_flight >= self._limit:
            self._limit = min(UNLIMITED, self._limit + 1 / self._limit)


class Gradient(Limiter):
    """After the gradient of Netflix' concurrency-limits: the limit follows the usual latency over the current one.

    The usual latency is a slow average; a current one of up to 1.5 times it does not shrink the limit; four calls may
    queue.
    """

    def __init__(self) -> None:
        super().__init__(float(admission.FIRST_LIMIT))
        self._usual = 0.0

    def done(self, now: float, latency: float, in_flight: int, call: Ended) -> None:
        self._usual = latency if not self._usual else self._usual + (latency - self._usual) / 600
        if self._usual > 2 * latency:
            self._usual *= 0.95
        if 2 * in_flight < self._limit:
            return
        gradient = min(1.0, max(0.5, 1.5 * self._usual / latency))
        wanted = self._limit * gradient + 4
        self._limit = min(UNLIMITED, max(1.0, self._limit + (wanted - self._limit) * 0.2))
