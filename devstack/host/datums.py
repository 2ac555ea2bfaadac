"""Converts HTTP requests for the worker library, and the values that functions return into HTTP responses."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import Morsel, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote

from azure_functions_runtime.bindings.datumdef import Datum

type RawHeaders = list[tuple[bytes, bytes]]

_EMPTY = Datum(b"", "bytes")
# The server sets these itself; a function's own could contradict the body.
_FRAMING = {b"content-length", b"transfer-encoding"}


@dataclass(slots=True)
class Response:
    """An HTTP response."""

    status: int
    headers: RawHeaders
    body: bytes = b""


def request_datum(
    scope: Mapping[str, Any], headers: Mapping[bytes, bytes], params: Mapping[str, str], body: bytes
) -> Datum:
    """Describe a request as the real host does.

    Header names are in lower case, repeated headers and query parameters are joined by commas, and query parameters
    without a value are left out.
    """
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    host = headers.get(b"host", b"localhost").decode("latin-1")
    url = f"{scope['scheme']}://{host}{path}{'?' + query if query else ''}"
    value = {
        "method": Datum(scope["method"], "string"),
        "url": Datum(url, "string"),
        "headers": {name.decode("latin-1"): Datum(text.decode("latin-1"), "string") for name, text in headers.items()},
        "query": {name: Datum(text, "string") for name, text in parse_query(query).items()} if query else {},
        "params": {name: Datum(text, "string") for name, text in params.items()},
        "body": Datum(body, "bytes") if body else _EMPTY,
    }
    return Datum(value, "http")


def join_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; repeated ones are joined by commas."""
    headers: dict[bytes, bytes] = {}
    for name, value in raw:
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def parse_query(query: str) -> dict[str, str]:
    """Parse a query string; names are compared without regard to case, as in ASP.NET Core."""
    names: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(names.setdefault(name.lower(), name), []).append(value)
    joined = {name: ",".join(several) for name, several in values.items()}
    return {name: value for name, value in joined.items() if value}


def response_of(value: Datum | None) -> Response:
    """The response for the value that a function returned.

    Raises:
        ValueError: the function set a status or a header that HTTP does not allow.
    """
    if value is None or value.type is None:
        return Response(200, [])
    if value.type == "http":
        return _http_response(value.value)
    if value.type == "string":
        return _text_response(value.value)
    raise ValueError(f"an HTTP function cannot return a value of the type '{value.type}': return func.HttpResponse")


def _http_response(http: Mapping[str, Any]) -> Response:
    headers = [(_latin(name), _latin(text.value)) for name, text in http["headers"].items()]
    for cookie in http.get("cookies") or ():
        headers.extend((b"set-cookie", _latin(line)) for line in _cookie_lines(cookie))
    kept = [pair for pair in headers if pair[0].lower() not in _FRAMING]
    return Response(_status(http["status_code"].value), kept, http["body"].value or b"")


def _text_response(text: str) -> Response:
    """The real host parses a returned str as JSON: an object with a ``body`` is a whole response."""
    try:
        content = json.loads(text)
    except ValueError:
        return Response(200, [(b"content-type", b"text/plain; charset=utf-8")], text.encode())
    if not isinstance(content, dict):
        return _object_response(200, [], content)
    fields = {name.lower(): value for name, value in content.items()}
    if "body" not in fields:
        return _object_response(200, [], content)
    given = fields.get("headers")
    headers = [(_latin(name), _latin(str(value))) for name, value in (given or {}).items()]
    status = fields.get("statuscode", fields.get("status", 200))
    return _object_response(_status(status), headers, fields["body"])


def _object_response(status: int, headers: RawHeaders, content: Any) -> Response:
    plain = isinstance(content, str)
    kept = [pair for pair in headers if pair[0].lower() not in _FRAMING]
    if not any(name.lower() == b"content-type" for name, _ in kept):
        kind = b"text/plain" if plain else b"application/json"
        kept.append((b"content-type", kind + b"; charset=utf-8"))
    body = content if plain else "" if content is None else json.dumps(content, separators=(",", ":"))
    return Response(status, kept, body.encode())


def _cookie_lines(cookie: SimpleCookie) -> Iterable[str]:
    for name, morsel in cookie.items():
        yield "; ".join([f"{name}={quote(morsel.value, safe='')}", *_cookie_attributes(morsel)])


def _cookie_attributes(morsel: Morsel[str]) -> Iterable[str]:
    """The attributes in ASP.NET Core's order and spelling."""
    for name in ("expires", "max-age", "domain", "path"):
        if morsel[name]:
            yield f"{name}={morsel[name]}"
    if morsel["secure"]:
        yield "secure"
    if morsel["samesite"]:
        yield f"samesite={str(morsel['samesite']).lower()}"
    if morsel["httponly"]:
        yield "httponly"


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise ValueError(f"an HTTP function cannot answer with the status '{value}': use one from 200 to 599")
    return status


def _latin(text: str) -> bytes:
    if "\r" in text or "\n" in text:
        raise ValueError("a response header contains a line break: remove it")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a response header contains a character that is not in Latin-1: encode it first") from None
