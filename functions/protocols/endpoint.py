"""What the endpoints of the inference protocols share: bodies, JSON in both directions, errors as ``{"error": "..."}``.

orjson, which is imported at its first use, writes a thousand numbers in a thirtieth of the standard library's time, and
each with no more digits than a 32-bit float has. It accepts strict JSON only, so what it refuses is parsed again by the
standard library, which also reads NaN and Infinity, as TensorFlow Serving does.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import azure.functions as func

from functions.http import problems
from functions.http.requests import body_of
from functions.http.responses import data_response, json_response
from shared.errors import BodyTooLarge, GatewayError, InvalidTensor, UnsupportedContentEncoding
from shared.telemetry import RequestContext

if TYPE_CHECKING:
    from shared.upstream.codecs import Output

# All methods, so that an unsupported one is answered in the protocol's form and not by the host.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# The host's limit of a body, in bytes; decompression must not exceed it either.
BODY_LIMIT = 104_857_600

_LONGEST_NAME = 1000

# zlib's numbers for the formats that HTTP names so (RFC 9110, section 8.4.1).
_GZIP, _ZLIB = 31, 15
_CODINGS: Mapping[str, int] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


async def respond(
    request_id: str, work: Callable[[], Awaitable[func.HttpResponse]], *, name: str, anonymous: bool = False
) -> func.HttpResponse:
    """Run a trigger's work; an error is answered in the inference protocols' form.

    ``anonymous``: the route needs no key, so the error's detail is left out.
    """

    def error_of(error: GatewayError, request_id: str) -> func.HttpResponse:
        return _error(error, error.meaning if anonymous else error.detail, request_id)

    return await problems.respond(request_id, work, name=name, error_response=error_of)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """An error in the form of both protocols."""
    return json_response({"error": message}, status=status, headers=headers)


async def unpacked(request: func.HttpRequest) -> bytes:
    """The request's body, without its Content-Encoding.

    Raises:
        LengthRequired: it was sent in chunks.
        EmptyBody: there is none.
        UnsupportedContentEncoding, InvalidTensor, BodyTooLarge: its coding is not supported, broken, or the content is
            too large.
    """
    body = body_of(request)
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in _CODINGS:
        raise UnsupportedContentEncoding(f"The Content-Encoding is {coding[:40]!r}; gzip, deflate or none is expected.")
    return await asyncio.to_thread(_inflated, body, coding)


def parse_object(text: bytes | memoryview) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidTensor: the text is not JSON, or not an object.
    """
    document = _loads(text)
    if not isinstance(document, dict):
        raise InvalidTensor("The body is JSON, but not an object.")
    return document


def to_json(document: Mapping[str, object]) -> bytes:
    """JSON of a document that may contain C-contiguous arrays of 32-bit floats."""
    import orjson  # noqa: PLC0415 - no cold start needs it

    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def contiguous(output: "Output") -> Any:
    """An output's values as :func:`to_json` needs them: a copy, since they may be unaligned in the response."""
    return output.values.copy()


def parse_name(value: object, what: str) -> str:
    """A name in a document.

    Raises:
        InvalidTensor: it is not a string, has no form in UTF-8, or is very long.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise InvalidTensor(f"{what} is not a string of at most {_LONGEST_NAME} characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidTensor(f"{what} contains half of a surrogate pair.") from None
    return value


def parse_version(digits: str) -> int:
    """A version in an address.

    Raises:
        InvalidTensor: it is not a number, or beyond 64 bits.
    """
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19 and int(digits) < 2**63):
        raise InvalidTensor(f"The version {digits[:40]!r} is not a number of 64 bits.")
    return int(digits)


def predicted(
    data: bytes, mimetype: str, context: RequestContext, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """The response to a prediction, with the header Server-Timing."""
    return data_response(data, mimetype, headers={"Server-Timing": context.timings.server_timing(), **(headers or {})})


def _error(error: GatewayError, detail: str, request_id: str) -> func.HttpResponse:
    message = f"Image {error.members['index']}: {detail}" if "index" in error.members else detail
    if error.is_server_fault:
        message += f" ({error.slug}, request {request_id})"
    # An image that cannot be read is an invalid argument in these protocols, which do not use 422.
    return error_response(400 if error.status == 422 else error.status, message, problems.retry_after(error))


def _inflated(body: bytes, coding: str) -> bytes:
    engine = zlib.decompressobj(_CODINGS[coding])
    try:
        content = engine.decompress(body, BODY_LIMIT)
    except zlib.error:
        raise InvalidTensor(f"The body is not {coding}, contrary to its Content-Encoding.") from None
    if engine.unconsumed_tail:
        raise BodyTooLarge(f"The body has more than {BODY_LIMIT} bytes after decompression.")
    if not engine.eof or engine.unused_data:
        raise InvalidTensor(f"The body is not complete, or more than one {coding} stream.")
    return content


def _loads(text: bytes | memoryview) -> object:
    import orjson  # noqa: PLC0415 - no cold start needs it

    with contextlib.suppress(ValueError):  # NaN, or not JSON at all
        found: object = orjson.loads(text)
        return found
    try:
        return json.loads(bytes(text))
    except (ValueError, RecursionError):
        raise InvalidTensor("The body is not JSON in UTF-8.") from None
