"""Which requests the local host refuses, because a web page that the developer visits may have sent them.

The real host has no such checks. Of the app's own routes only the name of the host is checked: what they accept from
web pages is up to the app, and to CORS.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus

from devstack.host.datums import Response
from shared.origins import is_loopback, is_own

type Headers = Mapping[bytes, bytes]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def foreign_host(headers: Headers) -> Response | None:
    """The refusal of a request that reached loopback by a name from outside; None where its Host is loopback's."""
    if is_loopback(_text(headers, b"host")):
        return None
    return _refusal(
        HTTPStatus.MISDIRECTED_REQUEST,
        "foreign-host",
        "The header Host is not a name of this machine's loopback: use localhost or 127.0.0.1.",
    )


def foreign_page(method: str, headers: Headers) -> Response | None:
    """The refusal of a request to a route of the host's own that changes something; None where it may."""
    if method in _READING:
        return None
    origin = headers.get(b"origin")
    if origin is not None and not is_own(origin.decode("latin-1"), _text(headers, b"host")):
        return _refusal(
            HTTPStatus.FORBIDDEN,
            "foreign-origin",
            "A web page of another origin sent the request: send it without Origin, or from a page of this host.",
        )
    has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    media_type = _text(headers, b"content-type").partition(";")[0].strip().lower()
    if has_body and media_type != "application/json" and not media_type.endswith("+json"):
        return _refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-content-type",
            "The body is not declared as JSON: add the header Content-Type: application/json.",
        )
    return None


def _text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _refusal(status: HTTPStatus, slug: str, detail: str) -> Response:
    problem = {
        "type": f"urn:problem-type:local-host:{slug}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    # The body is not read, so the connection cannot be used again.
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    return Response(status.value, headers, json.dumps(problem).encode())
