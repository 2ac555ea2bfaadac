"""The gateway's HTTP API as an OpenAPI document (https://spec.openapis.org/oas/v3.1.0)."""

from functions import openapi_doors, openapi_operations, openapi_problems
from functions.open_inference import VERSION
from functions.openapi_schemas import HEADERS, PARAMETERS, SCHEMAS, Json

_DESCRIPTION = (
    "Photographs in, labels out: scored by a hardware-accelerated inference service behind the gateway. "
    "Errors are problem documents (RFC 9457) with a stable type, the cause and what to do about it; the two doors for "
    "clients of inference protocols tell theirs in the protocols' form."
)

_TAGS = {
    "Scoring": "Images in, labels out.",
    openapi_doors.TF: "TensorFlow Serving's REST API: for clients that speak it already. classify and regress are not "
    "offered (501).",
    openapi_doors.OIP: "The Open Inference Protocol over HTTP, as KServe and Triton have it, with the extensions for "
    "binary tensors and classification.",
    "Health": "For monitors and load balancers.",
    "Rotation": "The certificates' and keys' rotation: for operators.",
    "Pages": "What people read, and this description.",
}


def build() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scoring gateway",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This gateway."}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": {**openapi_operations.paths(), **openapi_doors.paths()},
        "components": {
            "schemas": dict(SCHEMAS),
            "parameters": dict(PARAMETERS),
            "headers": dict(HEADERS),
            "examples": openapi_problems.examples(),
            "securitySchemes": _schemes(),
        },
    }


def _schemes() -> dict[str, Json]:
    made: dict[str, Json] = {}
    for name, words in {
        "functionKey": "A key of the function, or of the host.",
        "masterKey": "The host's master key.",
    }.items():
        made[name] = {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": words}
        made[f"{name}InQuery"] = {"type": "apiKey", "in": "query", "name": "code", "description": words}
    return made
