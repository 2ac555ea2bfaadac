"""What accompanies one request on its way through the gateway."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.errors import DeadlineExceeded
from shared.telemetry.timings import IN_PROGRESS, Timings

if TYPE_CHECKING:
    from shared.telemetry.trace import Trace


@dataclass(frozen=True)
class RequestContext:
    """One request's id, deadline, trace and timings.

    ``deadline`` is a point of ``time.monotonic()``; the trace headers follow https://www.w3.org/TR/trace-context/ and
    are empty where there is no trace. ``trace`` has the spans of a request that is sampled. ``images`` is how many the
    request has that are sent one by one.
    """

    request_id: str
    deadline: float
    traceparent: str = ""
    tracestate: str = ""
    timings: Timings = field(default_factory=Timings)
    images: int = 1
    trace: "Trace | None" = None

    def for_image(self, images: int) -> "RequestContext":
        """The context of one of so many images of the request; see :meth:`Timings.for_image`."""
        return replace(self, timings=self.timings.for_image(), images=images)

    def within(self, seconds: float) -> "RequestContext":
        """The context with a deadline that is at most so many seconds away."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + seconds))

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; zero or less when it has passed."""
        return self.deadline - time.monotonic()

    def timeout(self) -> asyncio.Timeout:
        """Bounds work that has no deadline of its own by the request's; it raises TimeoutError.

        Not for gRPC calls: they have a deadline, and a cancelled one leaves memory behind in gRPC.
        """
        return asyncio.timeout(max(self.remaining, 0))

    def deadline_exceeded(self) -> DeadlineExceeded:
        """The error to raise for a TimeoutError; it names the part of the request that was in progress."""
        return DeadlineExceeded(f"The deadline passed while {IN_PROGRESS[self.timings.latest]}.")
