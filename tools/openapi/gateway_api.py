"""The operations of the gateway's own API and of its web pages, by path and method."""

from collections.abc import Mapping
from typing import Any

from tools.openapi import problems
from tools.openapi.elements import (
    FUNCTION_KEY,
    MASTER_KEY,
    OCTET_STREAM,
    Json,
    content,
    get_and_head,
    operation,
    response,
    string,
    value,
)
from tools.openapi.schemas import BYTES

# A whole image of one pixel: the examples can be sent as they are.
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mOIstEAAAGyAL/eiIYzAAAAAElFTkSuQmCC"

# The parameters of every request that is forwarded to a service, and the headers of its response.
FORWARDED = ("timeout", "traceparent", "tracestate")
TIMING = ("Server-Timing",)

_SCORES = {
    "service": "imagenet",
    "model": "imagenet",
    "request_id": problems.REQUEST_ID,
    "predictions": [
        {
            "file": "cat.jpg",
            "labels": [
                {"id": 282, "label": "tiger cat", "score": 0.385783},
                {"id": 285, "label": "Egyptian cat", "score": 0.355935},
            ],
        }
    ],
}
_HEALTHY = {"service": "serving", "channel": "ready", "credentials": {"age_seconds": 12.3, "stale": False}}
_READY = {"status": "ready", "services": {"imagenet": {"status": "ready"}}}
_HEALTH = {"status": "ready", "services": {"imagenet": {"status": "ready", **_HEALTHY}}}

_FORM = value(
    "object",
    "Every part is a file, whatever its name; the response names the image by its file name.",
    additionalProperties=BYTES,
    minProperties=1,
)
_IMAGES = {"images": [{"name": "pixel.png", "b64": IMAGE}, {"b64": f"data:image/png;base64,{IMAGE}"}]}
_UPLOAD: Json = {
    "required": True,
    "description": "With a Content-Length: a chunked body does not reach the gateway.",
    "content": {
        **content(BYTES, "image/*"),
        **content(BYTES, OCTET_STREAM),
        **content(_FORM, "multipart/form-data"),
        **content("Images", two=_IMAGES),
    },
}


def _score(name: str, summary: str, *path: str, errors: Mapping[str, Json]) -> Json:
    ok = response("The labels.", content("Scores", labels=_SCORES), TIMING)
    return operation(
        name,
        summary,
        tag="Scoring",
        key=FUNCTION_KEY,
        description="One image or several, in any of the forms below. Either all of them are scored or none.",
        parameters=(*path, "top", "threshold", *FORWARDED),
        body=_UPLOAD,
        responses={"200": ok, **errors},
    )


_LIVE = operation(
    "live",
    "Whether the worker runs.",
    tag="Health",
    responses={"200": response("It runs.", content("Live", live={"status": "live"}))},
)


def _health(name: str, summary: str, body: str, example: Json, **more: Any) -> Json:
    return operation(
        name,
        summary,
        tag="Health",
        responses={
            "200": response("All are ready.", content(body, ready=example)),
            **problems.responses(problems.SETTINGS),
            "503": response("At least one is not ready; its problem gives the cause.", content(body)),
        },
        **more,
    )


_ALL_READY = _health(
    "ready",
    "Whether all services are ready for scoring.",
    "Ready",
    _READY,
    description="Problems have no details here: no key is needed.",
)
_SERVICE_HEALTH = _health(
    "service_health", "The health of each service, with details.", "Health", _HEALTH, key=FUNCTION_KEY
)

_ROTATION_PROBLEMS = [*problems.UNKNOWN_SERVICE, *problems.CONTROL_PLANE, *problems.SERVICE]
_ROTATION_STATUS = operation(
    "rotation_status",
    "The state of each service's rotation.",
    tag="Rotation",
    key=MASTER_KEY,
    description="If a service cannot be observed, its entry contains the problem; if it was requested by name, the "
    "response is the problem.",
    parameters=("rotation-of",),
    responses={
        "200": response("The rotations.", content("RotationReport")),
        **problems.responses(_ROTATION_PROBLEMS),
    },
)
_ROTATION_RUN = operation(
    "rotation_run",
    "Take the next steps of the rotations now.",
    tag="Rotation",
    key=MASTER_KEY,
    body={"required": False, "content": content("RotationRequest", dry={"service": "imagenet", "dry_run": True})},
    responses={
        "200": response("The rotations after these steps.", content("RotationReport")),
        **problems.responses(_ROTATION_PROBLEMS, problems.PARAMETER),
    },
)


def _file(name: str, summary: str, body: Json, *path: str, errors: Mapping[str, Json] | None = None) -> Json:
    get = operation(
        name,
        summary,
        tag="Pages",
        parameters=(*path, "cached-version"),
        responses={
            "200": response("The file.", body, ("ETag",)),
            "304": response("The client has the current version.", headers=("ETag",)),
            **problems.responses(problems.INTERNAL),
            **(errors or {}),
        },
    )
    return get_and_head(get)


_HTML = content(string(), "text/html")
_TEXTS = {**content(string(), "text/css"), **_HTML, **content(string(), "text/javascript")}
_NO_FILE = {"404": response("There is no such file. The body is empty.")}

PATHS: Mapping[str, Json] = {
    "/api/score": {
        "post": _score(
            "score",
            "Score images with the default service.",
            errors=problems.responses(problems.UPLOAD, problems.SERVICE),
        )
    },
    "/api/services/{service}/score": {
        "post": _score(
            "score_with_service",
            "Score images with a given service.",
            "service",
            errors=problems.responses(problems.UNKNOWN_SERVICE, problems.UPLOAD, problems.SERVICE),
        )
    },
    "/api/health/live": {"get": _LIVE},
    "/api/health/ready": {"get": _ALL_READY},
    "/api/health/services": {"get": _SERVICE_HEALTH},
    "/api/rotation": {"get": _ROTATION_STATUS, "post": _ROTATION_RUN},
    "/": _file("web_page", "A web page for scoring images.", _HTML),
    "/web/{file}": _file(
        "web_static", "A file of the web page.", _TEXTS | content(BYTES, "image/svg+xml"), "file", errors=_NO_FILE
    ),
    "/api/openapi.json": _file("openapi_document", "The OpenAPI document.", content(value("object"))),
    "/api/docs": _file("openapi_page", "The OpenAPI document as a web page.", _HTML),
}
