"""Requests that are meant to be misunderstood, at the local host with the gateway's own app: one request stays one."""

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.devstack.functions_host import StartHost
from tests.support.devstack.processes import ServerProcess

HIDDEN = b"GET /api/health/live?hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(start_host: StartHost) -> Iterator[ServerProcess]:
    settings = {"SERVICES": "cats", "SERVICE__CATS__ADDRESS": "127.0.0.1", "SERVICE__CATS__PORT": "9"}
    with start_host(str(ROOT), **settings, SERVICE__CATS__TLS="insecure-no-key-is-sent") as host:
        yield host


def exchange(host: ServerProcess, data: bytes) -> bytes:
    """Send bytes, and return all that is answered before the connection is closed or two seconds pass."""
    address = urlsplit(host.address)
    answered = b""
    with socket.create_connection((address.hostname, address.port), 2) as connection:
        connection.sendall(data)
        try:
            while piece := connection.recv(65_536):
                answered += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return answered


def statuses(answered: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answered)]


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nContent-Length: %d\r\n",
        b"Content-Length: %d, 5\r\n",
        b"Content-Length: +%d\r\n",
        b"Content-Length: 0x%x\r\n",
        b"Content-Length: -1%d\r\n",
        b"Content-Length : %d\r\n",
        b"Content-Length:\r\n %d\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding: chunked, identity\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Content-Length: %d\nTransfer-Encoding: chunked\n",
        b"Content-Length: %d\r\nX: y\rTransfer-Encoding: chunked\r\n",
        b"Content-Length: %d\r\nX: \0\r\n",
    ],
)
def test_a_body_with_an_ambiguous_length_hides_no_second_request(gateway: ServerProcess, headers: bytes) -> None:
    """What follows the headers is the body, by any reading that is answered; other requests are refused."""
    body = b"0\r\n\r\n" + HIDDEN
    head = b"POST /api/score HTTP/1.1\r\nHost: localhost\r\n" + headers % len(body)
    assert statuses(exchange(gateway, HIDDEN.replace(b"hidden", b"seen"))) == [200]

    found = statuses(exchange(gateway, head + b"\r\n" + body))

    assert 200 not in found, "the hidden request was answered"
    assert "hidden" not in gateway.log


def test_a_request_with_both_lengths_ends_the_connection_or_hides_nothing(gateway: ServerProcess) -> None:
    body = b"0\r\n\r\n" + HIDDEN
    head = b"POST /api/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n"

    found = statuses(exchange(gateway, head % len(body) + body))

    assert 200 not in found


@pytest.mark.parametrize(
    "path",
    [
        "/web/../function_app.py",
        "/web/%2e%2e/function_app.py",
        "/web/..%2ffunction_app.py",
        "/web/..%5cfunction_app.py",
        "/web/%252e%252e%252ffunction_app.py",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/app.js%00.css",
        "/web/app.js/../../local.settings.json",
        "/../local.settings.json",
        "/local.settings.json",
        "/web/.",
    ],
)
def test_the_static_route_serves_no_other_file(gateway: ServerProcess, path: str) -> None:
    answered = exchange(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    assert statuses(answered)[0] in {400, 404}
    assert not any(text in answered for text in (b"import azure", b"IsEncrypted", b"root:"))


def test_the_validation_url_of_an_event_grid_subscription_is_never_fetched(gateway: ServerProcess) -> None:
    fetched = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/validate"
        events = [
            {
                "id": "1",
                "topic": "/vaults/v",
                "subject": "",
                "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                "eventTime": "2024-01-01T00:00:00Z",
                "dataVersion": "1",
                "data": {"validationCode": "512d38b6", "validationUrl": url},
            }
        ]
        for function in ("vault_event", "nothing"):
            httpx.post(
                f"{gateway.address}/runtime/webhooks/EventGrid",
                params={"functionName": function},
                json=events,
                headers={"aeg-event-type": "SubscriptionValidation"},
            )
        server.shutdown()

    assert fetched == []
