"""JSON request bodies, base64url, and lists in pages."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request

from devstack.rest.errors import BadRequest

type Json = dict[str, Any]

# The sort key of a list: JSON values that can be compared.
type Key = str | list[Any]


async def read_body(request: Request, limit: int) -> bytes:
    """Read the whole body.

    Raises:
        BadRequest: it is larger than ``limit`` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BadRequest(f"The request body is larger than {limit} bytes.")
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """Parse JSON.

    Raises:
        BadRequest: it is not valid.
    """
    try:
        document = json.loads(body)
        # JSON can escape one half of a surrogate pair, which no answer can contain.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("The request body is not valid JSON.") from None
    return document


def parse_object(body: bytes) -> Json:
    """Parse a JSON object.

    Raises:
        BadRequest: it is something else.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise BadRequest("The request body is not a JSON object.")
    return document


def page[T](
    entries: Sequence[T], key: Callable[[T], Key], size: int, token: str | None
) -> tuple[Sequence[T], str | None]:
    """The page of ``entries`` (in the order of ``key``) for a token (None: the first), and the token of the next page.

    The token is the key of the page's last entry, so that changes between two requests do not make the next page repeat
    or skip entries.

    Raises:
        BadRequest: the token is invalid.
    """
    try:
        rest = entries if token is None else _after(entries, key, json.loads(decode_base64url(token)))
    except (ValueError, TypeError):
        raise BadRequest("The $skiptoken is invalid.") from None
    chosen = rest[:size]
    more = len(rest) > size
    return chosen, encode_base64url(json.dumps(key(chosen[-1])).encode()) if more else None


def _after[T](entries: Sequence[T], key: Callable[[T], Any], last: Any) -> Sequence[T]:
    if not last:
        raise ValueError("not a key")
    return [entry for entry in entries if key(entry) > last]


def next_link(address: str, query: Mapping[str, str], token: str | None) -> str | None:
    """The absolute address of the next page; None after the last."""
    if token is None:
        return None
    return f"{address}?{urlencode({**query, '$skiptoken': token}, safe='$', quote_via=quote)}"


def encode_base64url(blob: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Decode base64url with or without padding.

    Raises:
        ValueError: it is not base64url.
    """
    stripped = text.rstrip("=")
    try:
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
