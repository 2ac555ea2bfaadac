"""What the tests of the command-line client share: the package, found where it is, and a server that says anything."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "clients" / "scoring-client" / "src"
sys.path.insert(0, str(SOURCE))

LABELS = [{"id": 967, "label": "espresso", "score": 0.95}, {"id": 968, "label": "cup", "score": 0.02}]


@dataclass(frozen=True)
class Answer:
    """What the server says; ``cut`` breaks the connection instead, and ``gate`` is waited for before."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    gate: threading.Event | None = None


def scored(labels: list[dict[str, Any]] = LABELS, **more: Any) -> Answer:
    """Labels, as the gateway answers them."""
    predictions = [{"file": "body", "labels": labels, **more}]
    return Answer(
        body=json.dumps(
            {"service": "imagenet", "model": "imagenet", "request_id": "r-1", "predictions": predictions}
        ).encode()
    )


def problem(status: int, title: str, detail: str = "", slug: str = "x", **headers: str) -> Answer:
    """A problem document."""
    document = {
        "type": f"urn:problem-type:scoring-gateway:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "remedy": "Do better.",
        "request_id": "r-2",
    }
    return Answer(status, json.dumps(document).encode(), headers)


@dataclass(frozen=True)
class Request:
    """What the server got; the names of the headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Server:
    """A real HTTP server. It gives the answers of ``script`` in turn, then those of ``answer``."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.answer: Callable[[Request], Answer] = lambda _request: scored()
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

    def next(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.script.pop(0) if self.script else self.answer(request)

    def refuse(self) -> None:
        """Take no more connections; those that are open get their answers."""
        self._server.shutdown()
        self._server.socket.close()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One request a connection."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = server.next(Request(self.path, headers, body))
                if answer.gate:
                    answer.gate.wait(60)
                if answer.cut:
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_arguments: Any) -> None:
                """Nothing to tell."""

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, as the gateway that the client's environment names."""
    made = Server()
    for name in ("SCORING_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SCORING_URL", made.url)
    yield made
    made.stop()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with images, and with what else lies about in such folders."""
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", ".cache/c.jpg", "deep/er/d.heic", "deep/e.webp"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    return folder
