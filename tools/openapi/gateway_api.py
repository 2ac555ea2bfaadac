"""The operations of the gateway's own API and of its web pages, by path and method."""

from collections.abc import Mapping
from typing import Any

from shared import errors
from tools.openapi import problems
from tools.openapi.elements import (
    FUNCTION_KEY,
    MASTER_KEY,
    METRICS_KEY,
    OCTET_STREAM,
    Json,
    content,
    operation,
    response,
    string,
    value,
)
from tools.openapi.schemas import BYTES

# A whole image of one pixel: the examples can be sent as they are.
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mOIstEAAAGyAL/eiIYzAAAAAElFTkSuQmCC"

# The parameters of every request that is forwarded to a service, and the headers of its response.
FORWARDED = ("timeout", "traffic-key", "request-id", "traceparent", "tracestate")
TIMING = ("Server-Timing", "Scoring-Service")

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
_PARTIAL = {
    **_SCORES,
    "predictions": [
        *_SCORES["predictions"],
        {"file": "notes.txt", "labels": [], "problem": problems.example(errors.UnsupportedImage, request_id=None)},
    ],
}
_RAW = {
    **_SCORES,
    "service": "detector",
    "predictions": [
        {
            "file": "cat.jpg",
            "labels": [],
            "outputs": [
                {"name": "boxes", "datatype": "FP32", "shape": [1, 1, 4], "data": [128.0, 200.5, 448.0, 560.0]},
                {"name": "classes", "datatype": "INT64", "shape": [1, 1], "data": [17]},
            ],
            "placement": {
                "width": 3000,
                "height": 4000,
                "orientation": 6,
                "input_width": 640,
                "input_height": 640,
                "scale_x": 0.16,
                "scale_y": 0.16,
                "pad_left": 80.0,
                "pad_top": 0.0,
            },
        }
    ],
}
_SERVICES = {
    "services": [
        {
            "name": "imagenet",
            "model": "imagenet",
            "default": True,
            "accepts": "encoded",
            "returns": "classes",
            "status": "ready",
        },
    ]
}
_HEALTHY = {"service": "serving", "channel": "ready", "credentials": {"age_seconds": 12.3, "stale": False}}
_SPLIT = {
    "green": {"weight": 10, "share": 0, "state": "not-ready", "why": "service-unreachable"},
    "blue": {"weight": 90, "share": 1, "state": "ready"},
}
_READY = {"status": "ready", "services": {"imagenet": {"status": "ready"}}}
_HEALTH = {
    "status": "ready",
    "services": {"blue": {"status": "ready", **_HEALTHY}, "imagenet": {"status": "ready", "members": _SPLIT}},
}

# Each address accepts every form. Of an operation with several, some generators send one as if it were another.
_FORM = content("ImageForm", "multipart/form-data")
_IMAGES = content("ImageList", two={"images": [{"name": "pixel.png", "b64": IMAGE}, f"data:image/png;base64,{IMAGE}"]})
_IMAGE = content(BYTES, OCTET_STREAM)


def _score(name: str, summary: str, body: Json, service: str = "scored-by", *parameters: str) -> Json:
    examples: dict[str, Any] = {"labels": _SCORES, "raw": _RAW, **({} if body is _IMAGE else {"partial": _PARTIAL})}
    ok = response("The labels.", content("Scores", **examples), (*TIMING, "Ignored-Parameters"))
    return operation(
        name,
        summary,
        tag="Scoring",
        key=FUNCTION_KEY,
        description="Either all images are scored or none, except with partial. A form (/api/score), JSON "
        "(/api/score/json) and the bytes of one image (/api/score/image) are accepted at each of these addresses.",
        parameters=(service, "top", "threshold", "partial", *parameters, *FORWARDED),
        body={
            "required": True,
            "description": "With a Content-Length: a chunked body does not reach the gateway. All images together "
            "have at most 100 MB.",
            "content": body,
        },
        responses={"200": ok, **problems.responses(problems.UNKNOWN_SERVICE, problems.UPLOAD, problems.SERVICE)},
    )


_SERVICE_LIST = operation(
    "services",
    "The services: what each accepts, and whether it is ready.",
    tag="Scoring",
    key=FUNCTION_KEY,
    responses={
        "200": response("The services.", content("ServiceList", one=_SERVICES)),
        **problems.responses(problems.SETTINGS),
    },
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

_METRICS = operation(
    "metrics",
    "The metrics of this instance, for Prometheus.",
    tag="Health",
    key=METRICS_KEY,
    responses={
        "200": response("The metrics of all worker processes.", content(string(), "text/plain")),
        **problems.responses(problems.SETTINGS, problems.METRICS),
    },
)
_GOLDEN_REPORT = {
    "service": "imagenet-tensor",
    "request_id": problems.REQUEST_ID,
    "golden": "0 of 1",
    "matches": False,
    "photographs": [
        {
            "file": "coffee.png",
            "matches": False,
            "deviation": "'espresso' (class 967) has 0.8702; 0.9511 ± 0.02 is expected",
        }
    ],
    "causes": {"matches_with": ["CHANNEL_ORDER=RGB"], "tried": 47, "not_tried": ""},
    "model_version": "1",
}
_GOLDEN = operation(
    "golden_check",
    "Check the golden photographs of a service, and try the likely causes of deviations.",
    tag="Health",
    key=FUNCTION_KEY,
    description="Takes some seconds. The photographs are those of the folder in the service's setting GOLDEN.",
    parameters=("golden-of", "timeout", "request-id"),
    responses={
        "200": response("What matches, and what does not.", content("GoldenReport", deviating=_GOLDEN_REPORT)),
        **problems.responses(problems.UNKNOWN_SERVICE, problems.GOLDEN, problems.PARAMETER, problems.SERVICE),
    },
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
        **problems.responses(_ROTATION_PROBLEMS, problems.PARAMETER, problems.FOREIGN_ORIGIN),
    },
)
_OPERATIONS = operation(
    "operations_status",
    "Certificates, keys and rotations of all services, and what this instance sees.",
    tag="Operations",
    key=MASTER_KEY,
    description="What the page at /operations shows. A part that cannot be read has its problem, and the others are "
    "answered. It contains no secret.",
    responses={
        "200": response("The state, read now.", content("OperationsReport")),
        **problems.responses(problems.SETTINGS),
    },
)


def _file(name: str, summary: str, body: Json, *path: str, no_file: Mapping[str, Json] | None = None) -> Json:
    return {
        "get": operation(
            name,
            summary,
            tag="Pages",
            parameters=(*path, "cached-version"),
            responses={
                "200": response("The file.", body, ("ETag",)),
                "304": response("The client has the current version.", headers=("ETag",)),
                **problems.responses(problems.INTERNAL),
                **(no_file or {}),
            },
        )
    }


_HTML = content(string(), "text/html")
_TEXTS = {**content(string(), "text/css"), **_HTML, **content(string(), "text/javascript")}
_NO_FILE: Mapping[str, Json] = {"404": {"description": "There is no such file. The body is empty."}}

PATHS: Mapping[str, Json] = {
    "/api/score": {"post": _score("score", "Score images in a form.", _FORM)},
    "/api/score/json": {"post": _score("score_json", "Score images in JSON.", _IMAGES, "scored-by", "encoding")},
    "/api/score/image": {"post": _score("score_image", "Score one image.", _IMAGE, "scored-by", "encoding")},
    "/api/services/{service}/score": {
        "post": _score("score_with_service", "Score images in a form with a given service.", _FORM, "service")
    },
    "/api/services": {"get": _SERVICE_LIST},
    "/api/health/live": {"get": _LIVE},
    "/api/health/ready": {"get": _ALL_READY},
    "/api/health/services": {"get": _SERVICE_HEALTH},
    "/api/metrics": {"get": _METRICS},
    "/api/golden": {"post": _GOLDEN},
    "/api/rotation": {"get": _ROTATION_STATUS, "post": _ROTATION_RUN},
    "/api/operations": {"get": _OPERATIONS},
    "/": _file("web_page", "A web page for scoring images.", _HTML),
    "/operations": _file("operations_page", "A web page for whoever operates the gateway.", _HTML),
    "/web/{file}": _file(
        "web_static", "A file of the web page.", _TEXTS | content(BYTES, "image/svg+xml"), "file", no_file=_NO_FILE
    ),
    "/api/openapi.json": _file("openapi_document", "The OpenAPI document.", content(value("object"))),
    "/api/docs": _file("openapi_page", "The OpenAPI document as a web page.", _HTML),
}
