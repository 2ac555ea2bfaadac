"""What schemathesis cannot learn from the document: pictures, tensors that fit a model, and answers of the host's own.

Loaded by ``schemathesis.toml``, in the process that tries the gateway. A document says that a text is base64 and that
bytes are an image; it cannot say which bytes are one. So wherever something well-formed but empty of sense was drawn, a
picture is put there instead. What was drawn to be refused keeps what it is to be refused for.
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

from tests.openapi import excuses

type Case = schemathesis.Case[Any]

JSON, OCTETS, FORM = "application/json", "application/octet-stream", "multipart/form-data"

# The simulated engine's model, by the settings of the local stack.
INPUT, OUTPUT = "images", "output_alias"


def _picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 120, 40)).save(content, kind)
    return content.getvalue()


PICTURES: Mapping[str, bytes] = {f"image/{kind}": _picture(kind) for kind in ("png", "jpeg", "webp", "gif")}
PICTURE = PICTURES["image/png"]
TEXT = base64.b64encode(PICTURE).decode()

for _name, _content in PICTURES.items():
    schemathesis.openapi.media_type(_name, st.just(_content))


# --- What is sent ---------------------------------------------------------------------------------------------------


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Case) -> Case:  # noqa: ARG001 - hooks are called with it
    """Give a case the pictures and tensors that no schema describes."""
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
    if case.media_type == OCTETS and _is_valid(case):
        case.body = PICTURE
    elif case.media_type == FORM and _is_valid(case):
        case.body = {"photo": PICTURE}
    elif case.media_type == JSON and isinstance(case.body, dict) and isinstance(case.body.get("images"), list):
        images = [_with_picture(one, _is_valid(case)) for one in case.body["images"][:4]]
        case.body = {**case.body, "images": images}


def _with_picture(entry: Any, is_valid: bool) -> Any:
    if isinstance(entry, dict) and (is_valid or _is_base64(entry.get("b64"))):
        return {**entry, "b64": TEXT}
    return entry


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and base64.b64decode(text, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def _fill_prediction(case: Any) -> None:
    if not (_is_valid(case) and isinstance(case.body, dict)):
        return
    made: dict[str, Any] = {**case.body}
    made.pop("signature_name", None)
    for name in {"instances", "inputs"} & made.keys():
        made[name] = [{"b64": TEXT}]
    case.body = made


def _fill_inference(case: Any) -> None:
    if not _is_valid(case):
        return
    if case.media_type == OCTETS:
        content = struct.pack("<I", len(PICTURE)) + PICTURE
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
    return {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [TEXT], "parameters": parameters}


_PACKING: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def _packed(context: schemathesis.SerializationContext, content: bytes) -> bytes:
    """The body in the coding that the case's header names."""
    coding = str(context.case.headers.get("Content-Encoding", ""))
    return _PACKING.get(coding, bytes)(content)


@schemathesis.serializer(JSON)
def json_body(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """JSON, packed where the case says so; what has no JSON goes as it is."""
    return _packed(context, value if isinstance(value, bytes) else json.dumps(value, default=str).encode())


@schemathesis.serializer(OCTETS)
def octets_body(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bytes, packed where the case says so; whatever else was drawn goes as its text."""
    return _packed(context, value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))


# --- What comes back ------------------------------------------------------------------------------------------------


@schemathesis.deserializer(OCTETS)
def octets(context: schemathesis.DeserializationContext, response: Response) -> str:  # noqa: ARG001 - as above
    """An answer in bytes: its schema says no more than that."""
    return response.content.decode("latin-1")


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,  # noqa: ARG001 - as above
    failure: Failure,
    case: Case,
    response: Response,
) -> bool:
    """Whether it is one: not where the answer is excused (:mod:`tests.openapi.excuses`)."""
    if isinstance(failure, ServerError | ContentTypeServerError):
        asked = response.request.headers.get("Request-Timeout-Ms", "")
        timeout = asked.decode("latin-1") if isinstance(asked, bytes) else asked
        return not excuses.wanted_it_sooner(response.status_code, timeout)
    if isinstance(failure, UnsupportedMethodResponse):
        return not excuses.refuses_the_method(case.path, response.status_code, response.content)
    return True
