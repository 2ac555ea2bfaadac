"""Finished requests as spans of OpenTelemetry's protocol; imported by the exporting thread alone."""

from collections.abc import Iterator, Mapping, Sequence

from protos import otlp_trace_pb2 as pb
from shared.telemetry.otlp import key_values, resource_of, scope
from shared.telemetry.timings import Span
from shared.telemetry.trace import Call, Trace, part_id
from shared.telemetry.tracer import FinishedRequest

# The trace is sampled (https://www.w3.org/TR/trace-context/#sampled-flag).
_FLAGS = 1


def traces_request(finished: Sequence[FinishedRequest], resource: Mapping[str, str]) -> bytes:
    """An export of requests."""
    spans = [span for request in finished for span in _spans(request)]
    request = pb.ExportTraceRequest(
        resource_spans=[
            pb.ResourceSpans(resource=resource_of(resource), scope_spans=[pb.ScopeSpans(scope=scope(), spans=spans)])
        ]
    )
    return request.SerializeToString()


def _spans(request: FinishedRequest) -> Iterator[pb.Span]:
    trace = request.trace
    root = _span(trace, trace.span_id, trace.parent_id, request.name, (trace.started_at, request.ended))
    root.kind = pb.Span.KIND_INTERNAL  # the host's is the server's
    root.attributes.extend(key_values(request.attributes.items()))
    if request.status >= 500:
        root.status.code = pb.Status.CODE_ERROR
    yield root
    for number, part in enumerate(request.parts):
        yield _part(trace, number, part)
    for call in trace.calls:
        yield _call(trace, call)


def _part(trace: Trace, number: int, part: Span) -> pb.Span:
    name, started, ended = part
    span = _span(trace, part_id(trace, number), trace.span_id, name, (started, ended))
    span.kind = pb.Span.KIND_INTERNAL
    return span


def _call(trace: Trace, call: Call) -> pb.Span:
    """As https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ has it."""
    span = _span(trace, call.span_id, trace.span_id, call.method, (call.started, call.ended))
    span.kind = pb.Span.KIND_CLIENT
    attributes: dict[str, str | int] = {
        "rpc.system.name": "grpc",
        "rpc.method": call.method,
        "rpc.response.status_code": call.status,
        "server.address": call.server[0],
        "server.port": call.server[1],
    }
    if call.status != "OK":
        attributes["error.type"] = call.status
        span.status.code = pb.Status.CODE_ERROR
    span.attributes.extend(key_values(attributes.items()))
    return span


def _span(trace: Trace, span_id: str, parent_id: str, name: str, times: tuple[float, float]) -> pb.Span:
    return pb.Span(
        trace_id=bytes.fromhex(trace.trace_id),
        span_id=bytes.fromhex(span_id),
        parent_span_id=bytes.fromhex(parent_id),
        name=name,
        start_time_unix_nano=trace.nanoseconds(times[0]),
        end_time_unix_nano=trace.nanoseconds(times[1]),
        flags=_FLAGS,
    )
