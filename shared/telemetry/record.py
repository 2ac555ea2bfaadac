"""One request as telemetry sees it: what is learned of it on its way, and what is counted at its end."""

import time
from contextvars import ContextVar

from shared.telemetry import metrics
from shared.telemetry.context import RequestContext

# The endpoints whose POST requests score, by the names of their triggers.
SCORING = frozenset({"score", "tensorflow-serving", "open-inference"})


class RequestRecord:
    """A request in progress; ``service``, ``context`` and ``target`` are known once a service was chosen.

    ``target`` is the latency target in seconds, ``problem`` the problem type of a request that failed.
    """

    __slots__ = ("context", "detail", "endpoint", "problem", "request_id", "service", "started", "target")

    def __init__(self, endpoint: str, request_id: str) -> None:
        self.endpoint = endpoint
        self.request_id = request_id
        self.started = time.perf_counter()
        self.service = ""
        self.context: RequestContext | None = None
        self.target = 0.0
        self.problem = ""
        self.detail = ""

    def served_by(self, service: str, context: RequestContext, target: float) -> None:
        """Note the service that scores it."""
        self.service = service
        self.context = context
        self.target = target

    def failed(self, problem: str, detail: str) -> None:
        """Note why it failed."""
        self.problem = problem
        self.detail = detail


_current: ContextVar[RequestRecord] = ContextVar("request_record")


def begin(endpoint: str, request_id: str) -> RequestRecord:
    """The record of the request that starts now, in this task."""
    record = RequestRecord(endpoint, request_id)
    _current.set(record)
    return record


def current() -> RequestRecord:
    """The record of this task's request."""
    return _current.get()


def count(record: RequestRecord, status: int) -> None:
    """Count a request that scores, at its end."""
    seconds = time.perf_counter() - record.started
    service, endpoint = record.service, record.endpoint
    outcome = "ok" if status < 400 else "rejected" if status < 500 else "failed"
    metrics.REQUEST_DURATION.record((service, endpoint, outcome), seconds)
    if status >= 400:
        metrics.REQUEST_ERRORS.add((service, endpoint, record.problem or f"status-{status}"))
    if record.context is None:
        return
    timings = record.context.timings
    for part, spent in timings.parts():
        if spent:
            metrics.PART_DURATION.record((service, part), spent)
    if status < 400 and seconds - timings.service_seconds <= record.target:
        metrics.WITHIN_TARGET.add((service, endpoint))
