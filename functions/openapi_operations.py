"""The operations of the gateway's own API and of its page, by path and method."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from functions import openapi_problems as problems
from functions.openapi_schemas import BYTES, PICTURE, REQUEST_ID, Json, ref, schema

# The media types of what a body or an answer holds.
JSON = "application/json"

# Who may call: anyone, whoever has a function key, or whoever has the master key. Either way of sending it will do.
ANYONE: Sequence[Json] = ()
FUNCTION_KEY: Sequence[Json] = ({"functionKey": []}, {"functionKeyInQuery": []})
MASTER_KEY: Sequence[Json] = ({"masterKey": []}, {"masterKeyInQuery": []})

CALL = ("timeout", "traceparent", "tracestate")
TIMING = ("Server-Timing",)

_REFUSED_BY_HOST: Json = {"description": "The key is missing or wrong. From the Functions host; the body is empty."}


def operation(
    name: str,
    summary: str,
    *,
    tag: str,
    responses: Mapping[str, Json],
    keys: Sequence[Json] = ANYONE,
    parameters: Iterable[str] = (),
    body: Json | None = None,
    description: str = "",
) -> Json:
    """An operation; ``parameters`` are names of components."""
    made: Json = {"operationId": name, "tags": [tag], "summary": summary}
    if description:
        made["description"] = description
    if listed := [ref("parameters", one) for one in parameters]:
        made["parameters"] = listed
    if body is not None:
        made["requestBody"] = body
    refused = {"401": _REFUSED_BY_HOST} if keys else {}
    made["responses"] = dict(sorted({**refused, **responses}.items()))
    return {**made, "security": list(keys)}


def answer(description: str, content: Json | None = None, headers: Iterable[str] = ()) -> Json:
    """An answer; ``headers`` are names of components."""
    made: Json = {"description": description}
    if named := {name: ref("headers", name) for name in headers}:
        made["headers"] = named
    return {**made, "content": content} if content else made


def json_of(name: str, **examples: Any) -> Json:
    """Content in JSON of a schema, with examples by their names."""
    return {JSON: media(schema(name), examples)}


def media(kind: Json, examples: Mapping[str, Any]) -> Json:
    """A schema with examples."""
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"schema": kind, **({"examples": shown} if shown else {})}


def headless(described: Json) -> Json:
    """The same operation for HEAD: its answers have no content."""
    bare = {
        status: {name: value for name, value in one.items() if name != "content"}
        for status, one in described["responses"].items()
    }
    name, summary = described["operationId"] + "_head", described["summary"] + " (headers only)"
    return {**described, "operationId": name, "summary": summary, "responses": bare}


def with_head(described: Json) -> Json:
    """A path that takes GET and HEAD."""
    return {"get": described, "head": headless(described)}


def paths() -> dict[str, Json]:
    """All but the doors of the inference protocols."""
    return {**_scoring(), **_health(), **_rotation(), **_pages()}


# --- Scoring ------------------------------------------------------------------------------------------------------

_SCORES = {
    "service": "imagenet",
    "model": "imagenet",
    "request_id": REQUEST_ID,
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


def _scoring() -> dict[str, Json]:
    return {
        "/api/score": {"post": _score("score", "Score images with the default service.", (), ())},
        "/api/services/{service}/score": {
            "post": _score(
                "score_with_service", "Score images with a service of your choice.", ("service",), problems.UNKNOWN
            )
        },
    }


def _score(name: str, summary: str, place: Iterable[str], more: problems.Problems) -> Json:
    kinds = (
        *(*problems.OWN, *more, *problems.TIMEOUT, *problems.UPLOAD),
        *(*problems.IMAGES, *problems.VAULT, *problems.SERVICE),
    )
    return operation(
        name,
        summary,
        tag="Scoring",
        keys=FUNCTION_KEY,
        description="One image or several, in the form that suits the client. All are scored, or none.",
        parameters=(*place, "top", "threshold", *CALL),
        body=_upload(),
        responses={"200": answer("The labels.", json_of("Scores", labels=_SCORES), TIMING)} | problems.responses(kinds),
    )


def _upload() -> Json:
    form: Json = {
        "type": "object",
        "additionalProperties": BYTES,
        "minProperties": 1,
        "description": "Every part is a file, whatever its name; the answer calls the image by its file name.",
    }
    listed = {"images": [{"name": "point.png", "b64": PICTURE}, {"b64": "data:image/png;base64," + PICTURE}]}
    return {
        "required": True,
        "description": "With a Content-Length: a chunked body does not reach the gateway.",
        "content": {
            "image/*": {"schema": BYTES},
            "application/octet-stream": {"schema": BYTES},
            "multipart/form-data": {"schema": form},
            **json_of("Images", two=listed),
        },
    }


# --- Health and rotation ------------------------------------------------------------------------------------------


def _health() -> dict[str, Json]:
    live = operation(
        "live",
        "Whether the worker runs.",
        tag="Health",
        responses={"200": answer("It does.", json_of("Live", live={"status": "live"}))},
    )
    service = {"service": "serving", "channel": "ready", "credentials": {"age_seconds": 12.3, "stale": False}}
    example = {"status": "ready", "services": {"imagenet": {"status": "ready", **service}}}
    ready = operation(
        "ready",
        "Whether every service can be scored with.",
        tag="Health",
        responses={
            "200": answer("All can.", json_of("Ready", ready=example)),
            **problems.responses(problems.OWN),
            "503": answer("One cannot; its problem says why.", json_of("Ready")),
        },
    )
    return {"/api/health/live": {"get": live}, "/api/health/ready": {"get": ready}}


def _rotation() -> dict[str, Json]:
    kinds = (*problems.OWN, *problems.UNKNOWN, *problems.CONTROL, *problems.VAULT, *problems.SERVICE)
    look = operation(
        "rotation_status",
        "Where each service's rotation is.",
        tag="Rotation",
        keys=MASTER_KEY,
        parameters=("rotated",),
        description="A service that cannot be looked at has its problem among the others' states; asked for by name, "
        "its problem is the answer.",
        responses={"200": answer("The rotations.", json_of("RotationReport"))} | problems.responses(kinds),
    )
    run = operation(
        "rotation_run",
        "Take the rotations' next steps now.",
        tag="Rotation",
        keys=MASTER_KEY,
        body={"required": False, "content": json_of("RotationRequest", dry={"service": "imagenet", "dry_run": True})},
        responses={"200": answer("What came of it.", json_of("RotationReport"))}
        | problems.responses((*kinds, *problems.TIMEOUT)),
    )
    return {"/api/rotation": {"get": look, "post": run}}


# --- What people read ---------------------------------------------------------------------------------------------


def _pages() -> dict[str, Json]:
    page: Json = {"text/html": {"schema": {"type": "string"}}}
    files: Json = {kind: {"schema": {"type": "string"}} for kind in ("text/css", "text/html", "text/javascript")}
    none = {"404": answer("There is no such file. The body is empty.")}
    return {
        "/": with_head(_file("web_page", "A page to score photographs in a browser.", page)),
        "/web/{file}": with_head(
            _file("web_static", "A file of the page.", files | {"image/svg+xml": {"schema": BYTES}}, none, ("file",))
        ),
        "/api/openapi.json": {
            "get": _file(
                "openapi_document", "This description, as OpenAPI 3.1.", {JSON: {"schema": {"type": "object"}}}
            )
        },
        "/api/docs": {"get": _file("openapi_page", "This description, as a page.", page)},
    }


def _file(
    name: str, summary: str, content: Json, more: Mapping[str, Json] | None = None, place: Iterable[str] = ()
) -> Json:
    return operation(
        name,
        summary,
        tag="Pages",
        parameters=(*place, "known"),
        responses={
            "200": answer("The file.", content, ("ETag",)),
            "304": answer("The version that is known already.", headers=("ETag",)),
            **(more or {}),
            **problems.responses((problems.OWN[1],)),
        },
    )
