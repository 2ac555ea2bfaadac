"""HTTP responses: JSON and other bodies, with the headers that every response has."""

import re
from collections.abc import Mapping
from typing import Any

import azure.functions as func

_HEADERS: Mapping[str, str] = {
    # A response is about one upload, at one time.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # What scripts of a web app on another origin may read, where CORS allows that origin.
    "Access-Control-Expose-Headers": "Server-Timing, Retry-After, X-Request-Id, Model-Version, Scoring-Service, "
    "Inference-Header-Content-Length",
}

# In lower case, as the worker looks it up.
_TYPE = "content-type"


def json_response(
    body: Mapping[str, object],
    *,
    status: int = 200,
    mimetype: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> func.HttpResponse:
    """A response with a JSON body."""
    return FastResponse(_encoded(body), status, {_TYPE: mimetype, **_HEADERS, **(headers or {})})


def data_response(
    data: bytes, mimetype: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """A response with a body of bytes."""
    return FastResponse(data, status, {_TYPE: mimetype, **_HEADERS, **(headers or {})})


class FastResponse(func.HttpResponse):
    """A response that takes the worker half the time: it has its headers as they are, instead of one by one.

    It overrides the members that the worker reads; a test fails when the package changes them, and requirements.txt
    bounds its version.
    """

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self._body = body
        self._status = status
        self._headers = headers

    @property
    def status_code(self) -> int:
        return self._status

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override] # the worker reads them as a mapping
        return self._headers

    @property
    def mimetype(self) -> str:
        return self._headers[_TYPE]

    def get_body(self) -> bytes:
        return self._body


def _encoded(body: Mapping[str, object]) -> bytes:
    import orjson  # noqa: PLC0415 - no cold start needs it before the first response

    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # A lone surrogate, which JSON escapes can put into a file's name, has no UTF-8 form.
        return orjson.dumps(_without_surrogates(body))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {_without_surrogates(name): _without_surrogates(one) for name, one in value.items()}
    return [_without_surrogates(one) for one in value] if isinstance(value, list | tuple) else value


_SURROGATE = re.compile("[\ud800-\udfff]")
