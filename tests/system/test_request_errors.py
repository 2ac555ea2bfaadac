"""Invalid requests over HTTP: the responses equal the examples of the problem types in docs/reference/errors.md."""

import base64
import io
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from devstack.photos import photo
from tests.support.documented_errors import matches_example

BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def post(
    client: httpx.Client, content: Any, kind: str | None, path: str = "/api/score", **headers: str
) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        fields["Content-Type"] = kind
    return client.post(path, content=content, headers=fields)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    document: dict[str, Any] = response.json()
    return document


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode() + data + b"\r\n"
        for parameters, data in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


def bomb(width: int, height: int) -> bytes:
    """A small PNG file with many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("slug", "status", "content", "kind"),
    [
        ("empty-body", 400, b"", "image/jpeg"),
        ("unsupported-content-type", 415, b"x", "text/plain"),
        ("malformed-multipart", 400, form(('name="a"; filename="a.jpg"', b"x"))[:-10], FORM),
        ("malformed-multipart", 400, b"no form", FORM),
        ("part-without-file", 400, form(('name="top"', b"3")), FORM),
        ("malformed-json", 400, b'{"images": [', "application/json"),
        ("malformed-base64", 400, b'{"images": [{"b64": "?"}]}', "application/json"),
        ("image-address", 400, b'{"images": ["https://example.com/cat.jpg"]}', "application/json"),
        ("too-many-images", 413, form(*[('name="f"; filename="f.jpg"', b"x")] * 17), FORM),
        ("unsupported-image", 422, b"%PDF-1.7", "image/jpeg"),
    ],
)
def test_an_invalid_body(client: httpx.Client, slug: str, status: int, content: bytes, kind: str) -> None:
    assert matches_example(slug, problem(post(client, content, kind), status))


def test_an_invalid_content_encoding(client: httpx.Client) -> None:
    response = post(client, b"not compressed", "image/jpeg", Content_Encoding="gzip")

    assert matches_example("malformed-content-encoding", problem(response, 400))


def test_a_chunked_upload(client: httpx.Client) -> None:
    chunks = iter([photo("rocket").read_bytes()])

    assert matches_example("length-required", problem(post(client, chunks, "image/jpeg"), 411))


def test_a_missing_content_type(client: httpx.Client) -> None:
    assert (
        problem(post(client, b"x", None), 415)["detail"] == "The Content-Type is missing, and the body is not an image."
    )


def test_invalid_parameters(client: httpx.Client) -> None:
    assert matches_example("invalid-parameter", problem(post(client, b"x", "image/jpeg", "/api/score?top=many"), 400))
    for query in ("top=-1", "threshold=2", "threshold=nan"):
        document = problem(post(client, b"x", "image/jpeg", f"/api/score?{query}"), 400)
        assert document["type"].endswith(":invalid-parameter")
    document = problem(post(client, b"x", "image/jpeg", Request_Timeout_Ms="soon"), 400)
    assert document["parameter"] == "Request-Timeout-Ms"


def test_too_many_pixels(client: httpx.Client) -> None:
    for service in ("imagenet", "imagenet-tensor"):
        response = post(client, bomb(20_000, 10_000), "image/png", f"/api/services/{service}/score")
        assert matches_example("image-too-large", problem(response, 413))


def test_too_many_bytes(client: httpx.Client) -> None:
    document = problem(post(client, bytes(20_000_001), "image/jpeg"), 413)

    assert document["type"].endswith(":image-too-large")
    assert document["detail"] == "The image has 20000001 bytes; 20000000 are allowed."


@pytest.mark.parametrize("service", ["imagenet", "imagenet-tensor"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_image(client: httpx.Client, service: str, kind: str) -> None:
    out = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(out, kind)

    response = post(client, out.getvalue()[:4000], "image/jpeg", f"/api/services/{service}/score")

    assert matches_example("damaged-image", problem(response, 422))


def test_the_error_names_the_invalid_file(client: httpx.Client) -> None:
    good = photo("rocket").read_bytes()
    body = form(('name="f"; filename="good.jpg"', good), ('name="f"; filename="bad.jpg"', b"hello"))

    document = problem(post(client, body, FORM), 422)

    assert (document["file"], document["index"]) == ("bad.jpg", 1)


def test_an_unknown_service(client: httpx.Client) -> None:
    response = post(client, b"x", "image/jpeg", "/api/services/dogs/score")

    assert matches_example("unknown-service", problem(response, 404))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_found(client: httpx.Client, method: str) -> None:
    assert client.request(method, "/api/score").status_code == 404


def test_the_format_is_that_of_the_file_and_not_of_its_declaration(client: httpx.Client) -> None:
    coffee = photo("coffee").read_bytes()  # a PNG
    data_url = f"data:image/jpeg;base64,{base64.b64encode(coffee).decode()}"

    for response in (
        post(client, coffee, "image/jpeg"),
        client.post("/api/score", json={"images": [{"b64": data_url}]}),
    ):
        assert response.json()["predictions"][0]["labels"][0]["label"] == "espresso"
