"""For the tests of the control plane's client: its accomplices, and a scripted server for answers no real one gives."""

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
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployment_timing import Timing
from shared.fpga.deployment_types import Account

ACCOUNT = Account("00000000-0000-0000-0000-000000000000", "scoring-gateway", "local")

Json = dict[str, Any]


class Credential:
    """Issues tokens as the identity endpoint does, for what a scope names; ``issued`` counts them."""

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
    """A clock that only sleeping moves on, and little time really passes with it. ``slept`` lists the pauses."""

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
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass(frozen=True)
class Answer:
    """What is answered: a document or bytes. ``drop``: nothing, but the end of the connection. ``drip``: slowly."""

    content: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    drip: bool = False

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


DROP = Answer(drop=True)


class Script:
    """A TLS server that gives prepared answers in order, but answers discovery itself. ``requests`` is the rest."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
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

    def answer(self, request: Request) -> Answer:
        if "/providers/" in request.path:
            self.discoveries.append(request)
            location = self.location or f"{self.url}/swagger.json"
            return Answer({"location": "x", "properties": {"modelManagementSwaggerLocation": location}})
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else Answer({"error": {"message": "the script is over"}}, 418)

    def methods(self) -> Sequence[str]:
        return [request.method for request in self.requests]


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            try:
                super().handle()
            except (ssl.SSLError, ConnectionError):  # the client does not trust it, or has gone
                self.close_connection = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = script.answer(Request(self.command, self.path, headers, body))
            # One request a connection, so that the server's threads end with them.
            self.close_connection = True
            if answer.drop:
                return
            self.send_response(answer.status)
            for name, value in {
                "Connection": "close",
                "Content-Length": str(len(answer.body)),
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.drip:
                for byte in answer.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    return Handler


Connect = Callable[..., DeploymentClient]
