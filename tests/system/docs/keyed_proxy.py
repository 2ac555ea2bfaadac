"""A proxy that requires the function key, as the Functions host in Azure does, and simulates its errors on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from functions.http.problems import problem_response
from shared.errors import ServiceBusy

KEY = "the-function-key"
# Read without a key, as in Azure.
_ANONYMOUS = "/api/openapi.json"

# Hop-by-hop, never to be forwarded (RFC 9110, section 7.6.1), and those that the proxy writes itself.
_NOT_FORWARDED = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "date", "server"}
# Instead of the client's: httpx decompresses a response, whose header would still be forwarded.
_NOT_COMPRESSED = {"accept-encoding": "identity"}


@dataclass
class KeyedProxy:
    """The running proxy; ``statuses`` has the status of each response.

    The next ``busy`` requests get 503 and a Retry-After of one second. ``empty_status``, where set, is the status of
    all responses, without a body. ``stalled``, where set, is waited for before each response.
    """

    port: int = 0
    busy: int = 0
    empty_status: int | None = None
    stalled: threading.Event | None = None
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def stalling(self) -> Iterator[None]:
        """Requests within the context get no response before its end."""
        self.stalled = threading.Event()
        try:
            yield
        finally:
            self.stalled.set()
            self.stalled = None


@contextmanager
def keyed_proxy(gateway: str) -> Iterator[KeyedProxy]:
    """A proxy in front of the gateway, open inside the context."""
    opened = KeyedProxy()
    with httpx.Client(base_url=gateway, timeout=60, trust_env=False) as made:

        class Handler(_Handler):
            proxy = opened
            client = made

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # So that closing it waits for the connections' threads.
        server.daemon_threads = False
        opened.port = server.server_port
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield opened
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: KeyedProxy
    client: httpx.Client
    protocol_version = "HTTP/1.1"
    # Seconds: an idle connection must not delay the end of the test.
    timeout = 30

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *_arguments: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.proxy.stalled is not None:
            self.proxy.stalled.wait()
            self.close_connection = True
        elif self.proxy.empty_status is not None:
            self._respond(self.proxy.empty_status, {}, b"")
        elif self.headers.get("x-functions-key") != KEY and self.path != _ANONYMOUS:
            self._respond(401, {}, b"")
        elif self.proxy.busy:
            self.proxy.busy -= 1
            refusal = problem_response(ServiceBusy("The service is busy.", retry_after=1), "a-request")
            self._respond(refusal.status_code, dict(refusal.headers), refusal.get_body())
        else:
            headers = {**_forwarded(self.headers), **_NOT_COMPRESSED}
            response = self.client.request(self.command, self.path, content=body, headers=headers)
            self._respond(response.status_code, _forwarded(response.headers), response.content)

    def _respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.proxy.statuses.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _forwarded(headers: object) -> dict[str, str]:
    pairs = dict(headers.items())  # type: ignore[attr-defined]  # email's and httpx's headers share no type but this
    return {name.lower(): value for name, value in pairs.items() if name.lower() not in _NOT_FORWARDED}
