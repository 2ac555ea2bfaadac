"""Every upload is scored or rejected with a client error: it causes neither internal errors nor hangs.

``make test`` sends some hundred uploads of each kind, ``make fuzz`` ten thousand. Each finding is added to the tests of
the affected module.
"""

import base64
import io
import json
import os
from collections.abc import Callable
from typing import Any

import pillow_heif
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.app import Response
from tests.system.fuzz.conftest import DEADLINE, Upload

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000"))
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"

services = st.sampled_from(["files", "pixels"])


def fuzz(share: float) -> Callable[[Any], Any]:
    """Settings for a share of all examples; an upload that takes half the deadline counts as a hang."""
    return settings(
        max_examples=max(10, int(EXAMPLES * share)),
        deadline=DEADLINE * 500,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
        database=None,
    )


def check(response: Response) -> None:
    """Check that the upload was scored, or rejected with a problem document."""
    assert response.status == 200 or (400 <= response.status < 500 and response.problem), (
        response.status,
        response.body,
    )


def _files() -> list[bytes]:
    """A small image in every supported format and common mode."""
    picture = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    forms: list[tuple[str, str, dict[str, Any]]] = [
        ("JPEG", "RGB", {"exif": exif}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {}),
        ("PNG", "RGBA", {"exif": exif}),
        ("PNG", "P", {}),
        ("PNG", "I;16", {}),
        ("WEBP", "RGBA", {"exif": exif}),
        ("GIF", "P", {"save_all": True, "append_images": [picture.convert("P")]}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("AVIF", "RGB", {}),
    ]
    for kind, mode, options in forms:
        out = io.BytesIO()
        (picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)).save(out, kind, **options)
        files.append(out.getvalue())
    heic = io.BytesIO()
    pillow_heif.from_pillow(picture).save(heic, quality=80)
    return [*files, heic.getvalue()]


FILES = _files()


@st.composite
def corrupted(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes with a few random modifications."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["replace", "truncate", "insert", "remove", "repeat"])):
            case "replace" if at < len(data):
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255))
            case "truncate":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12))
            case "remove":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + 32]
            case _:
                pass
    return bytes(data)


@fuzz(0.5)
@given(data=corrupted(st.sampled_from(FILES)), service=services)
def test_images(upload: Upload, data: bytes, service: str) -> None:
    check(upload(data, "image/jpeg", service=service))


@fuzz(0.1)
@given(
    data=st.binary(max_size=400), kind=st.sampled_from(["image/png", FORM, "application/json"]) | st.text(max_size=60)
)
def test_arbitrary_bodies(upload: Upload, data: bytes, kind: str) -> None:
    check(upload(data, kind))


def _form(parts: list[tuple[str, bytes]]) -> bytes:
    lines = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts]
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


heads = st.sampled_from(
    [
        'Content-Disposition: form-data; name="a"; filename="a.jpg"',
        'Content-Disposition: form-data; name="a"; filename="a.jpg"\r\nContent-Type: image/jpeg',
        "Content-Disposition: form-data; name=a; filename*=utf-8''%e2%82%ac.jpg",
        'Content-Disposition: form-data; name="a"; filename=""',
        'Content-Disposition: form-data; name="a"',
        'Content-Disposition: attachment; filename="a.jpg"',
        "Content-Type: image/jpeg",
        "",
    ]
) | st.text(max_size=80)


@fuzz(0.2)
@given(
    body=corrupted(st.lists(st.tuples(heads, st.sampled_from(FILES) | st.binary(max_size=50)), max_size=4).map(_form)),
    boundary=st.sampled_from([BOUNDARY, BOUNDARY, BOUNDARY, "", '"', "b", "x" * 100]) | st.text(max_size=20),
)
def test_forms(upload: Upload, body: bytes, boundary: str) -> None:
    check(upload(body, f"multipart/form-data; boundary={boundary}"))


base64s = st.sampled_from(FILES).map(lambda data: base64.b64encode(data).decode()) | st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | base64s,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["images", "b64", "name"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
images = st.fixed_dictionaries({"images": st.lists(st.fixed_dictionaries({"b64": base64s}, optional={"name": values}))})


@fuzz(0.15)
@given(body=corrupted((values | images).map(lambda value: json.dumps(value).encode())))
def test_json(upload: Upload, body: bytes) -> None:
    check(upload(body, "application/json"))


@fuzz(0.05)
@given(
    query=st.dictionaries(st.sampled_from(["top", "threshold", "code"]) | st.text(max_size=5), st.text(max_size=20)),
    headers=st.dictionaries(
        st.sampled_from(["request-timeout-ms", "traceparent", "tracestate", "transfer-encoding"]),
        st.text(st.characters(codec="latin-1"), max_size=60),
    ),
    service=services | st.text(max_size=10),
)
def test_queries_and_headers(upload: Upload, query: dict[str, str], headers: dict[str, str], service: str) -> None:
    response = upload(FILES[0], "image/jpeg", service=service, query=query, headers=headers)

    if response.problem != "deadline-exceeded":
        check(response)
