"""Application Insights as the receiver of exports; imported by the exporting thread alone."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import GatewayError
from shared.telemetry import insights
from shared.telemetry.post import Http, can_pass
from shared.telemetry.receiver import PARTIAL, REFUSED, SENT, Outcome
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.target import Target
from shared.telemetry.tracer import FinishedRequest

# The endpoint's path for items.
TRACK = "/v2.1/track"

# Items that were to be sent once more, and may wait for the next export.
_WAITING = 2000


class ApplicationInsights:
    """Sends items, with a token where the resource demands one.

    Of an export that was accepted in part, the rest is sent with the next one where that may help, and dropped
    otherwise.
    """

    name = "Application Insights"

    # _again  items that the next export takes along

    def __init__(self, endpoint: str, seconds: float, sender: insights.Sender, token: Callable[[], str] | None) -> None:
        self._http = Http(Target(f"{endpoint}{TRACK}", seconds=seconds, compressed=True))
        self._sender = sender
        self._token = token
        self._again: deque[bytes] = deque(maxlen=_WAITING)

    def metrics(self, snapshot: Snapshot, seconds: float) -> Outcome:
        return self._send(insights.metric_items(snapshot, self._sender), seconds)

    def traces(self, finished: Sequence[FinishedRequest], seconds: float) -> Outcome:
        return self._send(insights.trace_items(finished, self._sender), seconds)

    def close(self) -> None:
        self._http.close()

    def _send(self, fresh: Sequence[bytes], seconds: float) -> Outcome:
        headers = {"Content-Type": "application/x-json-stream"}
        if self._token is not None:
            try:
                headers["Authorization"] = f"Bearer {self._token()}"
            except GatewayError as error:
                return Outcome(REFUSED, error.slug)
        items = [*self._again, *fresh]
        if not items:
            return Outcome(SENT)
        reply = self._http.post(b"\n".join(items), headers, seconds)
        outcome = reply.outcome
        if outcome.result != REFUSED:  # where it was, the items that waited wait on
            self._again.clear()
        if reply.status != 206:
            return outcome
        errors = _errors(reply.body)
        self._again.extend(items[index] for index, status in errors if index < len(items) and can_pass(status))
        statuses = sorted({status for _, status in errors})
        return Outcome(PARTIAL, f"items with status {', '.join(map(str, statuses)) or 'unknown'}", reply.pause)


def _errors(body: bytes) -> list[tuple[int, int]]:
    """The items that were not accepted, by their index, with the status of each."""
    try:
        found: list[Any] = json.loads(body)["errors"]
        return [
            (index, status) for one in found if (index := int(one["index"])) >= 0 and (status := int(one["statusCode"]))
        ]
    except (ValueError, KeyError, TypeError):
        return []
