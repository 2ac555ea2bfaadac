"""Converts what functions take and return between the worker library's form and that of the protocol's messages."""

from http.cookies import SimpleCookie
from typing import Any

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.functions_worker.function_rpc_pb2 import RpcHttp, RpcHttpCookie, TypedData


def typed_data(datum: Datum) -> TypedData:
    """The data of a trigger as a message. An HTTP request's body is bytes, and left out where it is empty."""
    if datum.type != "http":
        return TypedData(**{datum.type: datum.value})
    http = datum.value
    body = http["body"].value
    return TypedData(
        http=RpcHttp(
            method=http["method"].value,
            url=http["url"].value,
            body=TypedData(bytes=body) if body else None,
            **{part: {name: one.value for name, one in http[part].items()} for part in ("headers", "query", "params")},
        )
    )


def returned_datum(data: TypedData) -> Datum | None:
    """What a function returned; None for nothing."""
    kind = data.WhichOneof("data")
    if kind != "http":
        return Datum(getattr(data, kind), kind) if kind else None
    body_kind = data.http.body.WhichOneof("data")
    body = getattr(data.http.body, body_kind) if body_kind else b""
    value: dict[str, Any] = {
        "status_code": Datum(data.http.status_code, "string"),
        "headers": {name: Datum(text, "string") for name, text in data.http.headers.items()},
        "body": Datum(body if isinstance(body, bytes) else str(body).encode(), "bytes"),
        "cookies": [_cookie(cookie) for cookie in data.http.cookies],
    }
    return Datum(value, "http")


def _cookie(given: RpcHttpCookie) -> SimpleCookie:
    cookie = SimpleCookie({given.name: given.value})
    morsel = cookie[given.name]
    for name, text in (("domain", given.domain.value), ("path", given.path.value)):
        morsel[name] = text
    if given.HasField("expires"):
        morsel["expires"] = given.expires.value.ToDatetime().strftime("%a, %d %b %Y %H:%M:%S GMT")
    if given.HasField("max_age"):
        morsel["max-age"] = f"{given.max_age.value:.0f}"
    morsel["secure"], morsel["httponly"] = given.secure.value, given.http_only.value
    morsel["samesite"] = {1: "lax", 2: "strict", 3: "none"}.get(given.same_site, "")
    return cookie
