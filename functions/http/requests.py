"""HTTP requests: the options in the query, and the id, the deadline and the trace in the headers."""

import math
import re
import time
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from functions.http.fields import fields
from shared.errors import InvalidParameter
from shared.quoting import quoted
from shared.scoring.types import Ranking
from shared.telemetry import RequestContext

# The value is in milliseconds.
_TIMEOUT = "request-timeout-ms"

REQUEST_ID = "X-Request-Id"
_ID_FIELD = REQUEST_ID.lower()
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

_DEFAULT = Ranking()

_FLAGS: Mapping[str, bool] = {"false": False, "true": True}

# https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,100})?")
_TRACESTATE = re.compile(r"[ -~]{0,512}")


def request_id(request: func.HttpRequest, invocation: func.Context) -> str:
    """The id by which a request is found in the log: the client's own X-Request-Id, or else the invocation's."""
    given = fields(request).get(_ID_FIELD, "")
    return given if given and _REQUEST_ID.fullmatch(given) else invocation.invocation_id


def ranking(options: Mapping[str, str]) -> Ranking:
    """How many labels are requested, from ``top`` and ``threshold``.

    Raises:
        InvalidParameter: one of them has a value out of its range.
    """
    if "top" not in options and "threshold" not in options:
        return _DEFAULT
    return Ranking(_top(options.get("top", "")), _threshold(options.get("threshold", "")))


def flag(options: Mapping[str, str], name: str) -> bool:
    """An option that is true or false; false where it is missing.

    Raises:
        InvalidParameter: it has another value.
    """
    given = options.get(name)
    if not given:
        return False
    value = _FLAGS.get(given.lower())
    if value is None:
        raise invalid(name, given, "true or false")
    return value


def invalid(parameter: str, value: str, expected: str) -> InvalidParameter:
    """The error for a parameter's value."""
    text = f"The parameter {parameter} is '{quoted(value, limit=40)}'; {expected} is expected."
    return InvalidParameter(text, parameter=parameter, expected=expected)


def request_context(
    request: func.HttpRequest, invocation: func.Context, seconds: float, known_id: str = ""
) -> RequestContext:
    """The request's context; its deadline is ``seconds`` away, or sooner if the client requests that.

    ``known_id`` is :func:`request_id` of the request, where it was called before.

    Raises:
        InvalidParameter: the header Request-Timeout-Ms has a value out of its range.
    """
    headers = fields(request)
    parent, state = _trace(invocation.trace_context, headers)
    return RequestContext(
        request_id=known_id or request_id(request, invocation),
        deadline=time.monotonic() + (min(seconds, _timeout(headers[_TIMEOUT])) if _TIMEOUT in headers else seconds),
        traceparent=parent,
        tracestate=state,
    )


def _trace(host: Any, headers: Mapping[str, str]) -> tuple[str, str]:
    """The host's trace, or else the client's; a malformed one is ignored, as the specification requires."""
    parent = host.trace_parent or headers.get("traceparent", "")
    state = host.trace_state or headers.get("tracestate", "")
    if not parent or not _TRACEPARENT.fullmatch(parent):
        return "", ""
    return parent, state if state and _TRACESTATE.fullmatch(state) else ""


def _timeout(text: str) -> float:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text)):
        raise invalid("Request-Timeout-Ms", text, "a whole number of milliseconds from 1")
    return int(text) / 1000


def _top(text: str) -> int:
    if not text:
        return _DEFAULT.top
    # The length bounds the input of int(), whose time grows with the square of the digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise invalid("top", text, "a whole number from 0 (all scores)")
    return int(text)


def _threshold(text: str) -> float:
    if not text:
        return _DEFAULT.threshold
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise invalid("threshold", text, "a number from 0 to 1")
    return value
