"""How much may be under way at one service at a time: what would only wait is refused at once.

A service that scores one image after the other answers no faster for having more of them before it. So a worker keeps
as many under way as the service needs to be busy all the time, and refuses the rest within a moment, while whoever sent
it can still do something else. There is no queue here: what was let in is being prepared, or is on its way.

The bound moves between one and the service's MAX_CONCURRENCY: it shrinks while answers take too long of the service's
deadline, as they do when many workers share the service, and grows back while they come in time (additive increase,
multiplicative decrease). A request that has less time left than the ones before it needed is refused as well.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import DeadlineExceeded, Overloaded, ServiceBusy
from shared.telemetry import Call

# The bound shrinks when an answer takes longer than this share of the service's deadline.
PATIENCE = 0.25
# What becomes of the bound then; and for how many answers in time it grows by one.
SHRINK = 0.9
# How much the latest answer counts in the pace: a service that recovers is believed sooner than one that slows down.
FASTER, SLOWER = 0.5, 0.1


class Admission:
    """Lets in, counts and refuses the images for one service; belongs to one event loop.

    ``ceiling`` is how many may be under way at most, ``deadline`` the service's own in seconds.
    """

    # _places  images that were let in and have not left
    # _calls   those of them that the service is scoring
    # _bound   how many places there are now, from 1 to the ceiling
    # _pace    seconds that a call takes for each one that is with the service; 0 while unknown
    # _shrunk  when the bound last shrank: calls that began before then have nothing new to say

    def __init__(self, ceiling: int, deadline: float) -> None:
        self._ceiling = float(ceiling)
        self._slow = deadline * PATIENCE
        self._places = 0
        self._calls = 0
        self._bound = self._ceiling
        self._pace = 0.0
        self._shrunk = 0.0

    @contextmanager
    def place(self, images: int, call: Call) -> Iterator[None]:
        """Places for the images of a request, for as long as a ``with`` block takes.

        One request is always let in, however many its images and however slow the service: or else nobody would ever
        learn that it is well again.

        Raises:
            Overloaded: there is no room, or the request could not be answered within its deadline.
        """
        wanted = self._places + images
        if self._places and wanted > self._bound:
            raise Overloaded(
                f"Images under way to the service: {self._places}, of {self._bound:.0f} at most.", retry_after=1
            )
        if self._places and wanted * self._pace > call.remaining:
            raise Overloaded(
                f"Images under way to the service: {self._places}; they leave no time for this one.", retry_after=1
            )
        self._places = wanted
        try:
            yield
        finally:
            self._places -= images

    @contextmanager
    def watch(self, call: Call) -> Iterator[None]:
        """Watch one call of the service, the ``with`` block: its time, and how it ends.

        Raises:
            DeadlineExceeded: the deadline has passed already, so that the call need not be made.
        """
        if call.remaining <= 0:
            raise DeadlineExceeded("The deadline passed while the request was waiting for its turn.")
        self._calls += 1
        calls, began = self._calls, time.monotonic()
        try:
            yield
        except (DeadlineExceeded, ServiceBusy) as error:
            if isinstance(error, ServiceBusy) or time.monotonic() - began > self._slow:
                self._shrink(began)
            raise
        else:
            self._learn(began, calls)
        finally:
            self._calls -= 1

    def __repr__(self) -> str:
        return f"<Admission {self._places} of {self._bound:.1f} places, {self._calls} calls, {self._pace:.4f} s each>"

    def _learn(self, began: float, calls: int) -> None:
        seconds = time.monotonic() - began
        pace = seconds / calls
        weight = FASTER if pace < self._pace else SLOWER
        self._pace = self._pace + weight * (pace - self._pace) if self._pace else pace
        if seconds > self._slow:
            self._shrink(began)
        elif self._bound < self._ceiling:
            self._bound = min(self._ceiling, self._bound + 1 / self._bound)

    def _shrink(self, began: float) -> None:
        if began >= self._shrunk:
            self._bound = max(1.0, self._bound * SHRINK)
            self._shrunk = time.monotonic()
