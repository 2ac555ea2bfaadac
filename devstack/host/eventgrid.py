"""Event Grid's webhook: the handshake, and one invocation for each event.

The delivery format: https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host.datums import Response
from devstack.host.functions import EVENT_GRID_TRIGGER, Function, by_trigger
from devstack.host.invocations import Invoker
from shared.quoting import quoted

type Headers = Mapping[bytes, bytes]

_KIND = b"aeg-event-type"


class EventGridWebhook:
    """Answers ``POST /runtime/webhooks/EventGrid?functionName=NAME``."""

    def __init__(self, functions: Iterable[Function], invoker: Invoker) -> None:
        self._functions = {function.name: function for function in by_trigger(functions, EVENT_GRID_TRIGGER)}
        self._invoker = invoker

    async def handle(self, method: str, headers: Headers, query: bytes, body: bytes) -> Response:
        """Answer one delivery. Its events are processed concurrently; if one fails, the delivery fails."""
        name = _function_name(query)
        function = self._functions.get(name)
        if function is None:
            return _text(404, f"cannot find function: '{quoted(name, limit=80)}'")
        if method != "POST":
            return _cloud_events_handshake(headers) if method == "OPTIONS" else Response(405, [(b"allow", b"POST")])
        return await self._receive(function, headers, body)

    async def _receive(self, function: Function, headers: Headers, body: bytes) -> Response:
        try:
            events = _events(body)
        except ValueError as error:
            return _text(400, str(error))
        kind = headers.get(_KIND, b"").decode("latin-1").lower()
        if kind == "subscriptionvalidation":
            return _handshake(events)
        if kind == "notification":
            return await self._deliver(function, events)
        # The real host accepts the message that a subscription has ended, and does nothing.
        return Response(202 if kind == "unsubscribe" else 400, [])

    async def _deliver(self, function: Function, events: list[dict[str, Any]]) -> Response:
        outcomes = await asyncio.gather(
            *(self._invoker.run(function, Datum(json.dumps(event), "json")) for event in events)
        )
        # Event Grid sends the whole delivery again.
        return Response(202 if all(outcome.succeeded for outcome in outcomes) else 500, [])


def _function_name(query: bytes) -> str:
    pairs = {name.lower(): value for name, value in parse_qsl(query.decode("latin-1"))}
    return pairs.get("functionname", "")


def _events(body: bytes) -> list[dict[str, Any]]:
    try:
        content = orjson.loads(body)
    except ValueError:
        raise ValueError("the body is not JSON, or nested too deeply: send an array of events") from None
    events = content if isinstance(content, list) else [content]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("an event is not a JSON object: send an array of events")
    return events


def _handshake(events: list[dict[str, Any]]) -> Response:
    """Confirm the subscription: return the code."""
    try:
        code = events[0]["data"]["validationCode"]
    except (IndexError, KeyError, TypeError):
        return _text(400, "the validation event has no data.validationCode")
    body = json.dumps({"validationResponse": code}).encode()
    return Response(200, [(b"content-type", b"application/json; charset=utf-8")], body)


def _cloud_events_handshake(headers: Headers) -> Response:
    """https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md#4-abuse-protection."""
    origin = headers.get(b"webhook-request-origin")
    if origin is None:
        return _text(400, "WebHook-Request-Origin is missing")
    return Response(200, [(b"webhook-allowed-origin", origin), (b"webhook-allowed-rate", b"*")])


def _text(status: int, text: str) -> Response:
    return Response(status, [(b"content-type", b"text/plain; charset=utf-8")], text.encode())
