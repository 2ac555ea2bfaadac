"""The sample photograph: what is sent, and what a person gets to read."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from devstack import photos, sample
from devstack.sample import SampleFailed, Upload, score, table

ANSWER = {
    "service": "imagenet",
    "predictions": [{"labels": [{"label": "espresso", "score": 0.951}, {"label": "cup", "score": 0.015}]}],
}
UPLOAD = Upload("cup.jpg", b"\xff\xd8 and so on")


@dataclass
class Gateway:
    """A server with one answer, and the requests that it got."""

    status: int
    body: Any
    headers: dict[str, str]
    address: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def answering(status: int = 200, body: Any = ANSWER, **headers: str) -> Iterator[Gateway]:
    gateway = Gateway(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            gateway.requests.append((self.path, dict(self.headers), content))
            self.send_response(gateway.status)
            for name, value in gateway.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(gateway.body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        gateway.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()


async def test_the_file_is_sent_as_it_is_and_its_labels_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(Server_Timing="decode;dur=1.5, total;dur=2.5") as gateway:
        await score(gateway.address, UPLOAD)

    ((path, headers, content),) = gateway.requests
    assert (path, content) == ("/api/score", UPLOAD.content)
    assert headers["Content-Type"] == "image/jpeg"
    assert "x-functions-key" not in headers
    printed = capsys.readouterr().out
    assert "cup.jpg scored by the service 'imagenet'" in printed
    assert "decode 1.5, total 2.5 (ms)" in printed


async def test_the_key_is_sent_where_there_is_one() -> None:
    with answering() as gateway:
        await score(gateway.address, UPLOAD, "the-key")

    assert gateway.requests[0][1]["x-functions-key"] == "the-key"


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with answering() as gateway:
        await score(gateway.address, UPLOAD)

    assert len(gateway.requests) == 1


@pytest.mark.parametrize("kind", ["application/problem+json", "application/problem+json; charset=utf-8"])
async def test_a_problem_is_told_with_its_remedy(kind: str) -> None:
    problem = {"title": "Key Vault cannot be reached", "detail": "It gave no answer.", "remedy": "Start it."}
    with answering(503, problem, Content_Type=kind) as gateway, pytest.raises(SampleFailed) as failed:
        await score(gateway.address, UPLOAD)

    assert str(failed.value) == (
        "The sample photograph was not scored: Key Vault cannot be reached. It gave no answer. Start it."
    )


async def test_a_problem_may_have_no_remedy() -> None:
    problem = {"title": "Internal error.", "detail": "A fault."}
    with (
        answering(500, problem, Content_Type="application/problem+json") as gateway,
        pytest.raises(SampleFailed, match=r"not scored: Internal error\. A fault\.$"),
    ):
        await score(gateway.address, UPLOAD)


async def test_any_other_answer_is_told_by_its_status() -> None:
    with answering(404, "nothing here") as gateway, pytest.raises(SampleFailed, match=r"not scored: status 404\."):
        await score(gateway.address, UPLOAD)


async def test_a_gateway_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(SampleFailed, match=f"The sample photograph was not scored: {address} gave no answer "):
        await score(address, UPLOAD)


async def test_a_gateway_that_hangs_up_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(SampleFailed, match=r"gave no answer \(.+\)"):
            await score(f"http://127.0.0.1:{listener.getsockname()[1]}", UPLOAD)
        thread.join()


def test_the_table_aligns_labels_scores_and_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        encoding = "utf-8"

    monkeypatch.setattr("sys.stdout", Stream())

    assert table("cup.jpg", ANSWER, "").splitlines() == [
        "",
        "cup.jpg scored by the service 'imagenet':",
        "",
        "  espresso   95.10%  " + 23 * "█",
        "  cup         1.50%",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", None])
def test_a_terminal_that_has_no_block_gets_another_bar(monkeypatch: pytest.MonkeyPatch, encoding: str | None) -> None:
    class Stream:
        pass

    Stream.encoding = encoding  # type: ignore[attr-defined]
    monkeypatch.setattr("sys.stdout", Stream())

    printed = table("cup.jpg", ANSWER, "total;dur=1")

    assert 23 * "#" in printed
    printed.encode(encoding or "ascii")


def test_the_photograph_is_an_image_that_a_gateway_takes() -> None:
    upload = sample.load()

    assert (upload.name, upload.content_type) == ("coffee.png", "image/png")
    assert upload.content.startswith(b"\x89PNG")
    assert "PNG" not in repr(upload)


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "available", lambda: {sample.PHOTO: tmp_path / "gone.png"})

    with pytest.raises(SampleFailed, match=r"gone\.png cannot be read \(No such file or directory\)"):
        sample.load()
