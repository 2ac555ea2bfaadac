"""The collector's routes: exports in, text out."""

from http import HTTPStatus

from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from devstack.collector import view
from devstack.rest.app import RestApp
from devstack.rest.bodies import Json, read_body
from devstack.rest.errors import BadRequest, NotFound
from protos import otlp_metrics_pb2, otlp_trace_pb2

# Bytes of an export, and what is kept: the latest traces, and the latest export of each worker.
_BODY = 8_000_000
_TRACES, _WORKERS = 20, 64


class CollectorApp(RestApp):
    """Keeps what is exported to it, and shows that."""

    unknown_route = "The routes are POST /v1/metrics, POST /v1/traces, GET / and GET /traces/{id}."

    # _traces   the spans of each trace, by its id; the latest last
    # _metrics  each worker's latest export, by its instance id

    def __init__(self) -> None:
        self._traces: dict[str, list[otlp_trace_pb2.Span]] = {}
        self._metrics: dict[str, otlp_metrics_pb2.ExportMetricsRequest] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/v1/metrics", self.answering(self._take_metrics), methods=["POST"]),
            Route("/v1/traces", self.answering(self._take_traces), methods=["POST"]),
            Route("/", self.answering(self._show), methods=["GET"]),
            Route("/traces/{id}", self.answering(self._show_trace), methods=["GET"]),
        ]

    def error_body(self, status: HTTPStatus, code: str, _inner: str | None, message: str) -> Json:
        return {"status": int(status), "code": code, "message": message}

    async def _take_metrics(self, request: Request) -> Response:
        export = otlp_metrics_pb2.ExportMetricsRequest()
        await _parse(request, export)
        for resource in export.resource_metrics:
            instance = next(
                (one.value.string_value for one in resource.resource.attributes if one.key == "service.instance.id"), ""
            )
            self._metrics.pop(instance, None)
            self._metrics[instance] = export
        _forget(self._metrics, _WORKERS)
        return Response()

    async def _take_traces(self, request: Request) -> Response:
        export = otlp_trace_pb2.ExportTraceRequest()
        await _parse(request, export)
        for resource in export.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._traces.setdefault(span.trace_id.hex(), []).append(span)
        _forget(self._traces, _TRACES)
        return Response()

    async def _show(self, _request: Request) -> Response:
        traces = [view.waterfall(spans) for spans in self._traces.values()]
        return PlainTextResponse("\n".join([*traces, view.table(self._metrics.values())]))

    async def _show_trace(self, request: Request) -> Response:
        spans = self._traces.get(request.path_params["id"])
        if spans is None:
            raise NotFound("No span of that trace has arrived.")
        return PlainTextResponse(view.waterfall(spans))


async def _parse(
    request: Request, message: otlp_metrics_pb2.ExportMetricsRequest | otlp_trace_pb2.ExportTraceRequest
) -> None:
    """Read an export's body.

    Raises:
        BadRequest: it is something else, or too large.
    """
    body = await read_body(request, _BODY)
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise BadRequest("The body is no export: http/protobuf without compression is taken.") from None


def _forget[T](kept: dict[str, T], most: int) -> None:
    """Keep the latest."""
    for key in list(kept)[: max(len(kept) - most, 0)]:
        del kept[key]
