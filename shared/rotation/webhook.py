"""Posts events to a URL, as CloudEvents 1.0 in their structured JSON form (https://cloudevents.io).

What cannot be delivered is logged and dropped: an event must never delay what it reports.
"""

import datetime as dt
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from shared.backoff import backoff
from shared.rotation.events import Event
from shared.telemetry import log

if TYPE_CHECKING:
    import urllib3

SOURCE = "urn:scoring-gateway"
TYPE = "scoring-gateway.rotation."

# Seconds for one attempt; how many there are, and the pauses between them.
_TIMEOUT = 5.0
_ATTEMPTS = 4
_PAUSE_FIRST, _PAUSE_LAST = 1.0, 8.0


class Webhook:
    """Posts events to a URL, in order, in a thread of its own. It never logs the URL, which may contain a secret."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._executor = ThreadPoolExecutor(1, "webhook")
        self._pool: urllib3.PoolManager | None = None

    def post(self, event: Event) -> None:
        """Deliver an event in the background."""
        self._executor.submit(self._deliver, event)

    def close(self) -> None:
        """Deliver what is waiting, and end."""
        self._executor.shutdown()
        if self._pool is not None:
            self._pool.clear()

    def _deliver(self, event: Event) -> None:
        body = json.dumps(document(event)).encode()
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self._try(body)
            if not reason:
                return
            if attempt < _ATTEMPTS:
                time.sleep(backoff(attempt, _PAUSE_FIRST, _PAUSE_LAST))
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
