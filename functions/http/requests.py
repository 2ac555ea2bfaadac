"""HTTP requests: the body, the options in the query, the deadline and the trace in the headers."""

import math
import re
import time
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from shared.errors import EmptyBody, InvalidParameter, LengthRequired
from shared.scoring.types import Ranking
from shared.telemetry import RequestContext

# The value is in milliseconds.
_TIMEOUT = "request-timeout-ms"

# https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,100})?")
_TRACESTATE = re.compile(r"[ -~]{0,512}")


def body_of(request: func.HttpRequest) -> bytes:
    """The body's bytes.

    Raises:
        LengthRequired: there are none, since they were sent in chunks.
        EmptyBody: there are none.
    """
    body = request.get_body()
    if not body:
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            raise LengthRequired("The upload is chunked, and so reached the gateway without its bytes.")
        raise EmptyBody("The request's body is empty.")
    return body


def ranking(query: Mapping[str, str]) -> Ranking:
    """How many labels are requested, from ``top`` and ``threshold``.

    Raises:
        InvalidParameter: one of them has a value out of its range.
    """
    return Ranking(_top(query.get("top", "")), _threshold(query.get("threshold", "")))


def request_context(request: func.HttpRequest, invocation: func.Context, seconds: float) -> RequestContext:
    """The request's context; its deadline is ``seconds`` away, or sooner if the client requests that.

    Raises:
        InvalidParameter: the header Request-Timeout-Ms has a value out of its range.
    """
    headers = request.headers
    parent, state = _trace(invocation.trace_context, headers)
    return RequestContext(
        request_id=invocation.invocation_id,
        deadline=time.monotonic() + (min(seconds, _timeout(headers[_TIMEOUT])) if _TIMEOUT in headers else seconds),
        traceparent=parent,
        tracestate=state,
    )


def _trace(host: Any, headers: Mapping[str, str]) -> tuple[str, str]:
    """The host's trace, or else the client's; a malformed one is ignored, as the specification requires."""
    parent = host.trace_parent or headers.get("traceparent", "")
    state = host.trace_state or headers.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        return "", ""
    return parent, state if _TRACESTATE.fullmatch(state) else ""


def _timeout(text: str) -> float:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text)):
        raise InvalidParameter(
            f"The header Request-Timeout-Ms is {text[:40]!r}.",
            parameter="Request-Timeout-Ms",
            expected="a whole number of milliseconds from 1",
        )
    return int(text) / 1000


def _top(text: str) -> int:
    if not text:
        return Ranking().top
    # The length bounds the input of int(), whose time grows with the square of the digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise InvalidParameter(
            f"The parameter top is {text[:40]!r}.", parameter="top", expected="a whole number from 0 (all scores)"
        )
    return int(text)


def _threshold(text: str) -> float:
    if not text:
        return Ranking().threshold
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InvalidParameter(
            f"The parameter threshold is {text[:40]!r}.", parameter="threshold", expected="a number from 0 to 1"
        )
    return value
