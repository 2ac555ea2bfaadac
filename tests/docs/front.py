"""What stands before a gateway in Azure: it asks for the function key, and now and then there is no room."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from functions.answers import problem_answer
from shared.errors import ServiceBusy

KEY = "the-function-key"

# Of one connection to the next, and never to be passed on (RFC 9110, section 7.6.1); the last two are made anew.
_OWN = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "date", "server"}


@dataclass
class Front:
    """A door to the gateway. ``busy`` requests are still to be told to come again after a second."""

    port: int = 0
    busy: int = 0
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def front(gateway: str) -> Iterator[Front]:
    """The door, open inside the context."""
    opened = Front()
    with httpx.Client(base_url=gateway, timeout=60, trust_env=False) as made:

        class Handler(_Handler):
            door = opened
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
    door: Front
    client: httpx.Client
    protocol_version = "HTTP/1.1"
    # Seconds: a client that keeps its connection does not keep the test.
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("x-functions-key") != KEY:
            self._answer(401, {}, b"")
        elif self.door.busy:
            self.door.busy -= 1
            refusal = problem_answer(ServiceBusy("There is no room.", retry_after=1), "a-request")
            self._answer(refusal.status_code, dict(refusal.headers), refusal.get_body())
        else:
            answer = self.client.post(self.path, content=body, headers=_passed_on(self.headers))
            self._answer(answer.status_code, _passed_on(answer.headers), answer.content)

    def log_message(self, *_arguments: object) -> None:
        pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.door.statuses.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _passed_on(headers: object) -> dict[str, str]:
    pairs = dict(headers.items())  # type: ignore[attr-defined]  # email's and httpx's headers share no type but this
    return {name: value for name, value in pairs.items() if name.lower() not in _OWN}
