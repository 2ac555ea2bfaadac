"""Every problem that a request can meet, each with a request that meets it: what the endurance run repeats.

The services that they name are those of :mod:`benchmarks.trouble`. Left out is what is wrong with Key Vault, the
identity or the settings as a whole: it would stop the others. And what more requests at a time than are let in meet is
the matter of :mod:`benchmarks.overload`.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.rig import jpeg

SCORE = "/api/score"
IMAGE = jpeg(20_000)
_SMALL_IMAGE = jpeg(4_000)
_JPEG, _JSON = "image/jpeg", "application/json"
_FORM = "multipart/form-data; boundary=x"

# The limits that two of them are over.
LIMITS: Mapping[str, str] = {"MAX_IMAGE_BYTES": "100000", "MAX_IMAGE_PIXELS": "1000000"}


@dataclass(frozen=True)
class Refusal:
    """A request, and the problem that it is to be answered with.

    ``faults`` is what is wrong with the ill service meanwhile. A ``chunked`` request has no Content-Length.
    """

    slug: str
    body: bytes = IMAGE
    kind: str = _JPEG
    target: str = SCORE
    headers: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, object] = field(default_factory=dict)
    chunked: bool = False

    @property
    def name(self) -> str:
        """For people."""
        if not self.slug:
            return "a score"
        service = self.target.split("/")[3] if self.target.startswith("/api/services/") else ""
        return f"{self.slug}{f' ({service})' if service else ''}"


def _with(service: str) -> str:
    return f"/api/services/{service}/score"


def _json(*images: object) -> bytes:
    return json.dumps({"images": [{"b64": image} for image in images]}).encode()


def _form(disposition: str) -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n5\r\n--x--\r\n".encode()


def _vast_png() -> bytes:
    """The beginning of a PNG file of 50000 x 50000 pixels (https://www.w3.org/TR/png-3/#11IHDR)."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


_SMALL_JSON = base64.b64encode(_SMALL_IMAGE).decode()
_FAILING = {"fail_next": 1_000_000_000}

REFUSALS: tuple[Refusal, ...] = (
    Refusal("empty-body", b""),
    Refusal("length-required", b"", chunked=True),
    Refusal("unsupported-content-type", kind="text/plain"),
    Refusal("malformed-multipart", b"no form", _FORM),
    Refusal("part-without-file", _form('name="top"'), _FORM),
    Refusal("malformed-json", b"{", _JSON),
    Refusal("malformed-base64", _json("!"), _JSON),
    Refusal("invalid-parameter", target=SCORE + "?top=many"),
    Refusal("too-many-images", _json(*[_SMALL_JSON] * 17), _JSON),
    Refusal("image-too-large", bytes(100_001)),
    Refusal("image-too-large", _vast_png(), "image/png"),
    Refusal("unsupported-image", b"no image"),
    Refusal("damaged-image", IMAGE[:20]),
    Refusal("damaged-image", IMAGE[: len(IMAGE) // 2], target=_with("imagenet-tensor")),
    Refusal("unknown-service", target=_with("unknown")),
    Refusal("secret-missing", target=_with("no-secret")),
    Refusal("secret-disabled", target=_with("disabled-secret")),
    Refusal("invalid-pin", target=_with("no-pin")),
    Refusal("keys-refused", target=_with("wrong-keys")),
    Refusal("service-untrusted", target=_with("other-pin")),
    Refusal("service-name-mismatch", target=_with("other-name")),
    Refusal("service-certificate-expired", target=_with("expired")),
    Refusal("service-without-tls", target=_with("no-tls")),
    Refusal("service-unreachable", target=_with("nowhere")),
    Refusal("service-rejected", target=_with("other-model")),
    Refusal("service-answer-invalid", target=_with("other-output")),
    Refusal("message-too-large", target=_with("ill")),
    Refusal("service-busy", _SMALL_IMAGE, target=_with("ill"), faults={**_FAILING, "fail_with": "RESOURCE_EXHAUSTED"}),
    Refusal("service-failed", _SMALL_IMAGE, target=_with("ill"), faults={**_FAILING, "fail_with": "INTERNAL"}),
    Refusal(
        "deadline-exceeded",
        _SMALL_IMAGE,
        target=_with("ill"),
        headers={"Request-Timeout-Ms": "20"},
        faults={"delay_ms": 60_000},
    ),
)
