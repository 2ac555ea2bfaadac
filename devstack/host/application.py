"""The host as an ASGI application (https://asgi.readthedocs.io): HTTP triggers, and the host's own pages."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from devstack.host import visitors
from devstack.host.admin import Admin
from devstack.host.cors import Cors
from devstack.host.datums import Response, join_headers, request_datum, response_of
from devstack.host.functions import HTTP_TRIGGER, Function, by_trigger
from devstack.host.invocations import Invoker
from devstack.host.keys import FunctionKeys
from devstack.host.logs import log
from devstack.host.routing import RouteTable

type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]
type Headers = Mapping[bytes, bytes]

# The real host's limit, 100 MB, and the setting that changes it.
BODY_LIMIT = 104_857_600
BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"

_NO_LENGTH = {204, 304}

_HOME_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Function app</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}</style>
<h1>Your function app is up and running</h1>
<p>This is the host's own page. <a href="/admin/functions">/admin/functions</a> lists the functions.</p>
</html>
"""


class Disconnected(Exception):
    """The client disconnected before its request was complete."""


class Application:
    """Answers requests: CORS, then a function by its route, then the host's own pages."""

    def __init__(
        self,
        functions: Iterable[Function],
        routes: RouteTable,
        invoker: Invoker,
        admin: Admin,
        *,
        custom_headers: Mapping[str, str],
        cors: Cors | None = None,
        keys: FunctionKeys | None = None,
        body_limit: int = BODY_LIMIT,
        loopback_only: bool = True,
    ) -> None:
        """``loopback_only``: refuse requests whose header Host is no name of loopback."""
        self._functions = {function.name: function for function in by_trigger(functions, HTTP_TRIGGER)}
        self._match = routes.match
        self._invoker = invoker
        self._admin = admin
        self._custom_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in custom_headers.items()
        ]
        self._cors = cors
        self._keys = keys
        self._body_limit = body_limit
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = join_headers(scope["headers"])
        cors = self._cors
        refusal = visitors.foreign_host(headers) if self._loopback_only else None
        if refusal is not None:
            response = refusal
        elif cors is not None and cors.is_preflight(scope["method"], headers):
            response = Response(204, cors.preflight(headers))
        else:
            try:
                response = await self._answer(scope, headers, receive)
            except Disconnected:
                return
            if cors is not None:
                cors.amend(response.headers, headers)
        self._finish(response)
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        method, path = scope["method"], scope["raw_path"]
        if path[:7].lower() == b"/admin/" or path[:9].lower() == b"/runtime/":
            return await self._manage(scope, headers, receive)
        matched = self._match(method, path)
        if matched is None:
            return _home() if path == b"/" else Response(404, [])
        function = self._functions[matched[0]]
        if self._keys is not None and not self._keys.admits(function, headers, scope["query_string"]):
            return Response(401, [])
        length = content_length(headers)
        if length > self._body_limit:
            return _too_large()
        # Without a Content-Length the real host passes an empty body; so does this one.
        body = await read_body(receive) if length else b""
        return await self._run(function, scope, headers, matched[1], body)

    async def _run(
        self, function: Function, scope: Scope, headers: Headers, params: Mapping[str, str], body: bytes
    ) -> Response:
        outcome = await self._invoker.run(
            function,
            request_datum(scope, headers, params, body),
            trace_parent=headers.get(b"traceparent", b"").decode("latin-1"),
            trace_state=headers.get(b"tracestate", b"").decode("latin-1"),
        )
        if not outcome.succeeded:
            return Response(500, [])
        try:
            return response_of(outcome.value)
        except ValueError as error:
            log.error("The response of 'Functions.%s' cannot be sent: %s", function.name, error)
            return Response(500, [])

    async def _manage(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        refusal = visitors.foreign_page(scope["method"], headers)
        if refusal is not None:
            return refusal
        if content_length(headers) > self._body_limit:
            return _too_large()
        chunked = b"transfer-encoding" in headers
        body = await read_body(receive) if chunked or content_length(headers) else b""
        return await self._admin.handle(scope, headers, body)

    def _finish(self, response: Response) -> None:
        """Add the headers of every response."""
        if self._custom_headers:
            given = {name.lower() for name, _ in response.headers}
            response.headers.extend(pair for pair in self._custom_headers if pair[0] not in given)
        if response.status in _NO_LENGTH:
            response.body = b""
        else:
            response.headers.append((b"content-length", b"%d" % len(response.body)))


def content_length(headers: Headers) -> int:
    """The Content-Length of a request, in bytes; 0 without a valid one."""
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def read_body(receive: Receive) -> bytes:
    """Read a request's whole body.

    Raises:
        Disconnected: the client disconnected during it.
    """
    chunks = []
    while (message := await receive())["type"] == "http.request":
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
    raise Disconnected


def _home() -> Response:
    if os.environ.get("AzureWebJobsDisableHomepage", "").lower() == "true":  # noqa: SIM112 - the setting's own name
        return Response(204, [])
    return Response(200, [(b"content-type", b"text/html")], _HOME_PAGE)


def _too_large() -> Response:
    # The body is not read, so the connection cannot be used again.
    return Response(413, [(b"connection", b"close")])
