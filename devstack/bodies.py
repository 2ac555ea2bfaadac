"""Request bodies, as the REST servers of the local stack read them."""

import json
from typing import Any

from starlette.requests import Request


class BadBody(ValueError):
    """A body that cannot be used; the message is for the client, and each server gives it its own form."""


async def read(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        BadBody: it is larger than ``limit`` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BadBody(f"The request body is larger than {limit} bytes.")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadBody: it is something else.
    """
    try:
        document = json.loads(body)
        # JSON can escape half of a surrogate pair, which no answer could then carry.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadBody("The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise BadBody("The request body is not a JSON object.")
    return document
