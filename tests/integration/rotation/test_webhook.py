"""The webhook with a real HTTP server: events, retries and logging."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.rotation import webhook
from shared.rotation.events import Event
from shared.rotation.webhook import Webhook
from tests.support.clients.gateway_server import Response, Server
from tests.support.devstack.processes import wait_until

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
    hook = Webhook(f"{url}/hook?{SECRET}")
    for event in events:
        hook.post(event)
    wait_until(lambda: all(future.done() for future in hook._waiting), "all are delivered or discarded")
    hook.close()


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


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_dead_receiver_does_not_delay_the_end(
    silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "_CLOSING", 0.2)
    hook = Webhook(f"{silent}/hook?{SECRET}")
    for _ in range(10):
        hook.post(EVENT)
    thread = next(thread for thread in threading.enumerate() if thread.name.startswith("webhook"))

    hook.close()

    assert thread.daemon
    assert thread.is_alive()  # still waiting for a response to the first attempt at the first event
    assert caplog.messages == ["the webhook did not accept 10 events before the end of the process"]


def test_at_the_end_each_event_has_one_more_attempt(receiver: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_PAUSE_FIRST", 60.0)
    monkeypatch.setattr(webhook, "_PAUSE_LAST", 60.0)
    receiver.script = [Response(500)]
    hook = Webhook(f"{receiver.url}/hook?{SECRET}")
    hook.post(EVENT)
    hook.post(Event("old-pins-dropped", "cats", 0.0, ""))
    wait_until(lambda: len(receiver.bodies) == 1, "the first attempt has failed")

    hook.close()

    types = [body["type"].rpartition(".")[2] for body in bodies(receiver)]
    assert types == ["certificate-rotated", "old-pins-dropped"]


def test_the_number_of_events_that_wait_is_bounded(
    silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "_CLOSING", 0.0)
    hook = Webhook(f"{silent}/hook?{SECRET}")

    for _ in range(webhook._MOST_WAITING + 2):
        hook.post(EVENT)

    assert caplog.messages == ["the event certificate-rotated of cats is not sent: 100 others wait"] * 2
    hook.close()
