"""One request as telemetry sees it: what is learned of it on its way, and what is counted at its end."""

import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from shared.telemetry import metrics, request_log
from shared.telemetry.context import RequestContext

if TYPE_CHECKING:
    from shared.telemetry.tracer import Tracer

# The endpoints whose POST requests score, by the names of their triggers.
SCORING = frozenset({"score", "tensorflow-serving", "open-inference"})

# Characters of a detail in the log: the line must not be cut off.
_DETAIL = 1000


class Policy(NamedTuple):
    """What the settings say about requests: the latency ``target`` and the time from which one is ``slow``, in seconds.

    None is slow where that is 0; none is traced without a ``tracer``.
    """

    target: float
    slow: float
    tracer: "Tracer | None" = None


_NONE = Policy(0.0, 0.0)


class RequestRecord:
    """A request in progress; ``service``, ``context`` and the policy are known once a service was chosen.

    Of a request that failed, ``problem`` is its problem type, ``detail`` the cause, ``level`` that of its line in the
    log, 0 for none.
    """

    __slots__ = (
        "context",
        "detail",
        "endpoint",
        "level",
        "policy",
        "problem",
        "request_id",
        "service",
        "started",
    )

    def __init__(self, endpoint: str, request_id: str) -> None:
        self.endpoint = endpoint
        self.request_id = request_id
        self.started = time.perf_counter()
        self.service = self.problem = self.detail = ""
        self.context: RequestContext | None = None
        self.policy = _NONE
        self.level = 0

    def served_by(self, service: str, context: RequestContext, policy: Policy) -> None:
        """Note the service that scores it, and the policy."""
        self.service = service
        self.context = context
        self.policy = policy

    def failed(self, problem: str, detail: str, level: int) -> None:
        """Note why it failed."""
        self.problem = problem
        self.detail = detail
        self.level = level


_current: ContextVar[RequestRecord] = ContextVar("request_record")


def begin(endpoint: str, request_id: str) -> RequestRecord:
    """The record of the request that starts now, in this task."""
    record = RequestRecord(endpoint, request_id)
    _current.set(record)
    return record


def current() -> RequestRecord:
    """The record of this task's request."""
    return _current.get()


def end(record: RequestRecord, status: int, *, scores: bool) -> None:
    """Count a request that scores, at its end; log one that failed or was slow."""
    seconds = time.perf_counter() - record.started
    if scores:
        _count(record, status, seconds)
    is_slow = scores and 0 < record.policy.slow <= seconds
    if record.level or is_slow:
        _log(record, status, seconds)
    if record.policy.tracer is not None and record.context is not None:
        about: dict[str, str | int] = {
            "scoring.service": record.service,
            "http.response.status_code": status,
            "error.type": record.problem,
        }
        record.policy.tracer.finish(record.context, record.endpoint, status, about)


def _count(record: RequestRecord, status: int, seconds: float) -> None:
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
    if status < 400 and seconds - timings.service_seconds <= record.policy.target:
        metrics.WITHIN_TARGET.add((service, endpoint))


def _log(record: RequestRecord, status: int, seconds: float) -> None:
    context = record.context
    parts = () if context is None else context.timings.parts()
    what = {"event": "request-failed", "problem": record.problem, "detail": record.detail[:_DETAIL]}
    about: dict[str, object] = {
        **(what if record.level else {"event": "request-slow"}),
        "endpoint": record.endpoint,
        "request_id": record.request_id,
        "trace_id": "" if context is None else context.traceparent[3:35],
        "service": record.service,
        "status": status,
        "milliseconds": {"total": _milliseconds(seconds), **{part: _milliseconds(spent) for part, spent in parts}},
    }
    kind = record.endpoint, record.service, record.problem if record.level else ""
    request_log.write(record.level or logging.WARNING, kind, about)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
