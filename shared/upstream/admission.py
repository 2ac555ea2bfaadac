"""How many images may be in progress at one service: what could only wait is refused at once.

A service that scores one image after the other is no faster with more of them waiting. So a worker keeps as many in
progress as the service needs to be busy all the time, and refuses the rest immediately, while the client can still do
something else. There is no queue: an admitted image is being prepared, or is with the service.

All is counted in images, whether they come in one message or in several. A request is admitted while fewer images than
the limit are in progress, however many its own are: so one of sixteen is refused no more often than one of a single
image, and the limit is exceeded by the rest of one request at most.

The limit adapts, as a connection's congestion window does (RFC 5681). It doubles with each round of responses until one
takes too long, and is cut then; after that it grows by one a round, while it is used. A response takes too long after a
tenth of the service's deadline: no fixed number suits both one worker before a service and a thousand, but each of a
thousand can see how long a response takes. A service that is slow by nature has three times the shortest time that was
seen for messages of about the same size, up to half of the deadline: one that batches takes up to twice as long without
a queue, since an image waits for the batch before, and needs a queue for full batches. Where other images of a request
may be ahead, a call has their time too. The shortest time ages: that a service became slower is seen in the responses
to calls that had no other image of the worker ahead. docs/scale.md has the figures.

A request that has less time left than the ones before it needed is refused as well.
"""

import math
import time
from collections import defaultdict

from shared.errors import DeadlineExceeded, Overloaded, ServiceBusy
from shared.telemetry import RequestContext, metrics

# The first limit: the default for one address, so that a burst is refused only if the service was seen to be slow. A
# higher one would be too much where a hundred workers start before an overloaded service.
FIRST_LIMIT = 64
# How long a response may take: a share of the deadline, or a multiple of the shortest time seen, up to a larger share.
SHARE, MULTIPLE, LARGEST_SHARE = 0.1, 3.0, 0.5
# Seconds after which the shortest time gives way to a longer one, and by which factor at most: the others' images may
# have been ahead.
AGE, LONGER = 10.0, 2.0
# The factors by which the limit is cut after a response that took too long, and after none.
CUT, CUT_HARD = 0.75, 0.5
# The weight of the latest response in the pace: recovery is followed faster than slowing down.
FASTER, SLOWER = 0.5, 0.1


class Admission:
    """Admits, counts and refuses the images for one service; belongs to one event loop.

    ``ceiling`` is the highest limit, ``deadline`` the service's own in seconds.
    """

    # _images   admitted images in progress
    # _sent     images that are with the service
    # _limit    how many images may be in progress now, from 1 to the ceiling
    # _in_time  seconds of a response that is never too long; _longest: beyond that it always is
    # _doubling whether the limit still doubles: until it is cut for the first time
    # _cut_at   when the limit was last cut: calls that started before then bring no new information
    # _shortest the shortest times of responses, by the binary digits of the number of images in their messages
    # _pace     seconds that a response takes for each image that is with the service; 0 while unknown

    def __init__(self, ceiling: int, deadline: float, service: str = "") -> None:
        self._service = service
        self._ceiling = float(ceiling)
        self._in_time = SHARE * deadline
        self._longest = LARGEST_SHARE * deadline
        self._images = 0
        self._sent = 0
        self._limit = min(float(FIRST_LIMIT), self._ceiling)
        self._doubling = True
        self._cut_at = -math.inf
        self._shortest: defaultdict[int, ShortestTime] = defaultdict(ShortestTime)
        self._pace = 0.0

    def permit(self, images: int, context: RequestContext) -> "Permit":
        """A permit for the images of a request, for the duration of a ``with`` block.

        One request is always admitted, however many its images and however slow the service: otherwise a recovered
        service would never be noticed.

        Raises:
            Overloaded: on entering: the limit is reached, or the request could not be answered within its deadline.
        """
        return Permit(self, images, context)

    def has_room(self, share: float) -> bool:
        """Whether less than that share of the limit is in progress: for work that can wait for a quieter moment."""
        return self._images < share * self._limit

    def track(self, context: RequestContext, images: int = 1) -> "TrackedCall":
        """Track one call of the service with that many images, the ``with`` block: its time, and how it ends.

        Raises:
            DeadlineExceeded: on entering: the deadline has passed already, so that the call need not be made.
        """
        return TrackedCall(self, context, images)

    @property
    def limit(self) -> int:
        """How many images may be in progress now."""
        return int(self._limit)

    @property
    def in_progress(self) -> int:
        return self._images

    @property
    def with_service(self) -> int:
        """How many of those in progress the service has; the others are being prepared, or wait for that."""
        return self._sent

    @property
    def pace(self) -> float:
        """Seconds that the service takes for each image that it has; 0 while unknown."""
        return self._pace

    def __repr__(self) -> str:
        return f"<Admission {self._images} of {self._limit:.1f} images, {self._sent} sent, {self._pace:.4f} s each>"

    def _acquire(self, images: int, context: RequestContext) -> None:
        before = self._images
        if before:
            if before >= int(self._limit):
                metrics.REFUSALS.add((self._service, "limit"))
                raise Overloaded(
                    f"Images in progress at the service: {before}, of {int(self._limit)} at most.", retry_after=1
                )
            if (before + images) * self._pace > context.remaining:
                metrics.REFUSALS.add((self._service, "deadline"))
                raise Overloaded(
                    f"Images in progress at the service: {before}; they leave no time for this request.", retry_after=1
                )
        self._images = before + images

    def _release(self, images: int) -> None:
        self._images -= images

    def _started(self, images: int, context: RequestContext) -> int:
        if context.remaining <= 0:
            raise DeadlineExceeded("The deadline passed while the request was waiting for its turn.")
        self._sent += images
        return self._sent

    def _ended(self, call: "TrackedCall", error: BaseException | None) -> None:
        self._sent -= call.images
        if error is None:
            self._learn(call)
        elif isinstance(error, ServiceBusy) or (
            # Where a client allowed less time than usual, that is no sign of a slow service.
            isinstance(error, DeadlineExceeded) and self._is_too_long(time.monotonic() - call.started, call)
        ):
            self._cut(call.started, CUT_HARD)

    def _is_too_long(self, seconds: float, call: "TrackedCall") -> bool:
        if seconds <= self._in_time:
            return False
        longest = max(self._in_time, MULTIPLE * self._shortest[call.images.bit_length()].seconds)
        if call.others:  # of its own request, and perhaps ahead: they are no sign of a slow service
            longest += call.others * self._shortest[1].seconds
        return seconds > min(longest, self._longest)

    def _learn(self, call: "TrackedCall") -> None:
        now = time.monotonic()
        seconds, images = now - call.started, call.images
        self._shortest[images.bit_length()].learn(seconds, now, alone=call.sent == images)
        pace = seconds / call.sent
        weight = FASTER if pace < self._pace else SLOWER
        self._pace = self._pace + weight * (pace - self._pace) if self._pace else pace
        if self._is_too_long(seconds, call):
            self._cut(call.started, CUT)
        elif 2 * self._images >= self._limit:
            self._limit = min(self._ceiling, self._limit + (images if self._doubling else images / self._limit))

    def _cut(self, started: float, factor: float) -> None:
        """Once for all calls in progress together, and from the images in progress: the limit may never be reached."""
        if started >= self._cut_at:
            self._limit = max(1.0, min(self._limit, self._images) * factor)
            self._doubling = False
            self._cut_at = time.monotonic()


class ShortestTime:
    """The shortest time of responses, in ``seconds``; it gives way to a longer one, and to a shorter one at once.

    Only responses to calls that were ``alone``, with no other image of the worker ahead, show that it is out of date.
    """

    # _recent  the shortest time of those since it was last confirmed or replaced
    # _until   when that replaces it

    __slots__ = ("_recent", "_until", "seconds")

    def __init__(self) -> None:
        self.seconds = self._recent = math.inf
        self._until = 0.0

    def learn(self, seconds: float, now: float, *, alone: bool) -> None:
        if seconds <= self.seconds:
            self.seconds, self._recent, self._until = seconds, math.inf, now + AGE
        elif alone:
            self._recent = min(self._recent, seconds)
            if now >= self._until:
                self.seconds, self._recent = min(self._recent, LONGER * self.seconds), math.inf
                self._until = now + AGE


class Permit:
    """Images in progress, for the duration of a ``with`` block.

    A class, not a generator, as the next one: generators would take each request twice as long.
    """

    __slots__ = ("_admission", "_context", "_images")

    def __init__(self, admission: Admission, images: int, context: RequestContext) -> None:
        self._admission = admission
        self._images = images
        self._context = context

    def __enter__(self) -> None:
        self._admission._acquire(self._images, self._context)  # noqa: SLF001 - a part of it

    def __exit__(self, *_error: object) -> None:
        self._admission._release(self._images)  # noqa: SLF001 - as above


class TrackedCall:
    """One call of the service, for the duration of a ``with`` block."""

    __slots__ = ("_admission", "_context", "images", "others", "sent", "started")

    # others   images of the same request in other calls
    # sent     images that were with the service when it started, its own included
    # started  when it did

    def __init__(self, admission: Admission, context: RequestContext, images: int) -> None:
        self._admission = admission
        self._context = context
        self.images = images
        self.others = context.images - 1

    def __enter__(self) -> None:
        self.sent = self._admission._started(self.images, self._context)  # noqa: SLF001 - a part of it
        self.started = time.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._admission._ended(self, error)  # noqa: SLF001 - as above
