"""An OpenTelemetry collector as the receiver of exports; imported by the exporting thread alone."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.telemetry import otlp, otlp_spans
from shared.telemetry.post import Http
from shared.telemetry.receiver import SENT, Outcome
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.target import Target
from shared.telemetry.tracer import FinishedRequest

# The methods of the collector's services, by the signal.
_METHODS = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}


class Sender(Protocol):
    """Sends the messages of one signal."""

    def send(self, message: bytes, seconds: float) -> Outcome: ...

    def close(self) -> None: ...


class Collector:
    """Encodes exports, and sends them over HTTP or gRPC; a signal without a target is not exported."""

    name = "the collector"

    def __init__(
        self, metrics: Target | None, traces: Target | None, resource: Mapping[str, str], *, delta: bool
    ) -> None:
        self._resource = resource
        self._delta = delta
        targets = {"metrics": metrics, "traces": traces}
        self._senders = {signal: _sender(target, signal) for signal, target in targets.items() if target is not None}

    def metrics(self, snapshot: Snapshot, seconds: float) -> Outcome:
        return self._send("metrics", otlp.metrics_request(snapshot, self._resource, delta=self._delta), seconds)

    def traces(self, finished: Sequence[FinishedRequest], seconds: float) -> Outcome:
        return self._send("traces", otlp_spans.traces_request(finished, self._resource), seconds)

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()

    def _send(self, signal: str, message: bytes, seconds: float) -> Outcome:
        sender = self._senders.get(signal)
        return Outcome(SENT) if sender is None else sender.send(message, seconds)


def _sender(target: Target, signal: str) -> Sender:
    if not target.grpc:
        return _HttpSender(target)
    from shared.telemetry.otlp_grpc import GrpcSender  # noqa: PLC0415 - most collectors take HTTP

    return GrpcSender(target, _METHODS[signal])


class _HttpSender:
    def __init__(self, target: Target) -> None:
        self._http = Http(target)

    def send(self, message: bytes, seconds: float) -> Outcome:
        return self._http.post(message, {"Content-Type": "application/x-protobuf"}, seconds).outcome

    def close(self) -> None:
        self._http.close()
