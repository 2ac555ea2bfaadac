"""What the doors of the inference protocols share: bodies in, JSON both ways, errors as ``{"error": "..."}``.

orjson, which waits for its first use, writes a thousand numbers in a thirtieth of the standard library's time, and each
with no more digits than a 32-bit float has. It is as strict as JSON is, so what it refuses is given to the standard
library, which also reads NaN and Infinity, as TensorFlow Serving does.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import azure.functions as func

from functions.answers import answered, data_answer, json_answer, let_go, retry_after
from functions.uploads import body_of
from shared.errors import GatewayError
from shared.scoring.model_types import BodyTooLarge, EncodingUnknown, ModelError, TensorRefused

if TYPE_CHECKING:
    from shared.scoring.tensors import Output

# All that a path of a protocol may be asked for, so that it is the protocol that answers and not the host.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# The host lets no more in, in bytes; unpacking must not let in more either.
BODY_LIMIT = 104_857_600

# zlib's own numbers for the formats that HTTP names so (RFC 9110, section 8.4.1).
_GZIP, _ZLIB = 31, 15
_CODINGS: Mapping[str, int] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


async def through(request_id: str, work: Callable[[], Awaitable[func.HttpResponse]], *, name: str) -> func.HttpResponse:
    """Run a trigger's work; an error is told as the inference protocols tell it."""

    async def told() -> func.HttpResponse:
        try:
            return await work()
        except ModelError as error:
            let_go(error)
            return refusal(error.status, error.detail)

    return await answered(request_id, told, name=name, tell=_tell)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """An error in the form of both protocols."""
    return json_answer({"error": message}, status=status, headers=headers)


async def unpacked(request: func.HttpRequest) -> bytes:
    """The request's body, without its Content-Encoding.

    Raises:
        LengthRequired: it was sent in chunks.
        EmptyBody: there is none.
        ModelError: its coding is not known here, or broken, or the content is too large.
    """
    body = body_of(request)
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in _CODINGS:
        raise EncodingUnknown(f"The Content-Encoding is {coding[:40]!r}; gzip, deflate or none is expected.")
    return await asyncio.to_thread(_inflated, body, coding)


def parsed(text: bytes | memoryview) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TensorRefused: the text is no JSON, or no object.
    """
    document = _loads(text)
    if not isinstance(document, dict):
        raise TensorRefused("The body is JSON, but not an object.")
    return document


def written(document: Mapping[str, object]) -> bytes:
    """JSON of a document that may hold arrays of 32-bit floats, whole and in the order of C."""
    import orjson  # noqa: PLC0415 - no cold start needs it

    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def plain(output: "Output") -> Any:
    """An output's numbers as :func:`written` wants them: a copy, since in an answer they may lie anywhere."""
    return output.values.copy()


def word(value: object, what: str) -> str:
    """A name out of a document, fit to be sent on.

    Raises:
        TensorRefused: it is no text, or none that has a form in UTF-8, or a very long one.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_WORD:
        raise TensorRefused(f"{what} is not a string of at most {_LONGEST_WORD} characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TensorRefused(f"{what} holds half of a surrogate pair.") from None
    return value


_LONGEST_WORD = 1000


def number(digits: str) -> int:
    """A version out of an address.

    Raises:
        TensorRefused: it is no number, or beyond 64 bits.
    """
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19 and int(digits) < 2**63):
        raise TensorRefused(f"The version {digits[:40]!r} is not a number of 64 bits.")
    return int(digits)


def timed(data: bytes, mimetype: str, timing: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """The answer to a prediction, with the header Server-Timing."""
    return data_answer(data, mimetype, headers={"Server-Timing": timing, **(headers or {})})


def _tell(error: GatewayError, request_id: str) -> func.HttpResponse:
    message = f"Image {error.members['index']}: {error.detail}" if "index" in error.members else error.detail
    if error.status >= 500:
        message += f" ({error.slug}, request {request_id})"
    # An image that cannot be read is an invalid argument to these protocols, which do not know 422.
    return refusal(400 if error.status == 422 else error.status, message, retry_after(error))


def _inflated(body: bytes, coding: str) -> bytes:
    engine = zlib.decompressobj(_CODINGS[coding])
    try:
        content = engine.decompress(body, BODY_LIMIT)
    except zlib.error:
        raise TensorRefused(f"The body is not {coding}, as the Content-Encoding says.") from None
    if engine.unconsumed_tail:
        raise BodyTooLarge(f"The body has more than {BODY_LIMIT} bytes when it is unpacked.")
    if not engine.eof or engine.unused_data:
        raise TensorRefused(f"The body is not whole, or more than one {coding} stream.")
    return content


def _loads(text: bytes | memoryview) -> object:
    import orjson  # noqa: PLC0415 - no cold start needs it

    with contextlib.suppress(ValueError):  # NaN, or no JSON at all
        found: object = orjson.loads(text)
        return found
    try:
        return json.loads(bytes(text))
    except (ValueError, RecursionError):
        raise TensorRefused("The body is no JSON in UTF-8.") from None
