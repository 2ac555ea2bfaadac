"""The spans of one request that is sampled, as they are noted on its way."""

import random
import time
from typing import NamedTuple

from shared.telemetry import metrics

# Calls of one request that have a span.
CALLS = 64


class Call(NamedTuple):
    """A gRPC call of a traced request; the times are of ``time.perf_counter()``."""

    span_id: str
    method: str
    status: str
    server: tuple[str, int]
    started: float
    ended: float


class Trace:
    """The identity of a request's span, and the ``calls`` of the service that were made within it."""

    __slots__ = ("calls", "parent_id", "span_id", "started", "started_at", "trace_id")

    def __init__(self, trace_id: str, parent_id: str) -> None:
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.span_id = random_id(8)
        # The same moment on two clocks: spans are measured on the latter.
        self.started = time.time_ns()
        self.started_at = time.perf_counter()
        self.calls: list[Call] = []

    def traceparent(self, span_id: str) -> str:
        """The header for what is called within a span."""
        return f"00-{self.trace_id}-{span_id}-01"

    def ended(self, call: Call) -> None:
        """Keep a call, up to a number."""
        if len(self.calls) < CALLS:
            self.calls.append(call)
        else:
            metrics.DROPPED_SPANS.add()

    def nanoseconds(self, at: float) -> int:
        """Unix time of a moment of ``time.perf_counter()``."""
        return self.started + int((at - self.started_at) * 1e9)


def random_id(size: int) -> str:
    """An id of so many bytes in hexadecimal, never all zeros."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"


def part_id(trace: Trace, number: int) -> str:
    """The id of the span of a request's part, made of the request's: nobody else refers to it."""
    return f"{(int(trace.span_id, 16) + number + 1) % 2**64 or 1:016x}"
