"""The images in a request, and the options beside them: a raw body, a multipart form, or JSON with base64.

A form and JSON are taken by their Content-Type. Of anything else the content decides: clients send images with a
Content-Type that is missing, or that is their library's default.
"""

import asyncio
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sized
from typing import NamedTuple

import azure.functions as func
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from functions.http import forms, json_strings
from functions.http.bodies import body_of
from functions.http.fields import fields
from shared.errors import (
    EmptyBody,
    GatewayError,
    ImageAddress,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    PartWithoutFile,
    TooManyImages,
    UnsupportedContentType,
)
from shared.quoting import quoted
from shared.scoring.types import Upload

# Members of a form or of JSON that the query may have as well.
OPTIONS = ("top", "threshold", "partial")

# Text fields beside the files of a form.
_MAX_FIELDS = 100
# Base64 is decoded in pieces of so many bytes.
_PIECE = 262_144
_MAX_OPTION = 40
# Bytes that are parsed on the event loop.
_SMALL_BODY = 1_000_000

_DATA_URL = re.compile(rb"data:[\w.+-]*(?:/[\w.+-]*)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?|ftp|file|s3|gs|blob):", re.IGNORECASE)
_ALTERNATIVE_ALPHABET = bytes.maketrans(b"-_", b"+/")


class Submission(NamedTuple):
    """The images of a request; ``options`` are those of :data:`OPTIONS` that a form or JSON contains, as text."""

    images: list[Upload]
    options: Mapping[str, str]


async def submission(request: func.HttpRequest, max_images: int) -> Submission:
    """The images of a request. One that is empty, or is not base64, has its ``fault``.

    Raises:
        TooManyImages: there are more than ``max_images``; the rest is not parsed.
        GatewayError: the body has none of the forms, or is malformed; the cause.
    """
    body, header = await body_of(request), fields(request).get("content-type", "")
    content_type = header.partition(";")[0].strip().lower()
    parse = _FORMS.get(content_type)
    if parse is not None:
        # Base64 and forms take some milliseconds a megabyte, which must not block the event loop.
        small = len(body) <= _SMALL_BODY
        return parse(body, header, max_images) if small else await asyncio.to_thread(parse, body, header, max_images)
    if content_type.startswith("image/") or content_type == "application/octet-stream" or _is_image(body):
        return Submission([Upload("body", body)], {})
    given = f"is '{quoted(content_type, limit=80)}'" if content_type else "is missing"
    # What curl -d says of a file, after it has removed the bytes of line ends.
    curl = " With curl, send a file by --data-binary or -F." if content_type == _CURLS_DEFAULT else ""
    raise UnsupportedContentType(f"The Content-Type {given}, and the body is not an image.{curl}")


# --- Forms (RFC 7578) -------------------------------------------------------------------------------------------


def _multipart(body: bytes, header: str, max_images: int) -> Submission:
    boundary = parse_options_header(header)[1].get("boundary", "")
    if not boundary:
        raise MalformedMultipart("The Content-Type names no boundary.")
    images, options, fields = list[Upload](), dict[str, str](), list[str]()
    try:
        for part in forms.parts(body, boundary):
            image = _image_of(part)
            if image is not None:
                images.append(image)
                _check_count(images, max_images)
            elif part.filename is None:
                fields.append(quoted(part.name, limit=80))
                if len(fields) > _MAX_FIELDS:
                    raise MalformedMultipart(f"The form has more than {_MAX_FIELDS} text fields.")
                if part.name in OPTIONS:
                    options[part.name] = part.data[:_MAX_OPTION].decode("utf-8", "replace").strip()
    except ValueError as error:
        raise MalformedMultipart("The form ends prematurely, or its parts are not well-formed.") from error
    except RequestEntityTooLarge:
        raise MalformedMultipart("The headers of a part are too long.") from None
    if not images:
        named = f"its fields are: {', '.join(fields[:10])}" if fields else "it has no fields"
        raise PartWithoutFile(f"The form contains no image; {named}.", fields=fields[:10])
    return Submission(images, options)


def _image_of(part: forms.Part) -> Upload | None:
    """The image in a part; None for a text field, and for a file field that was left empty."""
    if part.filename == "" and not part.data:
        return None
    name = part.filename or part.name
    if part.encoding == "base64" or _DATA_URL.match(part.data):
        return _from_base64(name, part.data, f"The part '{quoted(part.name, limit=80)}'")
    if part.filename is None and not part.content_type.startswith("image/") and not _is_image(part.data):
        return None
    return Upload(name, part.data, None if part.data else _empty(name))


# --- JSON -------------------------------------------------------------------------------------------------------


def _json(body: bytes, _header: str, max_images: int) -> Submission:
    document = json_strings.loads(body)
    if not isinstance(document, dict):
        raise MalformedJson("The body is JSON, but not an object.")
    entries = [document["image"]] if "image" in document else document.get("images")
    if not isinstance(entries, list):
        if "instances" in document or "inputs" in document:
            raise MalformedJson(
                "The JSON has no list 'images', but the form of an inference protocol: POST it to"
                " /v1/models/{service}:predict ('instances'), or to /v2/models/{service}/infer ('inputs')."
            )
        raise MalformedJson("The JSON has no list 'images'.")
    if not entries:
        raise EmptyBody("The list 'images' is empty.")
    _check_count(entries, max_images)
    images = [_entry(entry, index, "image" in document) for index, entry in enumerate(entries)]
    return Submission(images, {name: _option(document[name]) for name in OPTIONS if name in document})


def _entry(entry: object, index: int, single: bool) -> Upload:
    where = "image" if single else f"images[{index}]"
    name, text = None, entry
    if isinstance(entry, dict):
        name, text, where_text = entry.get("name"), entry.get("b64"), f"{where}.b64"
    else:
        where_text = where
    if isinstance(text, memoryview):
        return _from_base64(name if isinstance(name, str) and name else where, text, where_text)
    if not isinstance(text, str):
        raise MalformedJson(f"{where} is neither base64 nor an object with base64 in 'b64'.", index=index)
    if not isinstance(name, str | None):
        raise MalformedJson(f"{where}.name is not a string.", index=index)
    if _ADDRESS.match(text):
        raise ImageAddress(f"{where_text} is an address.", index=index)
    return _from_base64(name or where, text.encode("utf-8", "replace"), where_text)


def _option(value: object) -> str:
    return json.dumps(value)[:_MAX_OPTION] if not isinstance(value, str) else value[:_MAX_OPTION]


# --- Both -------------------------------------------------------------------------------------------------------


def _from_base64(name: str, text: bytes | memoryview, where: str) -> Upload:
    """Base64 in either alphabet (RFC 4648, sections 4 and 5), with line breaks (MIME), padded or not; or a data URL."""
    url = _DATA_URL.match(text)
    try:
        data = _decoded(text[url.end() :] if url else text)
    except binascii.Error:
        return Upload(name, b"", MalformedBase64(f"{where} is not base64."))
    return Upload(name, data, None if data else _empty(name))


def _decoded(text: bytes | memoryview) -> bytes:
    """The bytes of base64, decoded in pieces: between two, other threads run.

    Raises:
        binascii.Error: it is not base64.
    """
    pieces, rest = list[bytes](), b""
    for at in range(0, len(text), _PIECE):
        piece = rest + bytes(text[at : at + _PIECE]).translate(_ALTERNATIVE_ALPHABET, b" \t\r\n")
        whole = max(0, (len(piece) - 4) // 4 * 4)  # without the padding, which is at the end alone
        if piece.find(b"=", 0, whole) >= 0:
            raise binascii.Error("there is data after the padding")
        pieces.append(binascii.a2b_base64(piece[:whole], strict_mode=True))
        rest = piece[whole:]
    bare = rest.rstrip(b"=")
    if len(rest) - len(bare) > 2:
        raise binascii.Error("too much padding")
    pieces.append(binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True))
    return b"".join(pieces)


def _is_image(data: bytes) -> bool:
    from shared.scoring.images.formats import is_image  # noqa: PLC0415 - most requests do not need it

    return is_image(data)


def _empty(name: str) -> GatewayError:
    return EmptyBody(f"The file '{quoted(name, limit=80)}' is empty.")


def _check_count(images: Sized, max_images: int) -> None:
    if len(images) > max_images:
        raise TooManyImages(f"The request has more than {max_images} images.", limit=max_images)


_CURLS_DEFAULT = "application/x-www-form-urlencoded"

_FORMS: Mapping[str, Callable[[bytes, str, int], Submission]] = {
    "multipart/form-data": _multipart,
    "application/json": _json,
}
