"""Snapshots and finished requests as Application Insights' items; imported by the exporting thread alone.

One line of JSON each, as https://github.com/microsoft/ApplicationInsights-Home/tree/master/EndpointSpecs describes
them. The host sends a request of its own for each invocation, so the gateway's span is a dependency within that, as
its parts are: counted as a request, it would be counted twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from shared.telemetry import metrics
from shared.telemetry.instruments import Attributes, Histogram, Instrument, Value
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.timings import Span
from shared.telemetry.trace import Call, Trace, part_id
from shared.telemetry.tracer import FinishedRequest

_METRIC, _DEPENDENCY = "Metric", "RemoteDependency"
_IN_PROCESS, _GRPC = "InProc", "grpc"

# What metrics are grouped by, beside their names.
_NAMESPACE = "scoring-gateway"


@dataclass(frozen=True)
class Sender:
    """Who sends: the instrumentation key, the name of the role, its instance."""

    key: str
    role: str
    instance: str


def metric_items(snapshot: Snapshot, sender: Sender) -> list[bytes]:
    """An item for each point of a snapshot, which has what was counted since the one before."""
    at = _time(snapshot.at)
    return [
        _item(_METRIC, at, sender, {}, _metric(one, attributes, value))
        for one in metrics.INSTRUMENTS
        for attributes, value in snapshot.of(one).items()
    ]


def _metric(instrument: Instrument, attributes: Attributes, value: Value) -> Mapping[str, object]:
    about = instrument.about
    point: dict[str, object] = {"name": about.name, "ns": _NAMESPACE}
    if isinstance(value, list):
        assert isinstance(instrument, Histogram)  # noqa: S101 - for the type checker: only its values are lists
        # Its least and largest values are not known, and the buckets have no place here.
        point |= {"value": value[0], "count": int(sum(value[1:]))}
    else:
        point |= {"value": value, "count": 1}
    named = zip(about.attributes, attributes, strict=True)
    return {"ver": 2, "metrics": [point], "properties": {name: text for name, text in named if text}}


def trace_items(finished: Sequence[FinishedRequest], sender: Sender) -> list[bytes]:
    """Items for the requests, their parts and their calls."""
    return list(chain.from_iterable(_request(one, sender) for one in finished))


def _request(request: FinishedRequest, sender: Sender) -> Iterator[bytes]:
    trace = request.trace
    about = {name: str(value) for name, value in request.attributes.items() if value != ""}
    own: dict[str, object] = {
        "name": request.name,
        "id": trace.span_id,
        "type": _IN_PROCESS,
        "resultCode": str(request.status),
        "success": request.status < 500,
        "properties": about,
    }
    yield _dependency(trace, trace.parent_id, (trace.started_at, request.ended), own, sender)
    for number, part in enumerate(request.parts):
        yield _part(trace, number, part, sender)
    for call in trace.calls:
        yield _call(trace, call, sender)


def _part(trace: Trace, number: int, part: Span, sender: Sender) -> bytes:
    name, started, ended = part
    own = {"name": name, "id": part_id(trace, number), "type": _IN_PROCESS, "success": True}
    return _dependency(trace, trace.span_id, (started, ended), own, sender)


def _call(trace: Trace, call: Call, sender: Sender) -> bytes:
    own = {
        "name": call.method,
        "id": call.span_id,
        "type": _GRPC,
        "target": f"{call.server[0]}:{call.server[1]}",
        "resultCode": call.status,
        "success": call.status == "OK",
    }
    return _dependency(trace, trace.span_id, (call.started, call.ended), own, sender)


def _dependency(
    trace: Trace, parent: str, times: tuple[float, float], own: Mapping[str, object], sender: Sender
) -> bytes:
    tags = {"ai.operation.id": trace.trace_id, **({"ai.operation.parentId": parent} if parent else {})}
    data = {"ver": 2, "duration": _duration(times[1] - times[0]), **own}
    return _item(_DEPENDENCY, _time(trace.nanoseconds(times[0])), sender, tags, data)


def _item(kind: str, at: str, sender: Sender, tags: Mapping[str, str], data: Mapping[str, object]) -> bytes:
    envelope = {
        "name": f"Microsoft.ApplicationInsights.{kind}",
        "time": at,
        "iKey": sender.key,
        "tags": {"ai.cloud.role": sender.role, "ai.cloud.roleInstance": sender.instance, **tags},
        "data": {"baseType": f"{kind}Data", "baseData": data},
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _duration(seconds: float) -> str:
    """As ``days.hours:minutes:seconds``, with microseconds."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours // 24}.{hours % 24:02d}:{minutes:02d}:{min(rest, 59.999999):09.6f}"
