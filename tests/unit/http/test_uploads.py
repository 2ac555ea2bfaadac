"""The images of a request: a raw body, a form, JSON."""

import base64
import binascii
import gzip
import json
import zlib
from typing import Any
from unittest import mock

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.http import uploads
from functions.http.bodies import BODY_LIMIT
from functions.http.uploads import Submission, submission
from shared import errors
from shared.errors import GatewayError
from shared.scoring.types import Upload

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
JPEG = b"\xff\xd8\xff\xe0 the rest of a JPEG file"
TEXT = base64.b64encode(JPEG).decode()
MOST = 4


def request(body: bytes, content_type: str | None, **headers: str) -> func.HttpRequest:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        fields["Content-Type"] = content_type
    return func.HttpRequest("POST", "http://localhost/api/score", headers=fields, body=body)


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> func.HttpRequest:
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + end
    return request(body, f"multipart/form-data; boundary={BOUNDARY}")


def part(data: bytes, disposition: str = 'form-data; name="file"; filename="a.jpg"', headers: str = "") -> bytes:
    return f"Content-Disposition: {disposition}\r\n{headers}\r\n".encode() + data


def field(name: str, data: bytes, headers: str = "") -> bytes:
    return part(data, f'form-data; name="{name}"', headers)


def document(content: Any) -> func.HttpRequest:
    return request(json.dumps(content).encode(), "application/json; charset=utf-8")


async def images(upload: func.HttpRequest) -> list[Upload]:
    return (await submission(upload, MOST)).images


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/HEIC", "image/*", "application/octet-stream"])
async def test_a_raw_body_is_one_image(kind: str) -> None:
    assert await images(request(b"bytes", kind)) == [Upload("body", b"bytes")]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "video/mp4", "nonsense"])
async def test_an_image_with_another_content_type_is_one_all_the_same(kind: str | None) -> None:
    assert await images(request(JPEG, kind)) == [Upload("body", JPEG)]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate", "identity", ""])
async def test_a_compressed_body_is_decompressed(coding: str) -> None:
    packers: dict[str, Any] = {"deflate": zlib.compress, "identity": bytes, "": bytes}
    packed = packers.get(coding, gzip.compress)

    assert await images(request(packed(JPEG), "image/jpeg", Content_Encoding=coding)) == [Upload("body", JPEG)]
    named = json.dumps({"images": [{"b64": TEXT}]}).encode()
    assert await images(request(packed(named), "application/json", Content_Encoding=coding)) == [
        Upload("images[0]", JPEG)
    ]


# Forms.


async def test_a_form_contains_files_in_fields_of_any_name() -> None:
    upload = form(
        part(b"one"),
        part(b"two\r\nlines\r\n", 'form-data; name="other"; filename="b c.png"'),
        part(b"three", "form-data; name=x; filename*=UTF-8''%C3%A9t%C3%A9.jpg"),
    )

    assert await images(upload) == [
        Upload("a.jpg", b"one"),
        Upload("b c.png", b"two\r\nlines\r\n"),
        Upload("été.jpg", b"three"),
    ]


async def test_a_large_file_in_a_form_is_complete() -> None:
    data = bytes(range(256)) * 20_000

    assert await images(form(part(data), part(b"x"))) == [Upload("a.jpg", data), Upload("a.jpg", b"x")]


async def test_text_fields_beside_the_files_are_ignored_but_for_the_options() -> None:
    upload = form(field("csrf", b"token"), part(b"one"), field("top", b" 3\n"), field("threshold", b"0.5"))

    assert await submission(upload, MOST) == Submission([Upload("a.jpg", b"one")], {"top": "3", "threshold": "0.5"})


async def test_a_part_without_a_file_name_that_contains_an_image_is_one() -> None:
    upload = form(field("photo", JPEG), field("typed", b"?", "Content-Type: image/png\r\n"))

    assert await images(upload) == [Upload("photo", JPEG), Upload("typed", b"?")]


async def test_a_file_input_that_was_left_empty_is_skipped() -> None:
    upload = form(part(b"", 'form-data; name="second"; filename=""'), part(b"one"))

    assert await images(upload) == [Upload("a.jpg", b"one")]


async def test_base64_and_data_urls_in_a_form_are_decoded() -> None:
    encoded = base64.encodebytes(JPEG)
    upload = form(
        part(encoded, headers="Content-Transfer-Encoding: BASE64\r\n"),
        field("camera", b"data:image/jpeg;base64," + base64.b64encode(JPEG)),
    )

    assert await images(upload) == [Upload("a.jpg", JPEG), Upload("camera", JPEG)]


# JSON.


async def test_json_contains_images_in_base64() -> None:
    named = {"b64": f"data:image/png;base64,{TEXT}", "name": "cat.png"}
    upload = document({"images": [{"b64": TEXT}, named, {"b64": TEXT, "name": None}, TEXT], "top": 3, "partial": True})

    assert await submission(upload, MOST) == Submission(
        [Upload("images[0]", JPEG), Upload("cat.png", JPEG), Upload("images[2]", JPEG), Upload("images[3]", JPEG)],
        {"top": "3", "partial": "true"},
    )


@pytest.mark.parametrize("image", [TEXT, f"data:;base64,{TEXT}", {"b64": TEXT}])
async def test_json_contains_one_image(image: object) -> None:
    assert await images(document({"image": image})) == [Upload("image", JPEG)]


@pytest.mark.parametrize(
    "text",
    [
        base64.urlsafe_b64encode(JPEG).decode(),
        base64.urlsafe_b64encode(JPEG).decode().rstrip("="),
        base64.encodebytes(JPEG * 10).decode().replace("\n", "\r\n"),
        f"data:image/svg+xml;charset=utf-8;base64,{TEXT}",
    ],
)
async def test_base64_may_be_url_safe_or_unpadded_or_have_line_breaks(text: str) -> None:
    [upload] = await images(document({"image": text}))

    assert upload.data in {JPEG, JPEG * 10}
    assert upload.fault is None


# Faults.


@pytest.mark.parametrize(
    ("upload", "kind", "detail"),
    [
        (request(b"", "image/png"), errors.EmptyBody, "The request's body is empty."),
        (request(b"", None), errors.EmptyBody, "The request's body is empty."),
        (request(b"", "image/png", Transfer_Encoding="chunked"), errors.LengthRequired, "The upload is chunked"),
        (request(b"x", None), errors.UnsupportedContentType, "The Content-Type is missing, and the body is not an"),
        (request(b"x", "text/plain"), errors.UnsupportedContentType, "The Content-Type is 'text/plain', and"),
        (
            request(b"a=b", "application/x-www-form-urlencoded"),
            errors.UnsupportedContentType,
            "is 'application/x-www-form-urlencoded', and the body is not an image. With curl, send a file by --data-b",
        ),
        (request(JPEG, "image/png", Content_Encoding="br"), errors.UnsupportedContentEncoding, "is 'br'; gzip"),
        (request(JPEG, "image/png", Content_Encoding="gzip"), errors.MalformedContentEncoding, "is not gzip"),
        (
            request(zlib.compress(bytes(BODY_LIMIT + 1), 1), "image/png", Content_Encoding="deflate"),
            errors.BodyTooLarge,
            "after decompression",
        ),
        (request(b"x", "multipart/form-data"), errors.MalformedMultipart, "names no boundary"),
        (request(b"not a form", f"multipart/form-data; boundary={BOUNDARY}"), errors.MalformedMultipart, "form"),
        (form(), errors.PartWithoutFile, "The form contains no image; it has no fields."),
        (form(part(b"one"), end=b""), errors.MalformedMultipart, "ends prematurely"),
        (form(part(b"one"), end=b"--"), errors.MalformedMultipart, "ends prematurely"),
        (form(b"Content-Type: image/png\r\n\r\nx"), errors.MalformedMultipart, "not well-formed"),
        (form(field("top", b"5"), field("id", b"7")), errors.PartWithoutFile, "its fields are: top, id"),
        (form(part(b"one", f"form-data; name={'x' * 400_000}")), errors.MalformedMultipart, "headers of a part"),
        (form(*[field("id", b"7")] * 101, part(b"one")), errors.MalformedMultipart, "more than 100 text fields"),
        (form(*[part(b"one")] * 5), errors.TooManyImages, "more than 4 images"),
        (request(b"{", "application/json"), errors.MalformedJson, "not JSON"),
        (request(b"\xff", "application/json"), errors.MalformedJson, "not JSON"),
        (request(b"[" * 100_000, "application/json"), errors.MalformedJson, "far more values"),
        (request(b'{"images": [' + b"{}," * 1_000_000, "application/json"), errors.MalformedJson, "far more values"),
        (document([]), errors.MalformedJson, "not an object"),
        (document({"pictures": 1}), errors.MalformedJson, "The JSON has no list 'images'."),
        (document({"images": {}}), errors.MalformedJson, "The JSON has no list 'images'."),
        (document({"instances": [{"b64": TEXT}]}), errors.MalformedJson, "/v1/models/{service}:predict"),
        (document({"images": []}), errors.EmptyBody, "The list 'images' is empty."),
        (document({"images": [TEXT] * 5}), errors.TooManyImages, "more than 4 images"),
        (document({"image": 1}), errors.MalformedJson, "image is neither base64 nor an object"),
        (document({"images": [{"b64": 5}]}), errors.MalformedJson, "images[0] is neither base64 nor an object"),
        (document({"images": [{"b64": "", "name": 5}]}), errors.MalformedJson, "images[0].name is not a string."),
        (document({"image": "https://example.com/cat.jpg"}), errors.ImageAddress, "image is an address."),
        (document({"images": [{"b64": "HTTP://x"}]}), errors.ImageAddress, "images[0].b64 is an address."),
    ],
)
async def test_an_invalid_body_is_rejected(upload: func.HttpRequest, kind: type[GatewayError], detail: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await submission(upload, MOST)

    assert type(caught.value) is kind
    assert detail in caught.value.detail
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("upload", "kind", "detail"),
    [
        (document({"images": [TEXT, "!"]}), errors.MalformedBase64, "images[1] is not base64."),
        (document({"images": [TEXT, {"b64": "abcde"}]}), errors.MalformedBase64, "images[1].b64 is not base64."),
        (document({"images": [TEXT, {"b64": "é"}]}), errors.MalformedBase64, "images[1].b64 is not base64."),
        (document({"images": [TEXT, ""]}), errors.EmptyBody, "The file 'images[1]' is empty."),
        (form(part(JPEG), part(b"")), errors.EmptyBody, "The file 'a.jpg' is empty."),
        (form(part(JPEG), field("x", b"data:;base64,!")), errors.MalformedBase64, "The part 'x' is not base64."),
    ],
)
async def test_a_fault_of_one_image_leaves_the_others_usable(
    upload: func.HttpRequest, kind: type[GatewayError], detail: str
) -> None:
    good, faulty = await images(upload)

    assert (good.data, good.fault) == (JPEG, None)
    assert (type(faulty.fault), str(faulty.fault)) == (kind, detail)


@given(data=st.binary(min_size=1, max_size=200), url_safe=st.booleans(), padded=st.booleans(), line=st.integers(1, 80))
def test_base64_is_decoded_in_pieces_in_every_form(data: bytes, url_safe: bool, padded: bool, line: int) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data)
    text = text if padded else text.rstrip(b"=")
    text = b"\r\n".join(text[at : at + line] for at in range(0, len(text), line))

    with mock.patch.object(uploads, "_PIECE", 8):
        assert uploads._decoded(text) == data
        for wrong in (b"AA==" + text, text[:-1] + b"!", text.rstrip(b"=") + b"==="):
            with pytest.raises(binascii.Error):
                uploads._decoded(wrong)


async def test_a_long_string_of_json_may_have_escapes() -> None:
    data = JPEG + bytes(range(256)) * 400
    text = base64.b64encode(data).decode()

    for escaped in (text, text.replace("/", "\\/"), text.replace("+", "\\u002b")):
        body = f'{{"images": [{{"b64": "{escaped}", "name": "a \\"b\\" \\\\"}}, "{escaped}"], "top": 3}}'.encode()
        found = await submission(request(body, "application/json"), MOST)
        assert [(image.name, image.data) for image in found.images] == [('a "b" \\', data), ("images[1]", data)]
        assert found.options == {"top": "3"}


@pytest.mark.parametrize("filename", ['; filename="a.jpg"', ""])
async def test_a_part_may_have_no_name(filename: str) -> None:
    disposition = f"form-data{filename}"

    assert [image.data for image in await images(form(part(JPEG, disposition)))] == [JPEG]
    with pytest.raises(errors.PartWithoutFile):
        await submission(form(part(b"text", "form-data")), MOST)
    [upload] = await images(form(part(b"!", disposition, "Content-Transfer-Encoding: base64\r\n")))
    assert isinstance(upload.fault, errors.MalformedBase64)
