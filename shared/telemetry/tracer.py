"""Which requests are traced, and those that wait for their export; imported where traces are exported.

A request has one span, with its parts and its calls of the service as children. It is sampled where its caller's own
``traceparent`` says so, or by a ratio. The host's span is its parent where there is one, though that often says "not
sampled". What is not sampled costs a look at the header.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.telemetry import metrics
from shared.telemetry.context import RequestContext
from shared.telemetry.timings import PREDICT, Span
from shared.telemetry.trace import CALLS, Trace, random_id

# Requests that may wait to be exported.
WAITING = 512

# Of a trace id, what the ratio is compared with: the same at each hop.
_RANDOM_DIGITS, _RANDOM_BITS = 14, 56


@dataclass(frozen=True)
class Sampler:
    """Samples as the caller does where ``follows`` and it sent a ``traceparent``; otherwise that share of requests."""

    follows: bool
    ratio: float

    def samples(self, sent: str, trace_id: str) -> bool:
        """Whether to sample a request with the header ``sent`` by its caller."""
        if self.follows and sent:
            # The last hexadecimal digit of the flags has the bit; of what is no header, nothing is sampled.
            return len(sent) >= 55 and sent[54] in "13579bdf"
        return bool(self.ratio) and int(trace_id[-_RANDOM_DIGITS:], 16) < self.ratio * 2**_RANDOM_BITS


@dataclass(frozen=True)
class FinishedRequest:
    """A sampled request with all that its spans say; ``parts`` are those that have no span of a call."""

    trace: Trace
    name: str
    ended: float
    status: int
    attributes: Mapping[str, str | int]
    parts: tuple[Span, ...]

    @property
    def spans(self) -> int:
        """How many spans it has."""
        return 1 + len(self.parts) + len(self.trace.calls)


class Tracer:
    """Decides what is sampled, and holds finished requests until they are exported: a number of them, and no more."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._finished: deque[FinishedRequest] = deque()

    def traced(self, context: RequestContext, sent: str) -> RequestContext:
        """The context of a request, with a trace where it is sampled; ``sent`` is its caller's ``traceparent``."""
        trace_id = context.traceparent[3:35] or random_id(16)
        if not self._sampler.samples(sent, trace_id):
            return context
        trace = Trace(trace_id, context.traceparent[36:52])
        context.timings.spans = []
        return replace(context, traceparent=trace.traceparent(trace.span_id), trace=trace)

    def finish(self, context: RequestContext, name: str, status: int, attributes: Mapping[str, str | int]) -> None:
        """Keep a request that ends now until the next export, or drop it where too many wait."""
        trace = context.trace
        if trace is None:
            return
        parts = tuple(span for span in context.timings.spans or () if span[0] != PREDICT)[:CALLS]
        request = FinishedRequest(trace, name, time.perf_counter(), status, attributes, parts)
        if len(self._finished) < WAITING:
            self._finished.append(request)
        else:
            metrics.DROPPED_SPANS.add((), request.spans)

    def take(self) -> list[FinishedRequest]:
        """All that are finished; they are not kept any more."""
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def put_back(self, finished: Sequence[FinishedRequest]) -> None:
        """Keep requests once more whose export was refused: the latest, as far as there is room."""
        room = max(WAITING - len(self._finished), 0)
        dropped, kept = finished[: max(len(finished) - room, 0)], finished[max(len(finished) - room, 0) :]
        self._finished.extendleft(reversed(kept))
        if dropped:
            metrics.DROPPED_SPANS.add((), sum(one.spans for one in dropped))
