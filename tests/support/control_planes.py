"""Fakes for tests of the control plane's client: a credential, a clock, and a server with scripted responses."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken

from devstack import tokens
from shared.control_plane.calls import Timing
from shared.control_plane.client import DeploymentClient
from shared.control_plane.types import Account

ACCOUNT = Account("00000000-0000-0000-0000-000000000000", "scoring-gateway", "local")

Json = dict[str, Any]


class Credential:
    """Issues tokens as the identity endpoint does, for the scope's resource or ``resource``; ``issued`` counts them."""

    def __init__(self, key: bytes, resource: str = "") -> None:
        self._key = key
        self._resource = resource
        self.issued = 0

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.issued += 1
        resource = self._resource or scopes[0].removesuffix("/.default")
        token = tokens.issue(self._key, resource=resource, now=time.time())
        return AccessToken(token.value, token.expires_on)


class FakeTime:
    """A clock that only ``sleep`` advances, without sleeping as long. ``slept`` lists the pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        time.sleep(min(seconds, 0.01))

    @property
    def timing(self) -> Timing:
        return Timing(clock=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5)


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass(frozen=True)
class Response:
    """A response with a document or bytes. ``drop`` closes the connection instead; ``drip`` sends the body slowly."""

    content: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    drip: bool = False

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


DROP = Response(drop=True)


class Script:
    """A TLS server that sends ``responses`` in order; discovery requests are recorded and served separately."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        self.discoveries: list[Request] = []
        self.location = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "Script":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_port}"

    def respond(self, request: Request) -> Response:
        if "/providers/" in request.path:
            self.discoveries.append(request)
            location = self.location or f"{self.url}/swagger.json"
            return Response({"location": "x", "properties": {"modelManagementSwaggerLocation": location}})
        self.requests.append(request)
        return self.responses.pop(0) if self.responses else Response({"error": {"message": "end of script"}}, 418)

    def methods(self) -> Sequence[str]:
        return [request.method for request in self.requests]


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            try:
                super().handle()
            except (ssl.SSLError, ConnectionError):  # the client rejected the certificate, or disconnected
                self.close_connection = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = script.respond(Request(self.command, self.path, headers, body))
            # One request per connection, so that the server's threads end with the requests.
            self.close_connection = True
            if response.drop:
                return
            self.send_response(response.status)
            for name, value in {
                "Connection": "close",
                "Content-Length": str(len(response.body)),
                **response.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if response.drip:
                for byte in response.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    return Handler


Connect = Callable[..., DeploymentClient]
