"""The host's own pages: ``/admin`` (status, list of functions, run now) and ``/runtime`` (Event Grid's webhook).

Their form: https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import orjson

from devstack.host.datums import Response
from devstack.host.eventgrid import EventGridWebhook
from devstack.host.functions import HTTP_TRIGGER, Function
from devstack.host.keys import FunctionKeys

type Headers = Mapping[bytes, bytes]
type RunNow = Callable[[Function, str], None]

_JSON = (b"content-type", b"application/json; charset=utf-8")
_WEBHOOK = "/runtime/webhooks/eventgrid"


class Admin:
    """Answers ``/admin`` and ``/runtime``. ``run_now`` runs a function in the background with some input."""

    def __init__(
        self,
        functions: Iterable[Function],
        run_now: RunNow,
        webhook: EventGridWebhook,
        *,
        route_prefix: str = "api",
        keys: FunctionKeys | None = None,
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._run_now = run_now
        self._webhook = webhook
        self._prefix = route_prefix
        self._keys = keys
        self._started = time.monotonic()

    async def handle(self, scope: Mapping[str, Any], headers: Headers, body: bytes) -> Response:
        """Answer one request below ``/admin`` or ``/runtime``."""
        method, query = scope["method"], scope["query_string"]
        path = unquote(scope["raw_path"].decode("latin-1")).rstrip("/")
        if path.lower() == _WEBHOOK:
            if self._keys is not None and not self._keys.admits_webhook(headers, query):
                return Response(401, [])
            return await self._webhook.handle(method, headers, query, body)
        if self._keys is not None and not self._keys.admits_admin(headers, query):
            return Response(401, [])
        if path.lower().startswith("/admin/functions"):
            base = f"{scope['scheme']}://{headers.get(b'host', b'localhost').decode('latin-1')}"
            return self._answer_functions(method, path[len("/admin/functions") :], base, body)
        return self._answer_host(method, path.lower())

    def _answer_host(self, method: str, path: str) -> Response:
        if path == "/admin/host/ping" and method in {"GET", "POST"}:
            return Response(200, [])
        if path == "/admin/host/status" and method == "GET":
            return _json(self._status())
        return Response(404, [])

    def _answer_functions(self, method: str, rest: str, base: str, body: bytes) -> Response:
        if rest == "" and method == "GET":
            return _json([self._describe(function, base) for function in self._functions.values()])
        function = self._functions.get(rest.removeprefix("/").lower()) if rest.startswith("/") else None
        if function is None:
            return Response(404, [])
        if method == "GET":
            return _json(self._describe(function, base))
        if method == "POST":
            return self._start(function, body)
        return Response(405, [(b"allow", b"GET, POST")])

    def _start(self, function: Function, body: bytes) -> Response:
        try:
            given = orjson.loads(body)  # which limits the depth
            text = given.get("input")
        except (ValueError, AttributeError):
            return _json({"error": 'the body must be a JSON object: send {"input": ""}'}, 400)
        self._run_now(function, text if isinstance(text, str) else "" if text is None else json.dumps(text))
        return Response(202, [])

    def _status(self) -> dict[str, Any]:
        return {
            "id": "localhost",
            "state": "Running",
            "version": "4",
            "versionDetails": f"azure-functions-runtime {version('azure-functions-runtime')}, local host",
            "processUptime": int((time.monotonic() - self._started) * 1000),
        }

    def _describe(self, function: Function, base: str) -> dict[str, Any]:
        is_http = function.trigger_type == HTTP_TRIGGER
        route = f"{base}/{self._prefix}/{function.route}" if self._prefix else f"{base}/{function.route}"
        return {
            "name": function.name,
            "href": f"{base}/admin/functions/{function.name}",
            "invoke_url_template": route.lower() if is_http else None,
            "language": "python",
            "config": {
                "name": function.name,
                "scriptFile": function.script_file,
                "language": "python",
                "functionDirectory": function.directory,
                "bindings": list(function.bindings),
            },
            "isDisabled": False,
            "isDirect": False,
            "isProxy": False,
        }


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, [_JSON], json.dumps(value).encode())
