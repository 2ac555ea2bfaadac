"""The schemas of request and response bodies, by component name."""

from collections.abc import Mapping
from functools import partial

from shared.settings import InputForm, OutputKind
from shared.upstream.codecs.tensors import BYTES as BYTES_NAME
from shared.upstream.codecs.tensors import FORMS
from tools.openapi.elements import Json, array, boolean, integer, number, obj, or_null, schema, string, value

# OpenAPI 3.1 would have bytes without a type, but with contentMediaType; more generators know this form of 3.0.
BYTES: Json = {"type": "string", "format": "binary"}

_DATE = string(format="date-time")
_READINESS = string(enum=["ready", "not-ready"])
_DATATYPES = [BYTES_NAME, *FORMS]
_ANY_OBJECT = value("object")
_BYTES_AFTER_JSON = integer("How many bytes follow the JSON.", minimum=0)

_string_or_null = partial(value, ["string", "null"])


def _nullable(kind: Json) -> Json:
    return {**kind, "type": [kind["type"], "null"]}


def _map_of(name: str) -> Json:
    return value("object", additionalProperties=schema(name))


def _shape(smallest: int, description: str = "", **keywords: int) -> Json:
    return array(integer(minimum=smallest), description, **keywords)


_BASE64 = string("The file in base64 (RFC 4648; either alphabet), or as a data URL.", contentEncoding="base64")

_CERTIFICATE = {
    "fingerprint": string("SHA-256 of the certificate's DER encoding."),
    "subject": string(),
    "issuer": string(),
    "names": array(string()),
    "not_before": _DATE,
    "not_after": _DATE,
    "days_left": number("Days until it expires; negative where it has."),
}
_EVENT = obj(at=_DATE, event=string(), detail=string())
_PHASES = (
    *("steady", "stopped", "pinning", "grace", "propagating"),
    *("verifying", "dropping-pins", "rolling-back", "updating"),
)
_ROTATION = {
    "phase": string(enum=[*_PHASES]),
    "steps": array(schema("RotationStep"), "The phases in their order."),
    "next_step": obj("The next step, and until when it waits.", action=string()),
    "desired": or_null(schema("DesiredCertificate")),
    "served": or_null(schema("Certificate")),
    "pinned": array(schema("Certificate")),
    "verified": or_null(obj(fingerprint=string(), at=_string_or_null())),
    "failed": array(obj(fingerprint=string(), reason=string(), detail=string(), at=_DATE)),
    "keys": or_null(_ANY_OBJECT),
    "last_error": _string_or_null(),
    "history": array(_EVENT),
    "problem": schema("Problem"),
    "events": array(_EVENT),
}
_COUNTS = value("object", "Since the process started, by reason.", additionalProperties=integer(minimum=0))


def _part(description: str, **members: Json) -> Json:
    """A part of a service: all of the members; or the problem, or why there is none."""
    others = {"not_applicable": string("Why the service has none."), "problem": schema("Problem")}
    return obj(description, optional={**members, **others})


SCHEMAS: Mapping[str, Json] = {
    # --- Scoring
    # No name is one of the browser's own types, such as Image: a generated class would hide it.
    "ImageForm": obj(
        "Every file is an image, whatever the name of its part. The response names it by its file name. top, threshold "
        "and partial can be text fields too; other text fields are ignored.",
        images=array(BYTES, minItems=1),
    ),
    "ImageList": obj(
        "top, threshold and partial can be members too. A single image can be the member image instead.",
        images=array({"anyOf": [_BASE64, schema("NamedImage")]}, minItems=1),
    ),
    "NamedImage": obj(
        b64=_BASE64,
        optional={"name": _string_or_null("The image's name in the response; by default images[0], images[1], ...")},
    ),
    "Scores": obj(
        service=string("The service that scored the images."),
        model=string("The name of its model; empty if the settings do not name one."),
        request_id=string("Identifies the request in the gateway's log."),
        predictions=array(schema("Prediction"), "One for each image, in the order of the request."),
    ),
    "Prediction": obj(
        "An image's labels; its scores or outputs, of a service that returns those; or, with partial, its problem.",
        file=string("The image's name: of its file part or its JSON entry, or body."),
        labels=array(
            schema("ScoredLabel"),
            "Best first; empty where none is above the threshold, the service returns none, or there is a problem.",
        ),
        optional={
            "scores": array(
                number(),
                "All scores in the order of the classes; only with top=0, or of a service that returns scores.",
            ),
            "outputs": array(schema("RawOutput"), "All outputs of the model, of a service that returns them raw."),
            "placement": schema("Placement"),
            "model_version": string("The model's version, where the service reports it."),
            "problem": schema("Problem"),
        },
    ),
    "RawOutput": obj(
        "An output of the model as it is.",
        name=string(),
        datatype=string(enum=_DATATYPES),
        shape=_shape(0, "It starts with 1, the image, where the model's outputs do."),
        data=array(value(["number", "boolean", "string", "null"]), "Row by row, flat; null for NaN and infinity."),
        optional={"parameters": obj(optional={"content_type": string("base64: the strings of BYTES are not UTF-8.")})},
    ),
    "Placement": obj(
        "Where the image is in the model's input: x * scale_x + pad_left, y * scale_y + pad_top, in pixels from its "
        "upper left corner. So a point of an output is (x - pad_left) / scale_x, (y - pad_top) / scale_y in the image.",
        width=integer("Of the image, upright.", minimum=1),
        height=integer(minimum=1),
        orientation=integer(
            "The EXIF orientation that was applied; 1 where there is none, or the format's decoders apply it.",
            minimum=1,
            maximum=8,
        ),
        input_width=integer("Of the model's input, or of the file that the service got.", minimum=1),
        input_height=integer(minimum=1),
        scale_x=number(),
        scale_y=number(),
        pad_left=number("Negative where the left part was cut off."),
        pad_top=number(),
    ),
    "ScoredLabel": obj(
        id=integer("The class's index in the model's output.", minimum=0),
        label=string("The class's name."),
        score=number(),
    ),
    "ServiceList": obj(services=array(schema("ServiceDescription"))),
    "ServiceDescription": obj(
        name=string("For ?service=, and for the addresses of the protocol endpoints."),
        model=string("The name of its model; empty if the settings do not name one."),
        default=boolean("Whether it scores the requests that name no service."),
        accepts=string("What the gateway sends to it: the image as a file, or its pixels.", enum=[*InputForm]),
        returns=string("What the response has: labels, scores, or the model's outputs.", enum=[*OutputKind]),
        status=_READINESS,
        optional={
            "traffic": value(
                "object",
                "The services over which it spreads its requests, with their weights.",
                additionalProperties=integer(minimum=0),
            )
        },
    ),
    # --- Errors
    "Problem": obj(
        "An error (RFC 9457). Some types have additional members; new members may be added.",
        type=string("The kind of error. Stable: clients can rely on it.", format="uri"),
        title=string("A short description of the kind of error."),
        status=integer("The HTTP status."),
        detail=string("The cause of this error."),
        optional={
            "remedy": string("What to do about it."),
            "request_id": string("Identifies the request in the gateway's log."),
            "file": string("The name of the image that caused the error."),
            "index": integer("The number of the image that caused the error, from 0.", minimum=0),
            "parameter": string("The parameter that caused the error."),
            "expected": string("The values that the parameter can have."),
            "limit": integer("The most that is allowed."),
            "unit": string("What the limit counts."),
            "fields": array(string(), "The fields of the form."),
            "services": array(string(), "The names of the services there are."),
            "service": string("The service that failed, where the requested one spreads its requests over others."),
            "settings": array(string(), "The app settings that caused the error."),
            "secret": string("The secret in Key Vault that caused the error."),
        },
    ),
    "ProtocolError": obj(
        "An error in the format that both compatibility APIs share.", error=string("The cause, in a sentence.")
    ),
    # --- Health
    "Live": obj(status=string(const="live")),
    "Ready": obj(status=_READINESS, services=_map_of("ServiceReadiness")),
    "ServiceReadiness": obj(
        status=_READINESS,
        optional={
            "golden": string("The golden photographs that match, as in 8 of 8; checking, or not checked."),
            "problem": schema("Problem"),
        },
    ),
    "Health": obj(status=_READINESS, services=_map_of("ServiceHealth")),
    "ServiceHealth": obj(
        "Of a service that spreads its requests over others, status and members only.",
        status=_READINESS,
        optional={
            "service": string("The health that the service reports; unknown if it reports none."),
            "channel": string("The state of the connection."),
            "credentials": obj(
                age_seconds=value(["number", "null"], "Seconds since they were read from Key Vault; null: never read."),
                stale=boolean("Whether they are in use although Key Vault cannot be read."),
                optional={"problem": schema("Problem")},
            ),
            "golden": schema("GoldenStatus"),
            "members": _map_of("TrafficShare"),
            "problem": schema("Problem"),
        },
    ),
    "TrafficShare": obj(
        weight=integer("As the settings give it.", minimum=0),
        share=number("Its part of the requests at the moment, from 0 to 1."),
        state=string("returning: its share is coming back slowly.", enum=["ready", "returning", "not-ready"]),
        optional={"why": string("Why it is not ready: a problem's type, or the status that it reports.")},
    ),
    "GoldenStatus": obj(
        "The last check of the service's golden photographs.",
        result=string("How many match, as in 8 of 8; checking, or not checked."),
        optional={
            "model_version": string(),
            "first_deviation": string("The first photograph that does not match, and why."),
            "problem": schema("Problem"),
        },
    ),
    "GoldenReport": obj(
        service=string(),
        request_id=string(),
        golden=string("How many match, as in 8 of 8."),
        matches=boolean("Whether all do."),
        photographs=array(
            obj(
                file=string(),
                matches=boolean(),
                deviation=string("What deviates from expected.json; empty if nothing does."),
            )
        ),
        causes=obj(
            "The likely causes, tried if something deviates.",
            matches_with=array(string(), "The settings with each of which all photographs match."),
            tried=integer("How many combinations of settings were tried.", minimum=0),
            not_tried=string("What cannot be tried, and why; empty if nothing."),
        ),
        optional={"model_version": string()},
    ),
    # --- Rotation
    "RotationRequest": obj(
        optional={
            "service": _string_or_null("The name of a service; all services by default."),
            "dry_run": boolean("Only report the next steps."),
            "rotate_keys": boolean("Rotate the keys too, whether or not it is time."),
            "retry": boolean("Retry steps that failed before."),
        }
    )
    | {"additionalProperties": False},
    "RotationReport": obj(services=_map_of("Rotation"), optional={"dry_run": boolean()}),
    "Rotation": obj(
        "The state of a rotation. Only problem and events if the service could not be observed.", optional=_ROTATION
    ),
    "RotationStep": obj(
        phase=string(),
        state=string(
            "Where the rotation is: current; or stopped or rolling-back, at the last phase that was reached.",
            enum=["done", "current", "stopped", "rolling-back", "ahead"],
        ),
    ),
    "Certificate": obj(**_CERTIFICATE),
    "DesiredCertificate": obj(
        version=string("The version of the secret in Key Vault."),
        refusal=_string_or_null("Why the certificate cannot be used."),
        optional=_CERTIFICATE,
    ),
    # --- Operations
    "OperationsReport": obj(
        at=_DATE,
        shared=obj(
            "What all instances share, read where it is kept.",
            services=_map_of("SharedState"),
            traffic=value(
                "object",
                "The services that spread their requests over others, with the weights of those.",
                additionalProperties=value("object", additionalProperties=integer(minimum=0)),
            ),
        ),
        instance=schema("InstanceState"),
    ),
    "SharedState": obj(
        "The parts of a service. Each has the problem that prevented it from being read, or why the service has none "
        "(not_applicable), instead of its other members.",
        served=_part(
            "What each address presents in a handshake.",
            addresses=array(
                obj(address=string(), optional={"certificate": schema("Certificate"), "problem": schema("Problem")})
            ),
        ),
        pinned=_part(
            "What gateways trust: servers' certificates, then authorities.",
            changed_at=_DATE,
            certificates=array(schema("Certificate")),
        ),
        stored=_part(
            "The latest enabled version in Key Vault, which is rotated to; null: there is none.",
            certificate=or_null(schema("DesiredCertificate")),
        ),
        keys=_part(
            "When the keys in Key Vault were stored; the secondary may be missing.",
            primary=schema("StoredKey"),
            secondary=or_null(schema("StoredKey")),
        ),
        rotation=_part(
            "As in a Rotation, without the certificates.",
            **{name: _ROTATION[name] for name in ("phase", "steps", "next_step", "verified", "failed")},
            **{name: _ROTATION[name] for name in ("last_error", "history", "keys")},
        ),
    ),
    "StoredKey": obj(version=string("The secret's version in Key Vault."), stored_at=_DATE, age_days=number()),
    "InstanceState": obj(
        "What the instance that answered sees; another one may see something else.",
        id=string("WEBSITE_INSTANCE_ID, or else the host's name."),
        process=integer("The worker's process."),
        started=_DATE,
        status=_READINESS,
        services=_map_of("InstanceService"),
        memory=obj(
            "The memory for images, in bytes.",
            limit=integer(minimum=0),
            bodies=integer(minimum=0),
            decoding=integer(minimum=0),
            refusals=_COUNTS,
        ),
    ),
    "InstanceService": {
        "allOf": [
            schema("ServiceHealth"),
            obj(
                refusals=_COUNTS,
                errors=_COUNTS,
                optional={
                    "admission": obj(
                        "In images.",
                        limit=integer(minimum=0),
                        in_progress=integer(minimum=0),
                        with_service=integer("The others are being prepared, or wait for memory.", minimum=0),
                    ),
                },
            ),
        ]
    },
    # --- TensorFlow Serving
    # A row is a number, nested lists of numbers, or {"b64": ...}; a model has one input, so an object may name it.
    "TfValue": {
        "description": 'Numbers in nested lists, or image files as {"b64": "..."}; or an object that names the input.'
    },
    "TfPredictRequest": obj(
        "Either instances (rows) or inputs (columns).",
        optional={
            "signature_name": string("The name of the signature; by default the service's SIGNATURE."),
            "instances": array(schema("TfValue"), "Rows: one for each image.", minItems=1),
            "inputs": schema("TfValue"),
        },
    )
    | {"oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}]},
    "TfPredictResponse": obj(
        optional={
            "predictions": array({}, "The rows of the output, if the request has instances."),
            "outputs": array({}, "The output, if the request has inputs."),
        }
    )
    | {"oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}]},
    "TfModelStatus": obj(
        model_version_status=array(
            obj(
                version=string("A 64-bit number, in digits."),
                state=string("For example AVAILABLE or LOADING."),
                status=obj(error_code=string(), error_message=string()),
            )
        )
    ),
    "TfModelMetadata": obj(model_spec=_ANY_OBJECT, metadata=_ANY_OBJECT),
    # --- Open Inference Protocol
    "OipServer": obj(name=string(), version=string(), extensions=array(string())),
    "OipLive": obj(live=boolean()),
    "OipReady": obj(ready=boolean(), optional={"name": string()}),
    "OipModel": obj(
        name=string(),
        versions=array(string()),
        platform=string(),
        inputs=array(schema("OipTensorMetadata")),
        outputs=array(schema("OipTensorMetadata")),
    ),
    "OipTensorMetadata": obj(
        name=string(), datatype=string(enum=_DATATYPES), shape=_shape(-1, "-1 for a dimension of variable size.")
    ),
    "OipInferRequest": obj(
        inputs=array(schema("OipInput"), minItems=1, maxItems=1),
        optional={
            "id": _string_or_null("Returned in the response.", maxLength=1000),
            "parameters": _nullable(obj(optional={"binary_data_output": boolean()})),
            "outputs": _nullable(array(schema("OipRequestedOutput"), "All by default.")),
        },
    ),
    "OipInput": obj(
        name=string("The name of the model's input."),
        shape=_shape(0, minItems=1, maxItems=254),
        datatype=string("BYTES: image files. FP32: pixels.", enum=_DATATYPES),
        optional={
            "data": array({}, "Numbers or strings, flat or nested; absent if the bytes follow the JSON."),
            "parameters": _nullable(
                obj(
                    optional={
                        "content_type": string("base64: the strings of BYTES are base64."),
                        "binary_data_size": _BYTES_AFTER_JSON,
                    }
                )
            ),
        },
    ),
    "OipRequestedOutput": obj(
        name=string("The name of the model's output."),
        optional={
            "parameters": _nullable(
                obj(
                    optional={
                        "binary_data": boolean(),
                        "classification": integer("How many of the best classes to return for each row.", minimum=0),
                    }
                )
            )
        },
    ),
    "OipInferResponse": obj(
        model_name=string(),
        outputs=array(schema("OipOutput"), minItems=1),
        optional={"model_version": string(), "id": string()},
    ),
    "OipOutput": obj(
        name=string(),
        datatype=string(enum=_DATATYPES),
        shape=_shape(0),
        optional={
            "data": array({}, "Row by row; classes as score:index:label."),
            "parameters": obj(optional={"binary_data_size": _BYTES_AFTER_JSON, "content_type": string()}),
        },
    ),
}
