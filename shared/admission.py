"""How much may be under way at one service at a time: what would only wait is refused at once.

A service that scores one image after the other answers no faster for having more of them before it. So a worker keeps
as many under way as the service needs to be busy all the time, and refuses the rest within a moment, while whoever sent
it can still do something else. There is no queue here: what was let in is being prepared, or is on its way.

The bound moves, as a connection's window does (RFC 5681). It doubles with each round of answers until something is too
long under way, and is cut then; from there on it grows by one a round, for as long as it is made use of. An answer is
too long under way after a tenth of the service's deadline: no fixed number does for one worker before a service and for
a thousand, but from the time that an answer takes each of a thousand can tell. A service that is slow by nature is
given twice the least time that it was seen to take, up to half of the deadline. docs/scale.md has the figures.

A request that has less time left than the ones before it needed is refused as well.
"""

import math
import time

from shared.errors import DeadlineExceeded, Overloaded, ServiceBusy
from shared.telemetry import Call

# The bound at first: what one address may have by default, so that a burst is refused for no other reason than that the
# service was seen to be slow. More would be too many where a hundred workers start before one that is overloaded.
FIRST = 64
# How long an answer may be under way: a share of the deadline, or so many times the least that was seen, up to a share.
SHARE, TIMES, LARGEST_SHARE = 0.1, 2.0, 0.5
# What is left of the bound when an answer was too long under way; when there was none.
CUT, CUT_HARD = 0.75, 0.5
# How much the latest answer counts in the pace: a service that recovers is believed sooner than one that slows down.
FASTER, SLOWER = 0.5, 0.1


class Admission:
    """Lets in, counts and refuses the images for one service; belongs to one event loop.

    ``ceiling`` is how many may be under way at most, ``deadline`` the service's own in seconds.
    """

    # _places   images that were let in and have not left
    # _calls    those of them that are with the service
    # _bound    how many places there are now, from 1 to the ceiling
    # _growing  whether the bound still doubles: until it is cut for the first time
    # _cut_at   when the bound was last cut: calls that began before then have nothing new to say
    # _least    the least seconds that an answer took
    # _pace     seconds that an answer takes for each call that is with the service; 0 while unknown

    def __init__(self, ceiling: int, deadline: float) -> None:
        self._ceiling = float(ceiling)
        self._deadline = deadline
        self._places = 0
        self._calls = 0
        self._bound = min(float(FIRST), self._ceiling)
        self._growing = True
        self._cut_at = -math.inf
        self._least = math.inf
        self._pace = 0.0

    def place(self, images: int, call: Call) -> "_Place":
        """Places for the images of a request, for as long as a ``with`` block takes.

        One request is always let in, however many its images and however slow the service: or else nobody would ever
        learn that it is well again.

        Raises:
            Overloaded: on entering: there is no room, or the request could not be answered within its deadline.
        """
        return _Place(self, images, call)

    def watch(self, call: Call) -> "_Watch":
        """Watch one call of the service, the ``with`` block: its time, and how it ends.

        Raises:
            DeadlineExceeded: on entering: the deadline has passed already, so that the call need not be made.
        """
        return _Watch(self, call)

    def __repr__(self) -> str:
        return f"<Admission {self._places} of {self._bound:.1f} places, {self._calls} calls, {self._pace:.4f} s each>"

    def _let_in(self, images: int, call: Call) -> None:
        wanted = self._places + images
        if self._places and wanted > int(self._bound):
            raise Overloaded(
                f"Images under way to the service: {self._places}, of {int(self._bound)} at most.", retry_after=1
            )
        if self._places and wanted * self._pace > call.remaining:
            raise Overloaded(
                f"Images under way to the service: {self._places}; they leave no time for this one.", retry_after=1
            )
        self._places = wanted

    def _let_out(self, images: int) -> None:
        self._places -= images

    def _begun(self, call: Call) -> int:
        if call.remaining <= 0:
            raise DeadlineExceeded("The deadline passed while the request was waiting for its turn.")
        self._calls += 1
        return self._calls

    def _ended(self, began: float, calls: int, error: BaseException | None) -> None:
        self._calls -= 1
        if error is None:
            self._learn(began, calls)
        elif isinstance(error, ServiceBusy) or (
            # Where a client allowed less time than is usual, that says nothing of the service.
            isinstance(error, DeadlineExceeded) and time.monotonic() - began > self._too_long()
        ):
            self._cut(began, CUT_HARD)

    def _too_long(self) -> float:
        return max(SHARE * self._deadline, min(TIMES * self._least, LARGEST_SHARE * self._deadline))

    def _learn(self, began: float, calls: int) -> None:
        seconds = time.monotonic() - began
        self._least = min(self._least, seconds)
        pace = seconds / calls
        weight = FASTER if pace < self._pace else SLOWER
        self._pace = self._pace + weight * (pace - self._pace) if self._pace else pace
        if seconds > self._too_long():
            self._cut(began, CUT)
        elif 2 * self._places >= self._bound:
            self._bound = min(self._ceiling, self._bound + (1 if self._growing else 1 / self._bound))

    def _cut(self, began: float, left: float) -> None:
        """Once for all that were under way together, and from what was: the bound may never have been used."""
        if began >= self._cut_at:
            self._bound = max(1.0, min(self._bound, self._places) * left)
            self._growing = False
            self._cut_at = time.monotonic()


class _Place:
    """A class and no generator, as the next one: they would cost each request twice as much."""

    __slots__ = ("_admission", "_call", "_images")

    def __init__(self, admission: Admission, images: int, call: Call) -> None:
        self._admission = admission
        self._images = images
        self._call = call

    def __enter__(self) -> None:
        self._admission._let_in(self._images, self._call)  # noqa: SLF001 - a part of it

    def __exit__(self, *_error: object) -> None:
        self._admission._let_out(self._images)  # noqa: SLF001 - as above


class _Watch:
    __slots__ = ("_admission", "_began", "_call", "_calls")

    def __init__(self, admission: Admission, call: Call) -> None:
        self._admission = admission
        self._call = call

    def __enter__(self) -> None:
        self._calls = self._admission._begun(self._call)  # noqa: SLF001 - a part of it
        self._began = time.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._admission._ended(self._began, self._calls, error)  # noqa: SLF001 - as above
