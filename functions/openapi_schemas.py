"""The shapes of what travels: schemas, parameters and headers of the OpenAPI document, by the names they go under.

JSON Schema of the dialect that OpenAPI 3.1 has (https://spec.openapis.org/oas/v3.1.0#schema-object).
"""

from collections.abc import Mapping
from typing import Any

type Json = dict[str, Any]

REQUEST_ID = "3205e161-bfea-40af-af0d-50c9dec5a00c"
# A picture of one point, whole: what is shown can be sent as it is.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mOIstEAAAGyAL/eiIYzAAAAAElFTkSuQmCC"


def ref(kind: str, name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema(name: str) -> Json:
    """A reference to a schema."""
    return ref("schemas", name)


def members(required: str, **properties: Json) -> Json:
    """An object's schema; ``required`` names members, with spaces between."""
    return {"type": "object", **({"required": required.split()} if required else {}), "properties": properties}


def list_of(items: Json, **more: Any) -> Json:
    """An array's schema."""
    return {"type": "array", "items": items, **more}


def text(description: str = "", **more: Any) -> Json:
    """A string's schema."""
    return {"type": "string", **({"description": description} if description else {}), **more}


def _or_null(one: Json) -> Json:
    return {"oneOf": [one, {"type": "null"}]}


BYTES: Json = {"contentMediaType": "application/octet-stream"}
# Names in TensorFlow Serving's addresses end at either.
_NO_SLASH_NOR_COLON = "^[^/:]+$"
_BOOLEAN: Json = {"type": "boolean"}
_ANY_OBJECT: Json = {"type": "object"}
_DATE: Json = text(format="date-time")
_STATUS: Json = text(enum=["ready", "not-ready"])

_SCORING: Mapping[str, Json] = {
    "Images": members(
        "images",
        images=list_of(schema("Image"), minItems=1),
    ),
    "Image": members(
        "b64",
        b64=text(
            "The file in base64 (RFC 4648, section 4). What stands before a data URL's comma is passed over.",
            contentEncoding="base64",
            contentMediaType="image/*",
        ),
        name={
            "type": ["string", "null"],
            "description": "What the answer is to call the image; images[0], images[1], ... where it is left out.",
        },
    ),
    "Scores": members(
        "service model request_id predictions",
        service=text("The service that scored."),
        model=text("Its model's name; empty where the settings name none."),
        request_id=text("Finds the request in the gateway's log."),
        predictions=list_of(schema("Prediction"), description="One an image, in the order they were sent."),
    ),
    "Prediction": members(
        "file labels",
        file=text("The image's name: of its file part, of its JSON entry, or body."),
        labels=list_of(schema("Label"), description="Best first."),
        scores=list_of({"type": "number"}, description="All scores in the order of the classes; only with top=0."),
    ),
    "Label": members(
        "id label score",
        id={"type": "integer", "minimum": 0, "description": "The class's index in the model's output."},
        label=text("The class's name."),
        score={"type": "number"},
    ),
}

_PROBLEMS: Mapping[str, Json] = {
    "Problem": {
        **members(
            "type title status detail",
            type=text("What kind of error it is. Stable: rely on it.", format="uri"),
            title=text("The kind in words."),
            status={"type": "integer", "description": "The HTTP status."},
            detail=text("The cause, this time."),
            remedy=text("What to do, where there is something to do."),
            request_id=text("Finds the request in the gateway's log."),
            file=text("The image that it is about, by name."),
            index={"type": "integer", "minimum": 0, "description": "The image that it is about, by number."},
            parameter=text("The parameter that it is about."),
            expected=text("What the parameter may be."),
            part=text("The part of the form that it is about."),
            services=list_of(text(), description="The services that there are."),
        ),
        "description": "An error, by RFC 9457. Some types have members of their own; others may come.",
    },
    "ProtocolError": {
        **members("error", error=text("The cause, in a sentence.")),
        "description": "An error in the form that both inference protocols share.",
    },
}

_HEALTH: Mapping[str, Json] = {
    "Live": members("status", status=text(const="live")),
    "Ready": members(
        "status services",
        status=_STATUS,
        services={"type": "object", "additionalProperties": schema("ServiceHealth")},
    ),
    "ServiceHealth": members(
        "status service channel credentials",
        status=_STATUS,
        service=text("The service's own word on its health; unknown where it does not speak of it."),
        channel=text("The state of the connection."),
        credentials=members(
            "age_seconds stale",
            age_seconds={"type": ["number", "null"], "description": "Since Key Vault last gave them; null: never."},
            stale={"type": "boolean", "description": "They are in use, but Key Vault does not renew them."},
            problem=schema("Problem"),
        ),
        problem=schema("Problem"),
    ),
}

_ROTATION: Mapping[str, Json] = {
    "RotationRequest": {
        **members(
            "",
            service={"type": ["string", "null"], "description": "The service that is meant; all where left out."},
            dry_run={"type": "boolean", "description": "Only tell what the next steps would be."},
            rotate_keys={"type": "boolean", "description": "Renew the keys too, due or not."},
            retry={"type": "boolean", "description": "Try again what failed before."},
        ),
        "additionalProperties": False,
    },
    "RotationReport": members(
        "services",
        dry_run=_BOOLEAN,
        services={"type": "object", "additionalProperties": schema("Rotation")},
    ),
    "Rotation": {
        **members(
            "",
            phase=text(
                enum=[
                    *("steady", "stopped", "pinning", "grace", "propagating"),
                    *("verifying", "dropping-pins", "rolling-back", "updating"),
                ]
            ),
            next_step={**members("action", action=text()), "description": "What comes next, and until when it waits."},
            desired=_or_null(schema("DesiredCertificate")),
            served=_or_null(schema("Certificate")),
            pinned=list_of(schema("Certificate")),
            verified=_or_null(members("fingerprint at", fingerprint=text(), at={"type": ["string", "null"]})),
            failed=list_of(members("fingerprint reason detail at", fingerprint=text(), reason=text(), at=_DATE)),
            keys=_or_null(_ANY_OBJECT),
            last_error={"type": ["string", "null"]},
            history=list_of(members("at event detail", at=_DATE, event=text(), detail=text())),
            problem=schema("Problem"),
            events=list_of(members("at event detail", at=_DATE, event=text(), detail=text())),
        ),
        "description": "Where a rotation is. Only problem and events where the service could not be looked at.",
    },
    "Certificate": members(
        "fingerprint names not_before not_after",
        fingerprint=text("SHA-256 of its DER form."),
        names=list_of(text()),
        not_before=_DATE,
        not_after=_DATE,
    ),
    "DesiredCertificate": members(
        "version refusal",
        version=text("The secret's version in Key Vault."),
        fingerprint=text(),
        names=list_of(text()),
        not_before=_DATE,
        not_after=_DATE,
        refusal={"type": ["string", "null"], "description": "Why the certificate cannot be used."},
    ),
}

# A row is a number, a list of such, or {"b64": ...}; a model has one input, so an object may name that one.
_TF: Mapping[str, Json] = {
    "TfValue": {
        "description": 'Numbers in nested lists, or image files as {"b64": "..."}; or an object that names the input.',
    },
    "TfPredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": text("The signature; the service's SIGNATURE where left out."),
            "instances": list_of(schema("TfValue"), minItems=1, description="Rows: one an image."),
            "inputs": schema("TfValue"),
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        "description": "Either instances (rows) or inputs (columns).",
    },
    "TfPredictAnswer": {
        "type": "object",
        "properties": {
            "predictions": list_of({}, description="The output's rows, where instances were sent."),
            "outputs": list_of({}, description="The output, where inputs were sent."),
        },
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "TfModelStatus": members(
        "model_version_status",
        model_version_status=list_of(
            members(
                "version state status",
                version=text("A number of 64 bits, in digits."),
                state=text("As AVAILABLE or LOADING."),
                status=members("error_code error_message", error_code=text(), error_message=text()),
            )
        ),
    ),
    "TfModelMetadata": members("model_spec metadata", model_spec=_ANY_OBJECT, metadata=_ANY_OBJECT),
}

_OIP: Mapping[str, Json] = {
    "OipServer": members("name version extensions", name=text(), version=text(), extensions=list_of(text())),
    "OipLive": members("live", live=_BOOLEAN),
    "OipReady": members("ready", name=text(), ready=_BOOLEAN),
    "OipModel": members(
        "name versions platform inputs outputs",
        name=text(),
        versions=list_of(text()),
        platform=text(),
        inputs=list_of(schema("OipTensorForm")),
        outputs=list_of(schema("OipTensorForm")),
    ),
    "OipTensorForm": members(
        "name datatype shape",
        name=text(),
        datatype=text(enum=["BYTES", "FP32"]),
        shape=list_of({"type": "integer", "minimum": -1}, description="-1 for a size that varies."),
    ),
    "OipInferRequest": members(
        "inputs",
        id=text("Comes back in the answer.", maxLength=1000),
        parameters=members("", binary_data_output=_BOOLEAN),
        inputs=list_of(schema("OipInput"), minItems=1, maxItems=1),
        outputs=list_of(schema("OipWantedOutput"), maxItems=1),
    ),
    "OipInput": members(
        "name shape datatype",
        name=text("The model's input."),
        datatype=text("BYTES: image files. FP32: pixels.", enum=["BYTES", "FP32"]),
        shape=list_of({"type": "integer", "minimum": 0}, minItems=1, maxItems=254),
        data=list_of({}, description="Numbers or strings, flat or nested; left out where bytes follow the JSON."),
        parameters=members(
            "",
            content_type=text("base64: the strings of BYTES are base64."),
            binary_data_size={"type": "integer", "minimum": 0, "description": "How many bytes follow the JSON."},
        ),
    ),
    "OipWantedOutput": members(
        "name",
        name=text("The model's output."),
        parameters=members(
            "",
            binary_data=_BOOLEAN,
            classification={"type": "integer", "minimum": 0, "description": "How many classes to tell of each row."},
        ),
    ),
    "OipInferAnswer": members(
        "model_name outputs",
        model_name=text(),
        model_version=text(),
        id=text(),
        outputs=list_of(schema("OipOutput"), minItems=1, maxItems=1),
    ),
    "OipOutput": members(
        "name datatype shape",
        name=text(),
        datatype=text(enum=["BYTES", "FP32"]),
        shape=list_of({"type": "integer", "minimum": 0}),
        data=list_of({}, description="Row by row; classes as score:index:label."),
        parameters=members("", binary_data_size={"type": "integer", "minimum": 0}),
    ),
}

SCHEMAS: Mapping[str, Json] = {**_SCORING, **_PROBLEMS, **_HEALTH, **_ROTATION, **_TF, **_OIP}


def _parameter(place: str, name: str, description: str, kind: Json, **more: Any) -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, **required, "description": description, "schema": kind, **more}


def _model(pattern: str) -> Json:
    return _parameter(
        "path",
        "model",
        "A service's name, or the name of a model that one service alone has.",
        text(pattern=pattern),
        example="imagenet",
    )


PARAMETERS: Mapping[str, Json] = {
    "service": _parameter("path", "service", "A service's name.", text(), example="imagenet"),
    "model": _model("^[^/]+$"),
    "tf-model": _model(_NO_SLASH_NOR_COLON),
    "version": _parameter(
        "path",
        "version",
        "A version of the model, a number of 64 bits.",
        {"type": "integer", "format": "int64", "minimum": 0},
    ),
    "label": _parameter(
        "path",
        "label",
        "A label that the service has for a version.",
        text(pattern=_NO_SLASH_NOR_COLON),
        example="stable",
    ),
    "file": _parameter("path", "file", "A file of the page.", text(), example="style.css"),
    "top": _parameter(
        "query",
        "top",
        "How many labels; 0 gives all of them, and beside them all scores in the order of the classes.",
        {"type": "integer", "minimum": 0, "maximum": 999_999, "default": 5},
    ),
    "threshold": _parameter(
        "query",
        "threshold",
        "Only labels with at least this score.",
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
    ),
    "rotated": _parameter("query", "service", "Only this service.", text(), example="imagenet"),
    "timeout": _parameter(
        "header",
        "Request-Timeout-Ms",
        "How long to wait, in milliseconds; the service's own deadline stays the limit.",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    ),
    "traceparent": _parameter(
        "header",
        "traceparent",
        "The trace that the request belongs to (W3C Trace Context); it travels on to the inference service. "
        "A malformed one is passed over.",
        text(),
        example="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    "tracestate": _parameter(
        "header",
        "tracestate",
        "Goes with traceparent; passed over where it is malformed, or longer than 512 characters.",
        text(),
    ),
    "encoding": _parameter(
        "header", "Content-Encoding", "The body's compression.", text(enum=["identity", "gzip", "x-gzip", "deflate"])
    ),
    "json-length": _parameter(
        "header",
        "Inference-Header-Content-Length",
        "How many bytes of the body are JSON; the tensor's bytes follow.",
        {"type": "integer", "minimum": 1},
    ),
    "known": _parameter("header", "If-None-Match", "The version that is known already.", text()),
}

HEADERS: Mapping[str, Json] = {
    "Server-Timing": {
        "description": "Where the time went, in milliseconds: decode, credentials, wait, predict, total.",
        "schema": text(),
        "example": "decode;dur=0.30, credentials;dur=0.01, wait;dur=0.00, predict;dur=24.13, total;dur=25.21",
    },
    "Retry-After": {
        "description": "When to try again, in seconds; where that may help.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "ETag": {"description": "The version of what was sent.", "schema": text()},
    "Inference-Header-Content-Length": {
        "description": "How many bytes of the answer are JSON; the output's bytes follow. Only with binary output.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
