"""What the endpoints of the inference protocols share: parsing in a thread, JSON, errors as ``{"error": "..."}``.

orjson, which is imported at its first use, writes a thousand numbers in a thirtieth of the standard library's time, and
each with no more digits than a 32-bit float has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import azure.functions as func

from functions.http import problems
from functions.http.responses import data_response, json_response
from shared.errors import GatewayError, InvalidTensor
from shared.quoting import printable
from shared.telemetry import RequestContext

if TYPE_CHECKING:
    from shared.upstream.codecs import Output

# All methods, so that an unsupported one is answered in the protocol's form and not by the host.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_LONGEST_NAME = 1000
# Bytes of JSON: some milliseconds, whatever is in it.
_PARSED_ON_THE_LOOP = 65_536


async def respond(
    request: func.HttpRequest,
    invocation: func.Context,
    work: Callable[[], Awaitable[func.HttpResponse]],
    *,
    name: str,
    anonymous: bool = False,
) -> func.HttpResponse:
    """Run a trigger's work; an error is answered in the inference protocols' form.

    ``anonymous``: the route needs no key, so the error's detail is left out.
    """

    def error_of(error: GatewayError, request_id: str) -> func.HttpResponse:
        return _error(error, error.meaning if anonymous else error.detail, request_id)

    return await problems.respond(request, invocation, work, name=name, error_response=error_of)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """An error in the form of both protocols."""
    return json_response({"error": printable(message, problems.MAX_DETAIL)}, status=status, headers=headers)


def method_not_allowed(request: func.HttpRequest, path: str, allowed: Sequence[str]) -> func.HttpResponse:
    """The response to a method that the path does not have (RFC 9110, section 15.5.6)."""
    names = " or ".join(allowed)
    return error_response(405, f"{printable(path)} takes {names}, not {request.method}.", {"Allow": ", ".join(allowed)})


async def parsed[**P, T](size: int, parse: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What ``parse`` returns of a document of that many bytes; of a large one, it is called in a thread."""
    if size <= _PARSED_ON_THE_LOOP:
        return parse(*arguments, **named)
    return await asyncio.to_thread(parse, *arguments, **named)


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
        raise InvalidTensor(f"The version {printable(digits, 40)!r} is not a number of 64 bits.")
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
    return error_response(400 if error.status == 422 else error.status, message, problems.error_headers(error))
