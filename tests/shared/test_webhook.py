"""The webhook, against a real HTTP server: what it is told, how often, and what the log keeps to itself."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared import webhook
from shared.trust.events import Event
from shared.webhook import Webhook

EVENT = Event("certificate-rotated", "cats", 1_700_000_000.0, "The service serves it.", {"fingerprint": "ab"})

SECRET = "sig=2f7a-secret"


@dataclass
class Receiver:
    """A server that answers with one status after the other, the last one for ever, and keeps what it was sent."""

    statuses: list[int] = field(default_factory=lambda: [200])
    types: list[str] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    url: str = ""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            made.types.append(self.headers["Content-Type"])
            self.send_response(made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0])
            self.send_header("Location", made.url + "&elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}/hook?{SECRET}"
        yield made
        server.shutdown()
        thread.join()


def deliver(url: str, *events: Event) -> None:
    """Post events, and wait until all are delivered or given up."""
    made = Webhook(url)
    for event in events:
        made.post(event)
    made.close()


def test_an_event_arrives_as_cloud_events_has_it(receiver: Receiver) -> None:
    deliver(receiver.url, EVENT)

    (body,) = receiver.bodies
    assert receiver.types == ["application/cloudevents+json"]
    assert body.pop("id")
    assert body == {
        "specversion": "1.0",
        "source": "urn:scoring-gateway",
        "type": "scoring-gateway.rotation.certificate-rotated",
        "subject": "cats",
        "time": "2023-11-14T22:13:20+00:00",
        "datacontenttype": "application/json",
        "data": {"detail": "The service serves it.", "fingerprint": "ab"},
    }


def test_a_server_in_trouble_is_asked_again_with_the_same_event(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 503, 200]

    deliver(receiver.url, EVENT)

    assert len(receiver.bodies) == 3
    assert len({str(body["id"]) for body in receiver.bodies}) == 1
    assert caplog.messages == []


def test_events_arrive_in_their_order(receiver: Receiver) -> None:
    receiver.statuses = [500, 200]

    deliver(receiver.url, EVENT, Event("old-pins-dropped", "cats", 0.0, ""))

    types = [str(body["type"]).rpartition(".")[2] for body in receiver.bodies]
    assert types == ["certificate-rotated", "certificate-rotated", "old-pins-dropped"]


@pytest.mark.parametrize("status", [500, 404, 307])
def test_what_is_not_taken_is_given_up_and_the_address_stays_unsaid(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.statuses = [status]
    caplog.set_level("DEBUG")

    deliver(receiver.url, EVENT)

    assert len(receiver.bodies) == 4
    assert caplog.messages[-1] == f"the webhook did not take the event certificate-rotated of cats: status {status}"
    assert SECRET not in "".join(caplog.messages)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://nobody.invalid/hook", "http://[/hook"])
def test_an_address_where_nobody_is(caplog: pytest.LogCaptureFixture, url: str) -> None:
    caplog.set_level("DEBUG")

    deliver(f"{url}?{SECRET}", EVENT)

    assert "did not take the event" in caplog.messages[-1]
    assert SECRET not in "".join(caplog.messages)
