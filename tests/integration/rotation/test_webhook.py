"""The webhook with a real HTTP server: events, retries and logging."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.rotation import webhook
from shared.rotation.events import Event
from shared.rotation.webhook import Webhook
from tests.support.clients.gateway_server import Response, Server

EVENT = Event("certificate-rotated", "cats", 1_700_000_000.0, "The service serves it.", {"fingerprint": "ab"})

SECRET = "sig=2f7a-secret"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_PAUSE_LAST", 0.01)


@pytest.fixture
def receiver() -> Iterator[Server]:
    """A server that accepts all events."""
    server = Server()
    server.respond = lambda _request: Response()
    yield server
    server.stop()


def bodies(receiver: Server) -> list[dict[str, Any]]:
    return [json.loads(body) for body in receiver.bodies]


def deliver(url: str, *events: Event) -> None:
    """Post events to a URL with a secret, and wait until all are delivered or discarded."""
    webhook = Webhook(f"{url}/hook?{SECRET}")
    for event in events:
        webhook.post(event)
    webhook.close()


def test_an_event_is_sent_in_the_format_of_cloud_events(receiver: Server) -> None:
    deliver(receiver.url, EVENT)

    (body,) = bodies(receiver)
    assert receiver.requests[0].headers["content-type"] == "application/cloudevents+json"
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


def test_an_event_is_sent_again_after_a_server_error(receiver: Server, caplog: pytest.LogCaptureFixture) -> None:
    receiver.script = [Response(500), Response(503)]

    deliver(receiver.url, EVENT)

    assert len(receiver.bodies) == 3
    assert len({body["id"] for body in bodies(receiver)}) == 1
    assert caplog.messages == []


def test_events_are_sent_in_order(receiver: Server) -> None:
    receiver.script = [Response(500)]

    deliver(receiver.url, EVENT, Event("old-pins-dropped", "cats", 0.0, ""))

    types = [body["type"].rpartition(".")[2] for body in bodies(receiver)]
    assert types == ["certificate-rotated", "certificate-rotated", "old-pins-dropped"]


@pytest.mark.parametrize("status", [500, 404, 307])
def test_an_event_is_discarded_after_four_attempts_and_the_url_is_not_logged(
    receiver: Server, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.respond = lambda _request: Response(status, headers={"Location": f"{receiver.url}/redirected"})
    caplog.set_level("DEBUG")

    deliver(receiver.url, EVENT)

    assert len(receiver.bodies) == 4
    assert caplog.messages[-1] == f"the webhook did not accept the event certificate-rotated of cats: status {status}"
    assert SECRET not in "".join(caplog.messages)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://unknown.invalid", "http://["])
def test_an_event_is_discarded_if_the_server_is_unreachable(caplog: pytest.LogCaptureFixture, url: str) -> None:
    caplog.set_level("DEBUG")

    deliver(url, EVENT)

    assert "did not accept the event" in caplog.messages[-1]
    assert SECRET not in "".join(caplog.messages)
