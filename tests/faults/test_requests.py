"""Trouble with a request, over HTTP: each has its problem type, and an example in docs/errors.md."""

import base64
import io
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from devstack.photos import photo
from tests.faults.documented import documents

BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def post(
    client: httpx.Client, content: Any, kind: str | None, path: str = "/api/score", **headers: str
) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        given["Content-Type"] = kind
    return client.post(path, content=content, headers=given)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    document: dict[str, Any] = response.json()
    return document


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {what}\r\n\r\n".encode() + data + b"\r\n"
        for what, data in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


def bomb(width: int, height: int) -> bytes:
    """A PNG file of few bytes and many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_an_empty_body(client: httpx.Client) -> None:
    assert documents("empty-body", problem(post(client, b"", "image/jpeg"), 400))


def test_a_chunked_upload_which_the_host_hands_over_empty(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield photo("rocket").read_bytes()

    assert documents("length-required", problem(post(client, chunks(), "image/jpeg"), 411))


def test_a_content_type_that_is_no_upload(client: httpx.Client) -> None:
    assert documents("unsupported-content-type", problem(post(client, b"x", "text/plain"), 415))
    assert problem(post(client, b"x", None), 415)["detail"] == "The Content-Type is missing."


def test_a_broken_form(client: httpx.Client) -> None:
    body = form(('name="a"; filename="a.jpg"', b"x"))
    assert documents("malformed-multipart", problem(post(client, body[:-10], FORM), 400))
    assert documents("malformed-multipart", problem(post(client, b"no form", FORM), 400))


def test_a_part_without_a_file_name(client: httpx.Client) -> None:
    assert documents("part-without-file", problem(post(client, form(('name="top"', b"3")), FORM), 400))


def test_broken_json(client: httpx.Client) -> None:
    assert documents("malformed-json", problem(post(client, b'{"images": [', "application/json"), 400))


def test_broken_base64(client: httpx.Client) -> None:
    assert documents("malformed-base64", problem(client.post("/api/score", json={"images": [{"b64": "?"}]}), 400))


@pytest.mark.parametrize("query", ["top=-1", "top=x", "threshold=2", "threshold=nan"])
def test_a_bad_query_value(client: httpx.Client, query: str) -> None:
    assert problem(post(client, b"x", "image/jpeg", f"/api/score?{query}"), 400)["type"].endswith(":invalid-parameter")


def test_a_bad_parameter(client: httpx.Client) -> None:
    assert documents("invalid-parameter", problem(post(client, b"x", "image/jpeg", "/api/score?top=many"), 400))
    document = problem(post(client, b"x", "image/jpeg", Request_Timeout_Ms="soon"), 400)
    assert document["parameter"] == "Request-Timeout-Ms"


def test_too_many_files(client: httpx.Client) -> None:
    body = form(*[(f'name="f"; filename="{number}.jpg"', b"x") for number in range(17)])

    assert documents("too-many-images", problem(post(client, body, FORM), 413))


def test_too_many_pixels_whatever_the_file_weighs(client: httpx.Client) -> None:
    for service in ("imagenet", "imagenet-tensor"):
        answer = post(client, bomb(20_000, 10_000), "image/png", f"/api/services/{service}/score")
        assert documents("image-too-large", problem(answer, 413))


def test_too_many_bytes(client: httpx.Client) -> None:
    document = problem(post(client, bytes(20_000_001), "image/jpeg"), 413)

    assert document["type"].endswith(":image-too-large")
    assert document["detail"] == "The image has 20000001 bytes; 20000000 are allowed."


def test_a_file_that_is_no_image(client: httpx.Client) -> None:
    assert documents("unsupported-image", problem(post(client, b"%PDF-1.7", "image/jpeg"), 422))


@pytest.mark.parametrize("service", ["imagenet", "imagenet-tensor"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_cut_short(client: httpx.Client, service: str, kind: str) -> None:
    out = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(out, kind)

    answer = post(client, out.getvalue()[:4000], "image/jpeg", f"/api/services/{service}/score")

    assert documents("damaged-image", problem(answer, 422))


def test_one_bad_file_among_several_is_named(client: httpx.Client) -> None:
    good = photo("rocket").read_bytes()
    body = form(('name="f"; filename="good.jpg"', good), ('name="f"; filename="bad.jpg"', b"hello"))

    document = problem(post(client, body, FORM), 422)

    assert (document["file"], document["index"]) == ("bad.jpg", 1)


def test_an_unknown_service(client: httpx.Client) -> None:
    assert documents("unknown-service", problem(post(client, b"x", "image/jpeg", "/api/services/dogs/score"), 404))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_not_found_as_the_host_has_it(client: httpx.Client, method: str) -> None:
    assert client.request(method, "/api/score").status_code == 404


def test_a_header_that_lies_about_the_format_is_tolerated(client: httpx.Client) -> None:
    answer = post(client, photo("coffee").read_bytes(), "image/jpeg")

    assert answer.json()["predictions"][0]["labels"][0]["label"] == "espresso"


def test_base64_with_a_data_url_of_a_wrong_type_is_tolerated(client: httpx.Client) -> None:
    text = base64.b64encode(photo("coffee").read_bytes()).decode()

    answer = client.post("/api/score", json={"images": [{"b64": f"data:image/jpeg;base64,{text}"}]})

    assert answer.json()["predictions"][0]["labels"][0]["label"] == "espresso"
