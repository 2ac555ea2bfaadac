"""An OpenTelemetry collector on loopback, built from the published definitions: it keeps what is exported to it."""

import gzip
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """``metrics`` and ``traces`` are the exports, in their order.

    ``status`` is how the next ones are answered, ``code`` over gRPC; while ``answering`` is clear, they are not.
    """

    url: str = ""
    status: int = 200
    code: grpc.StatusCode = grpc.StatusCode.OK
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    answering: threading.Event = field(default_factory=threading.Event)

    def latest(self) -> dict[str, Metric]:
        """The metrics of the last export, by name."""
        return by_name(self.metrics[-1])

    def spans(self) -> list[Span]:
        return [
            span
            for export in self.traces
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, exports: int, seconds: float = 10) -> None:
        """Wait until so many exports of metrics have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.metrics) >= exports, seconds)

    def wait_for_spans(self, spans: int, seconds: float = 10) -> None:
        """Wait until so many spans have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.spans()) >= spans, seconds)


def by_name(export: ExportMetricsServiceRequest) -> dict[str, Metric]:
    """The metrics of an export, by name."""
    [resource] = export.resource_metrics
    [scope] = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def attributes(found: Any) -> dict[str, Any]:
    """The attributes of a resource, a data point or a span."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in found.attributes}


@contextmanager
def running_collector(context: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector that answers at once."""
    collector = Collector()
    collector.answering.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with collector.arrived:
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                if collector.status == 200:
                    self._keep(body)
                collector.arrived.notify_all()
            collector.answering.wait(30)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _keep(self, body: bytes) -> None:
            if self.path == "/v1/metrics":
                collector.metrics.append(ExportMetricsServiceRequest.FromString(body))
            elif self.path == "/v1/traces":
                collector.traces.append(ExportTraceServiceRequest.FromString(body))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme, host = ("http", "127.0.0.1") if context is None else ("https", "localhost")
    collector.url = f"{scheme}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.answering.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_grpc_collector(credentials: grpc.ServerCredentials | None = None) -> Iterator[Collector]:
    """A collector that takes exports over gRPC."""
    collector = Collector()
    collector.answering.set()

    def keep(exports: list[Any], request: Any, context: grpc.ServicerContext) -> None:
        with collector.arrived:
            collector.headers.append({name: str(value) for name, value in context.invocation_metadata()})
            if collector.code is grpc.StatusCode.OK:
                exports.append(request)
            collector.arrived.notify_all()
        collector.answering.wait(30)
        if collector.code is not grpc.StatusCode.OK:
            context.abort(collector.code, "no")

    class Metrics(MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            keep(collector.metrics, request, context)
            return ExportMetricsServiceResponse()

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - as above
            keep(collector.traces, request, context)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    add_MetricsServiceServicer_to_server(Metrics(), server)  # type: ignore[no-untyped-call]
    add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    if credentials is None:
        collector.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        collector.url = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        collector.answering.set()
        server.stop(0).wait()
