"""The body of a request: there at all, within the memory and the limits, and without its Content-Encoding."""

import asyncio
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Self

import azure.functions as func

from functions.http.fields import fields
from shared.errors import BodyTooLarge, EmptyBody, LengthRequired, MalformedContentEncoding, UnsupportedContentEncoding
from shared.gateway import gateway
from shared.quoting import quoted

# The host's limit of a body, in bytes; decompression must not exceed it either.
BODY_LIMIT = 104_857_600
# Decompression must neither make more than so many times the body's bytes, beyond what is small: photographs, base64
# and numbers do not compress so far, and an attack does.
_MAX_RATIO, _SMALL = 100, 1_048_576

# zlib's numbers for the formats that HTTP names so (RFC 9110, section 8.4.1).
_GZIP, _ZLIB = 31, 15
_CODINGS: Mapping[str, int] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}

# Smaller bodies are not counted: a photograph usually is, and a thousand of them would still fit.
_COUNTED = 1_000_000


class Counted:
    """Counts a request's body in the gateway's memory for the duration of a ``with`` block.

    A class, not a generator, and no stack of contexts for what is small: each request passes through it.

    Raises:
        BodyTooLarge, GatewayBusy: on entering: there is no memory for it.
    """

    __slots__ = ("_request", "_stack")

    def __init__(self, request: func.HttpRequest) -> None:
        self._request = request
        self._stack: ExitStack | None = None

    def __enter__(self) -> Self:
        _current.set(self)
        self.add(self._request.get_body())
        return self

    def __exit__(self, *_error: object) -> None:
        if self._stack is not None:
            self._stack.close()

    def add(self, body: bytes) -> None:
        """Count another body of the request, or its content after decompression."""
        if len(body) < _COUNTED:
            return
        if self._stack is None:
            self._stack = ExitStack()
        self._stack.enter_context(gateway().memory.body(len(body)))


_current: ContextVar[Counted] = ContextVar("counted")


async def body_of(request: func.HttpRequest) -> bytes:
    """The body's bytes, decompressed.

    Raises:
        LengthRequired: there are none, since they were sent in chunks.
        EmptyBody: there are none.
        UnsupportedContentEncoding, MalformedContentEncoding: its coding is not supported, or the body has another one.
        BodyTooLarge, GatewayBusy: it is too large after decompression, or there is no memory for it.
    """
    body = request.get_body()
    if not body:
        if "chunked" in fields(request).get("transfer-encoding", "").lower():
            raise LengthRequired("The upload is chunked, and so reached the gateway without its bytes.")
        raise EmptyBody("The request's body is empty.")
    coding = fields(request).get("content-encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in _CODINGS:
        raise UnsupportedContentEncoding(
            f"The Content-Encoding is '{quoted(coding, limit=40)}'; gzip, deflate or none is expected."
        )
    content = await asyncio.to_thread(_inflated, body, coding)
    if len(content) >= _COUNTED:
        _current.get().add(content)
    return content


def _inflated(body: bytes, coding: str) -> bytes:
    engine = zlib.decompressobj(_CODINGS[coding])
    limit = min(BODY_LIMIT, max(_SMALL, _MAX_RATIO * len(body)))
    try:
        content = engine.decompress(body, limit)
    except zlib.error:
        raise MalformedContentEncoding(f"The body is not {coding}, contrary to its Content-Encoding.") from None
    if engine.unconsumed_tail:
        raise BodyTooLarge(
            f"The body has more than {limit} bytes after decompression; {_MAX_RATIO} times its compressed bytes are"
            f" allowed, and at most {BODY_LIMIT}.",
            limit=limit,
        )
    if not engine.eof or engine.unused_data:
        raise MalformedContentEncoding(f"The body is not complete, or more than one {coding} stream.")
    return content
