"""The parts of a multipart form (RFC 7578).

A form as clients write it is split by searching for its boundary as bytes, which takes a tenth of the library's time or
less: most of the time of a request with a form would be that. Any other form is the library's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

# The bytes that a part's headers may have.
_MAX_HEADERS = 16_384
# The library gets a form in pieces of so many bytes: the headers of a part are then found too long before all of them
# are there.
_PIECE = 262_144
# More parts than this are the library's, which gives one after the other.
_MAX_PARTS = 256

_END_OF_HEADERS = b"\r\n\r\n"
_DISPOSITION = re.compile(r'form-data; name="([^"\\%]*)"(?:; filename="([^"\\%]*)")?', re.ASCII)


@dataclass
class Part:
    """A part of a form; ``filename`` is None for a text field."""

    name: str
    filename: str | None
    encoding: str
    content_type: str
    data: bytes = b""


def parts(body: bytes, boundary: str) -> Iterator[Part]:
    """The parts of a form, in their order.

    Raises:
        ValueError: the form ends prematurely, or its parts are not well-formed.
        RequestEntityTooLarge: the headers of a part are too long.
    """
    plain = _plain_parts(body, b"--" + boundary.encode("utf-8", "replace"))
    return _parts(body, boundary) if plain is None else iter(plain)


def _plain_parts(body: bytes, boundary: bytes) -> list[Part] | None:
    """The parts of a form without preamble, spaces after its boundary, or continued headers; None for others."""
    if not body.startswith(boundary + b"\r\n"):
        return None
    found, at = list[Part](), len(boundary) + 2
    while len(found) < _MAX_PARTS:
        end_of_headers = body.find(_END_OF_HEADERS, at, at + _MAX_HEADERS)
        part = None if end_of_headers < 0 else _plain_part(body[at:end_of_headers])
        # An empty part may end with the line break of its headers.
        end = -1 if part is None else _start_of_line(body, boundary, end_of_headers + 4)
        if part is None or end < 0:
            return None
        part.data = body[end_of_headers + 4 : end - 2]
        found.append(part)
        at = end + len(boundary) + 2
        if body[at - 2 : at] == b"--":
            return found
        if body[at - 2 : at] != b"\r\n":
            return None
    return None


def _start_of_line(body: bytes, boundary: bytes, at: int) -> int:
    """Where the boundary is next at the start of a line; -1 where it is not, or the line before has another end."""
    while (at := body.find(boundary, at)) >= 0:
        before = body[at - 2 : at]
        if before == b"\r\n":
            return at
        if before.endswith((b"\r", b"\n")):
            return -1
        at += 1
    return -1


def _plain_part(headers: bytes) -> Part | None:
    """A part without its data, of headers in ASCII, one in each line; None for others."""
    if not headers.isascii():
        return None
    values = dict[str, str]()
    for line in headers.decode().split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or line[0].isspace() or "\n" in line or "\r" in line:
            return None
        values.setdefault(name.strip().lower(), value.strip())
    if "content-disposition" not in values:
        return None
    plain = _DISPOSITION.fullmatch(values["content-disposition"])
    if plain is not None:
        name, filename = plain.groups()
    else:
        options = parse_options_header(values["content-disposition"])[1]
        name, filename = options.get("name", ""), options.get("filename")
    encoding = values.get("content-transfer-encoding", "").lower()
    return Part(name, filename, encoding, values.get("content-type", ""))


def _parts(body: bytes, boundary: str) -> Iterator[Part]:
    """As the library parses it."""
    decoder = MultipartDecoder(boundary.encode("utf-8", "replace"), max_form_memory_size=_PIECE + _MAX_HEADERS)
    part, chunks = None, list[bytes]()
    view = memoryview(body)
    for at in range(0, len(body) + _PIECE, _PIECE):
        # The end of the body is None.
        decoder.receive_data(view[at : at + _PIECE] if at < len(body) else None)  # type: ignore[arg-type] # as bytes
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Field | File):
                headers, name = event.headers, event.filename if isinstance(event, File) else None
                encoding = headers.get("content-transfer-encoding", "").strip().lower()
                part, chunks = Part(event.name or "", name, encoding, headers.get("content-type", "")), []
            elif isinstance(event, Data) and part is not None:
                chunks.append(event.data)
                if not event.more_data:
                    part.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                    yield part
