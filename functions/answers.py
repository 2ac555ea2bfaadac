"""Answers as HTTP: JSON, problem documents (RFC 9457), and the headers that every answer carries."""

import json
import math
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import azure.functions as func

from shared.errors import GatewayError, InternalError
from shared.telemetry import log

PROBLEM_TYPE = "urn:problem-type:scoring-gateway:"

_HEADERS: Mapping[str, str] = {
    # An answer is about one upload, at one time.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # What scripts of a web app on another origin may read, where CORS lets them in at all.
    "Access-Control-Expose-Headers": "Server-Timing, Retry-After",
}


def json_answer(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """An ``application/json`` answer."""
    return _answer(body, "application/json", status, headers)


def data_answer(
    data: bytes, mimetype: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """An answer whose bytes are already made."""
    # The type stands among the headers: the library would look for it there, and meet an exception.
    return func.HttpResponse(
        data,
        status_code=status,
        mimetype=mimetype,
        headers={"Content-Type": mimetype, **_HEADERS, **(headers or {})},
    )


def problem_answer(error: GatewayError, request_id: str) -> func.HttpResponse:
    """An ``application/problem+json`` answer that tells the error's cause and remedy."""
    body = {**problem(error), "request_id": request_id}
    return _answer(body, "application/problem+json", error.status, retry_after(error))


def retry_after(error: GatewayError) -> dict[str, str]:
    """The header Retry-After, in whole seconds, where the error says when to try again."""
    return {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


def problem(error: GatewayError) -> dict[str, object]:
    """The members of an error's problem document; ``remedy`` is an extension, as are the error's own members."""
    document: dict[str, object] = {
        "type": PROBLEM_TYPE + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.remedy:
        document["remedy"] = error.remedy
    return {**document, **error.members}


async def answered(
    request_id: str,
    work: Callable[[], Awaitable[func.HttpResponse]],
    *,
    name: str,
    tell: Callable[[GatewayError, str], func.HttpResponse] = problem_answer,
) -> func.HttpResponse:
    """Run a trigger's work; an error becomes what ``tell`` makes of it, and a line in the log."""
    try:
        return await work()
    except GatewayError as error:
        if error.status >= 500:
            log.warning("%s %s: %s %s", name, request_id, error.slug, error.detail)
        let_go(error)
        return tell(error, request_id)
    except Exception as fault:  # no fault of ours may reach the host, which answers with nothing
        log.error("%s %s: internal-error %s", name, request_id, _place(fault))  # without its stack trace
        let_go(fault)
        return tell(InternalError("An unexpected fault stopped the request."), request_id)


def let_go(error: BaseException | None) -> None:
    """Drop the tracebacks of an error and of what led to it.

    They hold the frames that the error passed through, with the upload, and some of those hold the error: without this,
    refused uploads would stay in memory until the garbage collector comes by.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class _Answer(func.HttpResponse):
    """An answer that takes the worker half the time: with its headers as they are, instead of one by one."""

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


# In lower case, as the worker looks for it.
_TYPE = "content-type"


def _answer(
    body: Mapping[str, object], mimetype: str, status: int, headers: Mapping[str, str] | None
) -> func.HttpResponse:
    return _Answer(_encoded(body), status, {_TYPE: mimetype, **_HEADERS, **(headers or {})})


def _encoded(body: Mapping[str, object]) -> bytes:
    import orjson  # noqa: PLC0415 - no cold start needs it before the first answer

    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # A lone surrogate, as JSON escapes can smuggle into a file's name, has no UTF-8.
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).encode()


_SURROGATE = re.compile("[\ud800-\udfff]")


def _place(fault: Exception) -> str:
    """The kind of a fault and where it arose: enough to find it, and nothing of what was being handled."""
    frames = traceback.extract_tb(fault.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"{type(fault).__name__} at {where}"
