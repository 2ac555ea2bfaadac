"""The gateway's HTTP API as an OpenAPI document (https://spec.openapis.org/oas/v3.1.0)."""

import json
from typing import Any

from functions.open_inference import VERSION
from tools.openapi import compatibility_apis, gateway_api, problems
from tools.openapi.elements import FUNCTION_KEY, MASTER_KEY, METRICS_KEY, Json
from tools.openapi.parameters import HEADERS, PARAMETERS
from tools.openapi.schemas import SCHEMAS

_DESCRIPTION = (
    "Scores images with a hardware-accelerated inference service and returns labels. Errors are problem documents "
    "(RFC 9457) with a stable type, the cause and a remedy; the compatibility APIs report errors in their "
    "protocols' format. Every response of the gateway has the header X-Request-Id; the Functions host's own (401, 404, "
    "413 for a body of more than 100 MB) have neither it nor a body. HEAD is supported wherever GET is, except for "
    "/api/rotation."
)

_TAGS = {
    "Scoring": "Images in, labels out.",
    compatibility_apis.TENSORFLOW_SERVING: "TensorFlow Serving's REST API, for clients that use it already. classify "
    "and regress are not supported (501).",
    compatibility_apis.OPEN_INFERENCE: "The Open Inference Protocol over HTTP, as implemented by KServe and Triton, "
    "with the extensions for binary tensors and classification.",
    "Health": "For monitors and load balancers.",
    "Rotation": "The rotation of certificates and keys, for operators.",
    "Operations": "What there is to watch, for operators.",
    "Pages": "The web pages, and this document.",
}

# The host reads a key in the query too. Given both, generators send it in each address, where it is logged.
_KEYS = {FUNCTION_KEY: "A key of the function or of the host.", MASTER_KEY: "The host's master key."}


def build() -> Json:
    """The whole document.

    It has no servers, which then are the address that the document came from: of "/", some generators make "//api/...",
    another host, and the gateway's public address is not known here.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scoring gateway",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": {**gateway_api.PATHS, **compatibility_apis.PATHS},
        "components": {
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "examples": problems.examples(),
            "securitySchemes": _security_schemes(),
        },
    }


def serialize(document: Json) -> str:
    """JSON with a line for each operation and component, so that differences between versions can be read."""
    return _json(document, 3) + "\n"


def _json(value: Any, depth: int) -> str:
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    members = (f"{json.dumps(name)}:{_json(member, depth - 1)}" for name, member in value.items())
    return "{\n" + ",\n".join(members) + "\n}"


def _security_schemes() -> dict[str, Json]:
    keys = {
        name: {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": description}
        for name, description in _KEYS.items()
    }
    return {**keys, METRICS_KEY: {"type": "http", "scheme": "bearer", "description": "The value of METRICS_KEY."}}
