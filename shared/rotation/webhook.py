"""Posts events to a URL, as CloudEvents 1.0 in their structured JSON form (https://cloudevents.io).

What cannot be delivered is logged and dropped: an event must never delay what it reports, nor the end of the process.
"""

import datetime as dt
import json
import logging
import threading
import uuid
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from shared.backoff import backoff
from shared.rotation.events import Event
from shared.telemetry import log
from shared.threads import DaemonExecutor

if TYPE_CHECKING:
    import urllib3

SOURCE = "urn:scoring-gateway"
TYPE = "scoring-gateway.rotation."

# Seconds for one attempt; how many there are, and the pauses between them.
_TIMEOUT = 5.0
_ATTEMPTS = 4
_PAUSE_FIRST, _PAUSE_LAST = 1.0, 8.0
# Events that may wait, and seconds that they have at the end of the process, all together.
_MOST_WAITING, _CLOSING = 100, 2.0

# It logs each request's address at DEBUG.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Webhook:
    """Posts events to a URL, in order, in a thread of its own. It never logs the URL, which may contain a secret."""

    # _waiting  the events that are not delivered yet, in their order
    # _closing  set at the end: each event then has one attempt

    def __init__(self, url: str) -> None:
        self._url = url
        self._executor = DaemonExecutor(1, "webhook")
        self._pool: urllib3.PoolManager | None = None
        self._lock = threading.Lock()
        self._waiting: list[Future[None]] = []
        self._closing = threading.Event()

    def post(self, event: Event) -> None:
        """Deliver an event in the background."""
        with self._lock:
            self._waiting = [future for future in self._waiting if not future.done()]
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(self._executor.submit(self._deliver, event))
                return
        log.warning("the event %s of %s is not sent: %d others wait", event.kind, event.service, _MOST_WAITING)

    def close(self) -> None:
        """Deliver what is waiting, for two seconds at most, and end."""
        self._closing.set()
        with self._lock:
            _, left = wait(self._waiting, _CLOSING)
        self._executor.shutdown(cancel_futures=True)
        if left:
            log.warning("the webhook did not accept %d events before the end of the process", len(left))
        elif self._pool is not None:
            self._pool.clear()

    def _deliver(self, event: Event) -> None:
        body = json.dumps(document(event)).encode()
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self._try(body)
            if not reason:
                return
            if attempt == _ATTEMPTS or self._closing.wait(backoff(attempt, _PAUSE_FIRST, _PAUSE_LAST)):
                break
        log.warning("the webhook did not accept the event %s of %s: %s", event.kind, event.service, reason)

    def _try(self, body: bytes) -> str:
        """Why the event was not accepted; empty where it was."""
        import urllib3  # noqa: PLC0415 - a cold start does without

        if self._pool is None:
            self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)
        headers = {"Content-Type": "application/cloudevents+json"}
        try:
            response = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__  # its message contains the URL
        return "" if response.status < 300 else f"status {response.status}"


def document(event: Event) -> dict[str, Any]:
    """The event as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "type": TYPE + event.kind,
        "subject": event.service,
        "time": dt.datetime.fromtimestamp(event.at, dt.UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {"detail": event.detail, **event.data},
    }
