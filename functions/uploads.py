"""Requests as HTTP brings them: the images in a body, the options in a query, the trace in the headers."""

import base64
import binascii
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import azure.functions as func
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from shared.errors import (
    EmptyBody,
    InvalidParameter,
    LengthRequired,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    PartWithoutFile,
    UnsupportedContentType,
)
from shared.scoring.types import Ranking, Upload
from shared.telemetry import Call

_DATA_URL = "data:"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,100})?")
# In milliseconds.
_TIMEOUT = "request-timeout-ms"
_TRACESTATE = re.compile(r"[ -~]{0,512}")


def uploads(request: func.HttpRequest) -> list[Upload]:
    """The images of a request: a raw body, a multipart form with files, or JSON with base64.

    Raises:
        GatewayError: the body is of no such form, or broken; the cause.
    """
    body, header = body_of(request), request.headers.get("content-type", "")
    content_type = header.partition(";")[0].strip().lower()
    if content_type.startswith("image/") or content_type == "application/octet-stream":
        return [Upload("body", body)]
    if content_type == "multipart/form-data":
        return _not_empty(_multipart(body, parse_options_header(header)[1].get("boundary", "")))
    if content_type == "application/json":
        return _not_empty(_json(body))
    given = f"is {content_type[:80]!r}" if content_type else "is missing"
    raise UnsupportedContentType(f"The Content-Type {given}.")


def body_of(request: func.HttpRequest) -> bytes:
    """The bytes that came.

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
    """How many labels are wanted, from ``top`` and ``threshold``.

    Raises:
        InvalidParameter: one of them has a value out of its range.
    """
    return Ranking(_top(query.get("top", "")), _threshold(query.get("threshold", "")))


def start_call(request: func.HttpRequest, context: func.Context, seconds: float) -> Call:
    """What accompanies the request from here on; its deadline is ``seconds`` away, or sooner if the client says so.

    Raises:
        InvalidParameter: the header Request-Timeout-Ms has a value out of its range.
    """
    headers = request.headers
    parent, state = _trace(context.trace_context, headers)
    return Call(
        request_id=context.invocation_id,
        deadline=time.monotonic() + (min(seconds, _timeout(headers[_TIMEOUT])) if _TIMEOUT in headers else seconds),
        traceparent=parent,
        tracestate=state,
    )


def _trace(hosts: Any, headers: Mapping[str, str]) -> tuple[str, str]:
    """The trace that the host names, or else the client; a malformed one is ignored, as the specification has it.

    https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3.
    """
    parent = hosts.trace_parent or headers.get("traceparent", "")
    state = hosts.trace_state or headers.get("tracestate", "")
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
    # The length bounds what int() is given: its time grows with the square of the digits.
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


def _multipart(body: bytes, boundary: str) -> Iterator[Upload]:
    if not boundary:
        raise MalformedMultipart("The Content-Type names no boundary.")
    decoder = MultipartDecoder(boundary.encode("utf-8", "replace"), max_form_memory_size=None)
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        yield from _files(decoder)
    except ValueError as error:
        raise MalformedMultipart("The form ends in the middle, or its parts are not well-formed.") from error


def _files(decoder: MultipartDecoder) -> Iterator[Upload]:
    name, chunks = "", list[bytes]()
    while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
        if isinstance(event, Field):
            raise PartWithoutFile(f"The part {event.name!r} has no file name.", part=event.name)
        if isinstance(event, File):
            name, chunks = event.filename, []
        elif isinstance(event, Data):
            chunks.append(event.data)
            if not event.more_data:
                yield Upload(name, chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _json(body: bytes) -> Iterator[Upload]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is no JSON in UTF-8.") from error
    entries = document.get("images") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise MalformedJson("The JSON has no list 'images'.")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("b64"), str):
            raise MalformedJson(f"images[{index}] has no text 'b64'.", index=index)
        name = entry.get("name")
        if not isinstance(name, str | None):
            raise MalformedJson(f"images[{index}].name is no text.", index=index)
        yield Upload(name or f"images[{index}]", _decode(entry["b64"], index))


def _decode(text: str, index: int) -> bytes:
    # Browsers give data URLs (RFC 2397): what precedes the comma says nothing that the bytes do not.
    if text.startswith(_DATA_URL):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBase64(f"images[{index}].b64 is not base64.", index=index) from error


def _not_empty(found: Iterator[Upload]) -> list[Upload]:
    files = list(found)
    if not files:
        raise EmptyBody("The request holds no image.")
    for index, upload in enumerate(files):
        if not upload.data:
            raise EmptyBody(f"The file {upload.name!r} is empty.", file=upload.name, index=index)
    return files
