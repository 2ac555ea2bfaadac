"""An HTTP server with scripted responses in place of the gateway, or of the receiver of a webhook."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LABELS = [{"id": 967, "label": "espresso", "score": 0.95}, {"id": 968, "label": "cup", "score": 0.02}]


@dataclass(frozen=True)
class Response:
    """A response; it is sent when ``gate`` is set; ``cut`` closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    gate: threading.Event | None = None


def scored(labels: list[dict[str, Any]] = LABELS, **more: Any) -> Response:
    """The gateway's response with labels."""
    predictions = [{"file": "body", "labels": labels, **more}]
    return Response(
        body=json.dumps(
            {"service": "imagenet", "model": "imagenet", "request_id": "r-1", "predictions": predictions}
        ).encode()
    )


def problem(
    status: int, title: str, detail: str = "", members: Mapping[str, object] | None = None, **headers: str
) -> Response:
    """A problem document, with extension members and HTTP headers (``_`` for ``-``)."""
    document = {
        "type": "urn:problem-type:scoring-gateway:x",
        "title": title,
        "status": status,
        "detail": detail,
        "remedy": "Do better.",
        "request_id": "r-2",
        **(members or {}),
    }
    return Response(status, json.dumps(document).encode(), headers)


@dataclass(frozen=True)
class Request:
    """A received request; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Server:
    """A real HTTP server. It sends the responses of ``script`` in order, then those of ``respond``."""

    def __init__(self) -> None:
        self.script: list[Response] = []
        self.respond: Callable[[Request], Response] = lambda _request: scored()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.02))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    def next(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            return self.script.pop(0) if self.script else self.respond(request)

    def close_listener(self) -> None:
        """Accept no more connections; requests on open ones still get a response."""
        self._server.shutdown()
        self._server.socket.close()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One request per connection."""

            def handle(self) -> None:
                with suppress(ConnectionError):  # the client closed the connection
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                response = server.next(Request(self.path, headers, body))
                if response.gate:
                    response.gate.wait(60)
                if response.cut:
                    return
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_arguments: Any) -> None:
                """Log nothing."""

        return Handler
