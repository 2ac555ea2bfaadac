"""Tells a URL of events, as CloudEvents 1.0 in their structured JSON form (https://cloudevents.io).

What cannot be delivered is logged and forgotten: an event must never hold up what it tells of.
"""

import datetime as dt
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from shared.telemetry import log
from shared.trust.events import Event

if TYPE_CHECKING:
    import urllib3

SOURCE = "urn:scoring-gateway"
TYPE = "scoring-gateway.rotation."

_TIMEOUT = 5.0
# Seconds before each further try.
_PAUSES = (0.5, 2.0, 8.0)


class Webhook:
    """Posts events to a URL, in order, in a thread of its own. It never tells the URL, which may hold a secret."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._executor = ThreadPoolExecutor(1, "webhook")
        self._pool: urllib3.PoolManager | None = None

    def post(self, event: Event) -> None:
        """Have an event delivered, soon."""
        self._executor.submit(self._deliver, event)

    def close(self) -> None:
        """Deliver what is waiting, and end."""
        self._executor.shutdown()
        if self._pool is not None:
            self._pool.clear()

    def _deliver(self, event: Event) -> None:
        body = json.dumps(document(event)).encode()
        reason = ""
        for pause in (*_PAUSES, None):
            reason = self._try(body)
            if not reason or pause is None:
                break
            time.sleep(pause)
        if reason:
            log.warning("the webhook did not take the event %s of %s: %s", event.kind, event.service, reason)

    def _try(self, body: bytes) -> str:
        """Why the event was not taken; empty where it was."""
        import urllib3  # noqa: PLC0415 - a cold start does without

        if self._pool is None:
            self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)
        headers = {"Content-Type": "application/cloudevents+json"}
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__  # its words hold the URL
        return "" if answer.status < 300 else f"status {answer.status}"


def document(event: Event) -> dict[str, Any]:
    """The event as CloudEvents has it."""
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
