"""A request for every problem that an answer can report; the endurance run repeats each.

Their services are those of :mod:`benchmarks.endurance.services`. Left out are problems of Key Vault, the identity or
the settings as a whole, which would affect all others, and those of too many requests, which are the subject of
:mod:`benchmarks.overload`.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.harness.images import jpeg

IMAGE = jpeg(20_000)
_SMALL_IMAGE = jpeg(4_000)
_JPEG, _JSON = "image/jpeg", "application/json"
_FORM = "multipart/form-data; boundary=x"

# The limits that two of them exceed.
LIMITS: Mapping[str, str] = {"MAX_IMAGE_BYTES": "100000", "MAX_IMAGE_PIXELS": "1000000"}


@dataclass(frozen=True)
class Request:
    """A request, and the slug of the problem that it is to be answered with; empty for a score.

    ``faults`` are those of the faulty service meanwhile. A ``chunked`` request has no Content-Length.
    """

    slug: str
    body: bytes = IMAGE
    kind: str = _JPEG
    service: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, object] = field(default_factory=dict)
    chunked: bool = False

    @property
    def target(self) -> str:
        return (f"/api/services/{self.service}/score" if self.service else "/api/score") + self.query

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.slug or 'a score'}{f' ({self.service})' if self.service else ''}"


def _json(*images: object) -> bytes:
    return json.dumps({"images": [{"b64": image} for image in images]}).encode()


def _form(disposition: str) -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n5\r\n--x--\r\n".encode()


def _huge_png() -> bytes:
    """The beginning of a PNG file of 50000 x 50000 pixels (https://www.w3.org/TR/png-3/#11IHDR)."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


_SMALL_JSON = base64.b64encode(_SMALL_IMAGE).decode()
_FAILING = {"fail_next": 1_000_000_000}

SCORED = Request("")

PROBLEMS: tuple[Request, ...] = (
    Request("empty-body", b""),
    Request("length-required", b"", chunked=True),
    Request("unsupported-content-type", b"text", "text/plain"),
    Request("malformed-content-encoding", headers={"Content-Encoding": "gzip"}),
    Request("malformed-multipart", b"not a form", _FORM),
    Request("part-without-file", _form('name="top"'), _FORM),
    Request("malformed-json", b"{", _JSON),
    Request("malformed-base64", _json("!"), _JSON),
    Request("image-address", _json("https://example.com/a.jpg"), _JSON),
    Request("invalid-parameter", query="?top=many"),
    Request("too-many-images", _json(*[_SMALL_JSON] * 17), _JSON),
    Request("image-too-large", bytes(100_001)),
    Request("image-too-large", _huge_png(), "image/png"),
    Request("unsupported-image", b"not an image"),
    Request("damaged-image", IMAGE[:20]),
    Request("damaged-image", IMAGE[: len(IMAGE) // 2], service="imagenet-tensor"),
    Request("unknown-service", service="unknown"),
    Request("secret-missing", service="no-secret"),
    Request("secret-disabled", service="disabled-secret"),
    Request("invalid-pin", service="no-pin"),
    Request("keys-refused", service="wrong-keys"),
    Request("service-untrusted", service="other-pin"),
    Request("service-name-mismatch", service="other-name"),
    Request("service-certificate-expired", service="expired"),
    Request("service-without-tls", service="no-tls"),
    Request("service-unreachable", service="nowhere"),
    Request("service-rejected", service="other-model"),
    Request("service-answer-invalid", service="other-output"),
    Request("message-too-large", service="faulty"),
    Request("service-busy", _SMALL_IMAGE, service="faulty", faults={**_FAILING, "fail_with": "RESOURCE_EXHAUSTED"}),
    Request("service-failed", _SMALL_IMAGE, service="faulty", faults={**_FAILING, "fail_with": "INTERNAL"}),
    Request(
        "deadline-exceeded",
        _SMALL_IMAGE,
        service="faulty",
        headers={"Request-Timeout-Ms": "20"},
        faults={"delay_ms": 60_000},
    ),
)
