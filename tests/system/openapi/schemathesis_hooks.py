"""Hooks for data that schemathesis cannot generate from the document: images, and tensors for a model.

``schemathesis.toml`` loads them in the process that runs schemathesis. A document can declare that bytes are an image
or base64, but not which bytes are valid. The hooks therefore replace generated data by an image; data that is invalid
by the document stays invalid.
"""

import base64
import binascii
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.core.failures import ContentTypeServerError, Failure, ServerError
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import UnsupportedMethodResponse

from tests.system.openapi import accepted_failures

type Case = schemathesis.Case[Any]

JSON, OCTET_STREAM, FORM = "application/json", "application/octet-stream", "multipart/form-data"

# The names of the simulated engine's model, as in the settings of the local stack.
INPUT, OUTPUT = "images", "output_alias"


def _image(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 120, 40)).save(content, kind)
    return content.getvalue()


IMAGES: Mapping[str, bytes] = {f"image/{kind}": _image(kind) for kind in ("png", "jpeg", "webp", "gif")}
IMAGE = IMAGES["image/png"]
BASE64 = base64.b64encode(IMAGE).decode()

for _name, _content in IMAGES.items():
    schemathesis.openapi.media_type(_name, st.just(_content))


# --- Requests -------------------------------------------------------------------------------------------------------


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Case) -> Case:  # noqa: ARG001 - the signature of a hook
    """Replace generated images and tensors of a request by valid ones."""
    if case.path.endswith("/score"):
        _fill_upload(case)
    elif case.path.endswith(":predict"):
        _fill_prediction(case)
    elif case.path.endswith("/infer"):
        _fill_inference(case)
    return case


def _is_valid(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _fill_upload(case: Any) -> None:
    if case.media_type == OCTET_STREAM and _is_valid(case):
        case.body = IMAGE
    elif case.media_type == FORM and _is_valid(case):
        case.body = {"photo": IMAGE}
    elif case.media_type == JSON and isinstance(case.body, dict) and isinstance(case.body.get("images"), list):
        images = [_with_image(one, _is_valid(case)) for one in case.body["images"][:4]]
        case.body = {**case.body, "images": images}


def _with_image(entry: Any, is_valid: bool) -> Any:
    if isinstance(entry, dict) and (is_valid or _is_base64(entry.get("b64"))):
        return {**entry, "b64": BASE64}
    return entry


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and base64.b64decode(text, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def _fill_prediction(case: Any) -> None:
    if not (_is_valid(case) and isinstance(case.body, dict)):
        return
    body: dict[str, Any] = {**case.body}
    body.pop("signature_name", None)
    for name in {"instances", "inputs"} & body.keys():
        body[name] = [{"b64": BASE64}]
    case.body = body


def _fill_inference(case: Any) -> None:
    if not _is_valid(case):
        return
    if case.media_type == OCTET_STREAM:
        content = struct.pack("<I", len(IMAGE)) + IMAGE
        tensor = {"name": INPUT, "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
        head = json.dumps({"inputs": [tensor]}).encode()
        case.headers["Inference-Header-Content-Length"] = str(len(head))
        case.body = head + content
    elif isinstance(case.body, dict):
        # All of the body is JSON.
        case.headers.pop("Inference-Header-Content-Length", None)
        case.body = {**case.body, "inputs": [_tensor()]}
        if outputs := case.body.get("outputs"):
            case.body["outputs"] = [{**one, "name": OUTPUT} for one in outputs]


def _tensor() -> dict[str, Any]:
    parameters = {"content_type": "base64"}
    return {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [BASE64], "parameters": parameters}


_COMPRESSION: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def _compressed(context: schemathesis.SerializationContext, content: bytes) -> bytes:
    """The body, compressed according to the request's Content-Encoding."""
    encoding = str(context.case.headers.get("Content-Encoding", ""))
    return _COMPRESSION.get(encoding, bytes)(content)


@schemathesis.serializer(JSON)
def json_body(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Serialize JSON, compressed according to Content-Encoding; bytes are sent unchanged."""
    return _compressed(context, value if isinstance(value, bytes) else json.dumps(value, default=str).encode())


@schemathesis.serializer(OCTET_STREAM)
def octets_body(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Serialize bytes, compressed according to Content-Encoding; other values are sent as text."""
    return _compressed(context, value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))


# --- Responses ------------------------------------------------------------------------------------------------------


@schemathesis.deserializer(OCTET_STREAM)
def octets(context: schemathesis.DeserializationContext, response: Response) -> str:  # noqa: ARG001 - the signature of a hook
    """Deserialize bytes: their schema has no further constraints."""
    return response.content.decode("latin-1")


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,  # noqa: ARG001 - the signature of a hook
    failure: Failure,
    case: Case,
    response: Response,
) -> bool:
    """Whether to report a failure: not if it is accepted (:mod:`tests.system.openapi.accepted_failures`)."""
    if isinstance(failure, ServerError | ContentTypeServerError):
        sent = response.request.headers.get("Request-Timeout-Ms", "")
        timeout = sent.decode("latin-1") if isinstance(sent, bytes) else sent
        return not accepted_failures.is_requested_timeout(response.status_code, timeout)
    if isinstance(failure, UnsupportedMethodResponse):
        return not accepted_failures.is_method_rejection(case.path, response.status_code, response.content)
    return True
