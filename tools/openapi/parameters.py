"""The parameters and response headers of the operations, by component name."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tools.openapi.elements import REQUEST_ID, Json, boolean, integer, number, string


def _parameter(place: str, name: str, description: str, kind: Json, **more: Any) -> Json:
    return {"name": name, "in": place, "description": description, "schema": kind, **more}


_path = partial(_parameter, "path", required=True)
_query = partial(_parameter, "query")
_header = partial(_parameter, "header")

_model = partial(_path, "model", "The name of a service, or the name of a model if only one service has it.")

# TensorFlow Serving's paths separate names with slashes and colons.
_TF_NAME = string(pattern="^[^/:]+$")

PARAMETERS: Mapping[str, Json] = {
    "service": _path("service", "The name of a service.", string(), example="imagenet"),
    "model": _model(string(pattern="^[^/]+$"), example="imagenet"),
    "tf-model": _model(_TF_NAME, example="imagenet"),
    "version": _path("version", "A version of the model, a 64-bit number.", integer(format="int64", minimum=0)),
    "tf-label": _path("label", "A label that the service has for a version.", _TF_NAME, example="stable"),
    "file": _path("file", "The name of a file of the web page.", string(), example="style.css"),
    "top": _query(
        "top",
        "How many labels to return; 0 returns all of them, and all scores in the order of the classes.",
        integer(minimum=0, maximum=999_999, default=5),
    ),
    "threshold": _query(
        "threshold", "Return only labels with at least this score.", number(minimum=0, maximum=1, default=0)
    ),
    "partial": _query(
        "partial", "Score what can be scored: an image that cannot has its problem instead of labels.", boolean()
    ),
    "scored-by": _query(
        "service", "The service that scores; the default one if missing.", string(), example="imagenet"
    ),
    "golden-of": _query(
        "service", "The service that is checked; the default one if missing.", string(), example="imagenet"
    ),
    "rotation-of": _query("service", "Return only the rotation of this service.", string(), example="imagenet"),
    "timeout": _header(
        "Request-Timeout-Ms",
        "How long to wait, in milliseconds; the service's own deadline remains the limit.",
        integer(minimum=1, maximum=999_999_999),
    ),
    "traffic-key": _header(
        "Traffic-Key",
        "Of a service that spreads its requests over others: requests with the same key go to the same one, such as "
        "all of one user. Neither logged nor forwarded.",
        string(maxLength=256),
        example="user-4711",
    ),
    "traceparent": _header(
        "traceparent",
        "The trace that the request belongs to (W3C Trace Context), forwarded to the inference service. "
        "Ignored if malformed.",
        string(),
        example="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    "tracestate": _header(
        "tracestate", "Forwarded with traceparent. Ignored if malformed or longer than 512 characters.", string()
    ),
    "request-id": _header(
        "X-Request-Id",
        "Identifies the request in the gateway's log and in the response. Ignored unless it is 1 to 128 letters, "
        "digits or characters of ._:/+=-, and starts with a letter or digit.",
        string(),
        example="order-4711",
    ),
    "encoding": _header(
        "Content-Encoding", "The compression of the body.", string(enum=["identity", "gzip", "x-gzip", "deflate"])
    ),
    "cached-version": _header("If-None-Match", "The ETag of the version that the client has.", string()),
}

HEADERS: Mapping[str, Json] = {
    REQUEST_ID: {
        "description": "Identifies the request in the gateway's log: the client's own X-Request-Id, or one made here.",
        "schema": string(),
        "example": "order-4711",
    },
    "Ignored-Parameters": {
        "description": "The names of query parameters that the gateway does not have, as of misspelled ones.",
        "schema": string(),
        "example": "treshold",
    },
    "Scoring-Service": {
        "description": "The service that scored, where the requested one spreads its requests over others.",
        "schema": string(),
        "example": "green",
    },
    "Server-Timing": {
        "description": "The duration of each part, in milliseconds: decode, credentials, wait, predict, total.",
        "schema": string(),
        "example": "decode;dur=0.30, credentials;dur=0.00, wait;dur=0.00, predict;dur=24.13, total;dur=25.21",
    },
    "Retry-After": {
        "description": "When to try again, in seconds, if that can help.",
        "schema": integer(minimum=1),
    },
    "Model-Version": {
        "description": "The model's version, where the service reports it.",
        "schema": string(),
        "example": "1",
    },
    "ETag": {"description": "The version of the file.", "schema": string()},
    "Inference-Header-Content-Length": {
        "description": "How many bytes of the body are JSON; the bytes of the output follow. Only with binary output.",
        "schema": integer(minimum=1),
    },
}
