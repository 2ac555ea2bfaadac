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
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.core.failures import ContentTypeServerError, Failure, ServerError
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import MissingContentType, RejectedPositiveData, UnsupportedMethodResponse
from schemathesis.transport.serialization import Binary

from functions.http.problems import PROBLEM_TYPE
from tests.system.openapi import accepted_failures

type Case = schemathesis.Case[Any]

JSON, OCTET_STREAM = "application/json", "application/octet-stream"

# The names of the simulated engine's model, as in the settings of the local stack.
INPUT, OUTPUT = "images", "output_alias"


def _image() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 120, 40)).save(content, "PNG")
    return content.getvalue()


IMAGE = _image()
BASE64 = base64.b64encode(IMAGE).decode()

# Not replaced later: schemathesis regards a body as invalid in which bytes were changed.
schemathesis.openapi.format("binary", st.just(Binary(IMAGE)))


# --- Requests -------------------------------------------------------------------------------------------------------


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Case) -> Case:  # noqa: ARG001 - the signature of a hook
    """Replace generated images and tensors of a request by valid ones."""
    if case.path.startswith("/api/score") or case.path.endswith("/score"):
        _fill_upload(case)
    elif case.path.endswith(":predict"):
        _fill_prediction(case)
    elif case.path.endswith("/infer"):
        _fill_inference(case)
    return case


def _is_valid(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _fill_upload(case: Any) -> None:
    if case.media_type == JSON and isinstance(case.body, dict) and isinstance(case.body.get("images"), list):
        images = [_with_image(one, _is_valid(case)) for one in case.body["images"][:4]]
        case.body = {**case.body, "images": images}


def _with_image(entry: Any, is_valid: bool) -> Any:
    if isinstance(entry, dict) and (is_valid or _is_base64(entry.get("b64"))):
        return {**entry, "b64": BASE64}
    return BASE64 if isinstance(entry, str) and (is_valid or _is_base64(entry)) else entry


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
    if _is_valid(case) and isinstance(case.body, dict):
        case.body = {**case.body, "inputs": [_tensor()]}
        if outputs := case.body.get("outputs"):
            case.body["outputs"] = [{**outputs[0], "name": OUTPUT}]  # the model has one


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
    content = value.data if isinstance(value, Binary) else value
    return _compressed(context, content if isinstance(content, bytes) else str(content).encode("utf-8", "replace"))


# --- Responses ------------------------------------------------------------------------------------------------------


@schemathesis.deserializer(OCTET_STREAM)
def octets(context: schemathesis.DeserializationContext, response: Response) -> str:  # noqa: ARG001 - the signature of a hook
    """Deserialize bytes: their schema has no further constraints."""
    return response.content.decode("latin-1")


@schemathesis.check
def problem_type_conformance(context: schemathesis.CheckContext, response: Response, case: Case) -> None:  # noqa: ARG001
    """A problem has one of the types that the document has as examples of this operation's status."""
    if response.headers.get("content-type", [""])[0] != "application/problem+json":
        return
    documented = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    slugs = documented.get("content", {}).get("application/problem+json", {}).get("examples", {})
    assert response.json()["type"].removeprefix(PROBLEM_TYPE) in slugs, response.json()["type"]


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
    if isinstance(failure, MissingContentType):
        return not accepted_failures.is_empty_401(response.status_code, response.content)
    if isinstance(failure, RejectedPositiveData):
        return not accepted_failures.has_too_many_images(response.status_code, response.content)
    if isinstance(failure, UnsupportedMethodResponse):
        return not accepted_failures.is_method_rejection(case.path, response.status_code, response.content)
    return True
