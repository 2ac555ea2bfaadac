"""How many images may be in progress at one service: what could only wait is refused at once.

A service that scores one image after the other is no faster with more of them waiting. So a worker keeps as many in
progress as the service needs to be busy all the time, and refuses the rest immediately, while the client can still do
something else. There is no queue: an admitted image is being prepared, or is with the service.

The limit adapts, as a connection's congestion window does (RFC 5681). It doubles with each round of responses until one
takes too long, and is cut then; after that it grows by one a round, while it is used. A response takes too long after a
tenth of the service's deadline: no fixed number suits both one worker before a service and a thousand, but each of a
thousand can see how long a response takes. A service that is slow by nature has twice the shortest time that was seen,
up to half of the deadline. docs/scale.md has the figures.

A request that has less time left than the ones before it needed is refused as well.
"""

import math
import time

from shared.errors import DeadlineExceeded, Overloaded, ServiceBusy
from shared.telemetry import RequestContext

# The first limit: the default for one address, so that a burst is refused only if the service was seen to be slow. A
# higher one would be too much where a hundred workers start before an overloaded service.
FIRST_LIMIT = 64
# How long a response may take: a share of the deadline, or a multiple of the shortest time seen, up to a larger share.
SHARE, MULTIPLE, LARGEST_SHARE = 0.1, 2.0, 0.5
# The factors by which the limit is cut after a response that took too long, and after none.
CUT, CUT_HARD = 0.75, 0.5
# The weight of the latest response in the pace: recovery is followed faster than slowing down.
FASTER, SLOWER = 0.5, 0.1


class Admission:
    """Admits, counts and refuses the images for one service; belongs to one event loop.

    ``ceiling`` is the highest limit, ``deadline`` the service's own in seconds.
    """

    # _images   admitted images in progress
    # _calls    calls that are with the service
    # _limit    how many images may be in progress now, from 1 to the ceiling
    # _doubling whether the limit still doubles: until it is cut for the first time
    # _cut_at   when the limit was last cut: calls that started before then bring no new information
    # _shortest the shortest seconds that a response took
    # _pace     seconds that a response takes for each call that is with the service; 0 while unknown

    def __init__(self, ceiling: int, deadline: float) -> None:
        self._ceiling = float(ceiling)
        self._deadline = deadline
        self._images = 0
        self._calls = 0
        self._limit = min(float(FIRST_LIMIT), self._ceiling)
        self._doubling = True
        self._cut_at = -math.inf
        self._shortest = math.inf
        self._pace = 0.0

    def permit(self, images: int, context: RequestContext) -> "_Permit":
        """A permit for the images of a request, for the duration of a ``with`` block.

        One request is always admitted, however many its images and however slow the service: otherwise a recovered
        service would never be noticed.

        Raises:
            Overloaded: on entering: the limit is reached, or the request could not be answered within its deadline.
        """
        return _Permit(self, images, context)

    def track(self, context: RequestContext) -> "_TrackedCall":
        """Track one call of the service, the ``with`` block: its time, and how it ends.

        Raises:
            DeadlineExceeded: on entering: the deadline has passed already, so that the call need not be made.
        """
        return _TrackedCall(self, context)

    def __repr__(self) -> str:
        return f"<Admission {self._images} of {self._limit:.1f} images, {self._calls} calls, {self._pace:.4f} s each>"

    def _acquire(self, images: int, context: RequestContext) -> None:
        wanted = self._images + images
        if self._images and wanted > int(self._limit):
            raise Overloaded(
                f"Images in progress at the service: {self._images}, of {int(self._limit)} at most.", retry_after=1
            )
        if self._images and wanted * self._pace > context.remaining:
            raise Overloaded(
                f"Images in progress at the service: {self._images}; they leave no time for this one.", retry_after=1
            )
        self._images = wanted

    def _release(self, images: int) -> None:
        self._images -= images

    def _started(self, context: RequestContext) -> int:
        if context.remaining <= 0:
            raise DeadlineExceeded("The deadline passed while the request was waiting for its turn.")
        self._calls += 1
        return self._calls

    def _ended(self, started: float, calls: int, error: BaseException | None) -> None:
        self._calls -= 1
        if error is None:
            self._learn(started, calls)
        elif isinstance(error, ServiceBusy) or (
            # Where a client allowed less time than usual, that is no sign of a slow service.
            isinstance(error, DeadlineExceeded) and time.monotonic() - started > self._too_long()
        ):
            self._cut(started, CUT_HARD)

    def _too_long(self) -> float:
        return max(SHARE * self._deadline, min(MULTIPLE * self._shortest, LARGEST_SHARE * self._deadline))

    def _learn(self, started: float, calls: int) -> None:
        seconds = time.monotonic() - started
        self._shortest = min(self._shortest, seconds)
        pace = seconds / calls
        weight = FASTER if pace < self._pace else SLOWER
        self._pace = self._pace + weight * (pace - self._pace) if self._pace else pace
        if seconds > self._too_long():
            self._cut(started, CUT)
        elif 2 * self._images >= self._limit:
            self._limit = min(self._ceiling, self._limit + (1 if self._doubling else 1 / self._limit))

    def _cut(self, started: float, factor: float) -> None:
        """Once for all calls in progress together, and from the images in progress: the limit may never be reached."""
        if started >= self._cut_at:
            self._limit = max(1.0, min(self._limit, self._images) * factor)
            self._doubling = False
            self._cut_at = time.monotonic()


class _Permit:
    """A class, not a generator, as the next one: generators would take each request twice as long."""

    __slots__ = ("_admission", "_context", "_images")

    def __init__(self, admission: Admission, images: int, context: RequestContext) -> None:
        self._admission = admission
        self._images = images
        self._context = context

    def __enter__(self) -> None:
        self._admission._acquire(self._images, self._context)  # noqa: SLF001 - a part of it

    def __exit__(self, *_error: object) -> None:
        self._admission._release(self._images)  # noqa: SLF001 - as above


class _TrackedCall:
    __slots__ = ("_admission", "_calls", "_context", "_started")

    def __init__(self, admission: Admission, context: RequestContext) -> None:
        self._admission = admission
        self._context = context

    def __enter__(self) -> None:
        self._calls = self._admission._started(self._context)  # noqa: SLF001 - a part of it
        self._started = time.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._admission._ended(self._started, self._calls, error)  # noqa: SLF001 - as above
