"""The images in a request: a raw body, a multipart form with files, or JSON with base64."""

import base64
import binascii
import json
from collections.abc import Iterator

import azure.functions as func
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from functions.http.requests import body_of
from shared.errors import (
    EmptyBody,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    PartWithoutFile,
    UnsupportedContentType,
)
from shared.scoring.types import Upload

_DATA_URL = "data:"


def uploads(request: func.HttpRequest) -> list[Upload]:
    """The images of a request.

    Raises:
        GatewayError: the body has none of the forms, or is broken; the cause.
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


def _multipart(body: bytes, boundary: str) -> Iterator[Upload]:
    if not boundary:
        raise MalformedMultipart("The Content-Type names no boundary.")
    decoder = MultipartDecoder(boundary.encode("utf-8", "replace"), max_form_memory_size=None)
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        yield from _files(decoder)
    except ValueError as error:
        raise MalformedMultipart("The form ends prematurely, or its parts are not well-formed.") from error


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
        raise MalformedJson("The body is not JSON in UTF-8.") from error
    entries = document.get("images") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise MalformedJson("The JSON has no list 'images'.")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("b64"), str):
            raise MalformedJson(f"images[{index}] has no string 'b64'.", index=index)
        name = entry.get("name")
        if not isinstance(name, str | None):
            raise MalformedJson(f"images[{index}].name is not a string.", index=index)
        yield Upload(name or f"images[{index}]", _decode(entry["b64"], index))


def _decode(text: str, index: int) -> bytes:
    # Browsers make data URLs (RFC 2397): what precedes the comma adds nothing to the bytes.
    if text.startswith(_DATA_URL):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBase64(f"images[{index}].b64 is not base64.", index=index) from error


def _not_empty(found: Iterator[Upload]) -> list[Upload]:
    files = list(found)
    if not files:
        raise EmptyBody("The request contains no image.")
    for index, upload in enumerate(files):
        if not upload.data:
            raise EmptyBody(f"The file {upload.name!r} is empty.", file=upload.name, index=index)
    return files
