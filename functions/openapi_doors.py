"""The operations of the inference protocols: the real paths that lie behind the catch-alls under /v1 and /v2.

Errors have the protocols' own form here. The gateway's problems keep their statuses, but for 422, which the protocols
do not know: an image that cannot be read is an invalid argument, 400.
"""

from collections.abc import Iterable, Mapping

from functions import openapi_problems as problems
from functions.openapi_operations import (
    CALL,
    FUNCTION_KEY,
    JSON,
    TIMING,
    answer,
    json_of,
    media,
    operation,
    with_head,
)
from functions.openapi_schemas import BYTES, PICTURE, Json, schema

TF, OIP = "TensorFlow Serving", "Open Inference Protocol"

_ERROR = {JSON: {"schema": schema("ProtocolError")}}
_INVALID, _UNREADABLE = 400, 422

# What the protocols themselves refuse, by status.
_NO_VERSION = {404: "There is no such model, version or label."}
_NOT_OFFERED = {501: "The inference service does not offer it."}
_BODY: Mapping[int, str] = {
    400: "The body does not fit the model; the error says what would.",
    413: "The body is too large when it is unpacked.",
    415: "The Content-Encoding is not known here.",
}

_QUESTION = (*problems.OWN, *problems.UNKNOWN, *problems.TIMEOUT, *problems.VAULT, *problems.SERVICE)
_CALL = (*_QUESTION, *problems.BODY, *problems.IMAGES)


def paths() -> dict[str, Json]:
    """Everything under /v1 and /v2."""
    return {**_tf_serving(), **_open_inference()}


def _refusals(kinds: problems.Problems, *own: Mapping[int, str]) -> dict[str, Json]:
    told: dict[int, list[str]] = {}
    for status, words in (pair for one in own for pair in one.items()):
        told.setdefault(status, []).append(words)
    for status, found in problems.by_status(kinds).items():
        told.setdefault(_INVALID if status == _UNREADABLE else status, []).append(problems.titles(found))
    return {
        str(status): {**answer(" ".join(words), _ERROR), **problems.retried(status)} for status, words in told.items()
    }


# --- TensorFlow Serving -------------------------------------------------------------------------------------------

_TF_PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "": ("", ("tf-model",)),
    "_version": ("/versions/{version}", ("tf-model", "version")),
    "_label": ("/labels/{label}", ("tf-model", "label")),
}
_STATUS = {
    "model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}


def _tf_serving() -> dict[str, Json]:
    made: dict[str, Json] = {}
    for suffix, (which, place) in _TF_PLACES.items():
        start = f"/v1/models/{{model}}{which}"
        made[start] = with_head(
            _tf_question(
                "tf_status" + suffix, "The state of a model's versions.", place, json_of("TfModelStatus", one=_STATUS)
            )
        )
        made[f"{start}/metadata"] = with_head(
            _tf_question("tf_metadata" + suffix, "A model's signatures.", place, json_of("TfModelMetadata"))
        )
        made[f"{start}:predict"] = {"post": _tf_predict("tf_predict" + suffix, place)}
    return made


def _tf_question(name: str, summary: str, place: Iterable[str], content: Json) -> Json:
    return operation(
        name,
        summary,
        tag=TF,
        keys=FUNCTION_KEY,
        parameters=(*place, *CALL),
        responses={"200": answer("What the service says.", content, TIMING)}
        | _refusals(_QUESTION, _NO_VERSION, _NOT_OFFERED),
    )


def _tf_predict(name: str, place: Iterable[str]) -> Json:
    rows = {"instances": [{"b64": PICTURE}]}
    columns = {"signature_name": "serving_default", "inputs": [{"b64": PICTURE}]}
    return operation(
        name,
        "The model's output for images or tensors.",
        tag=TF,
        keys=FUNCTION_KEY,
        parameters=(*place, *CALL, "encoding"),
        body={"required": True, "content": json_of("TfPredictRequest", rows=rows, columns=columns)},
        responses={
            "200": answer("The output.", json_of("TfPredictAnswer", rows={"predictions": [[0.1, 0.7, 0.2]]}), TIMING)
        }
        | _refusals(_CALL, _NO_VERSION, _BODY),
    )


# --- Open Inference Protocol --------------------------------------------------------------------------------------

_OIP_PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "": ("", ("model",)),
    "_version": ("/versions/{version}", ("model", "version")),
}
_MODEL = {
    "name": "imagenet",
    "versions": ["1"],
    "platform": "tensorflow_serving",
    "inputs": [{"name": "images", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [{"name": "output_alias", "datatype": "FP32", "shape": [-1, 1000]}],
}
_INFER = {
    "id": "42",
    "inputs": [
        {
            "name": "images",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"content_type": "base64"},
            "data": [PICTURE],
        }
    ],
    "outputs": [{"name": "output_alias", "parameters": {"classification": 3}}],
}
_INFERRED = {
    "model_name": "imagenet",
    "model_version": "1",
    "id": "42",
    "outputs": [
        {
            "name": "output_alias",
            "datatype": "BYTES",
            "shape": [1, 3],
            "data": ["0.385783:282:tiger cat", "0.355935:285:Egyptian cat", "0.12:281:tabby"],
        }
    ],
}


def _open_inference() -> dict[str, Json]:
    made = {"/v2": with_head(_server()), "/v2/health/live": {"get": _live()}, "/v2/health/ready": {"get": _ready()}}
    for suffix, (which, place) in _OIP_PLACES.items():
        start = f"/v2/models/{{model}}{which}"
        made[start] = with_head(_metadata("oip_model" + suffix, place))
        made[f"{start}/ready"] = with_head(_model_ready("oip_model_ready" + suffix, place))
        made[f"{start}/infer"] = {"post": _infer("oip_infer" + suffix, place)}
    return made


def _server() -> Json:
    example = {"name": "scoring-gateway", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]}
    return operation(
        "oip_server",
        "What the server is, and which extensions it has.",
        tag=OIP,
        keys=FUNCTION_KEY,
        responses={"200": answer("The server.", json_of("OipServer", server=example))} | _refusals(problems.OWN[1:]),
    )


def _live() -> Json:
    return operation(
        "oip_live",
        "Whether the worker runs.",
        tag=OIP,
        responses={"200": answer("It does.", json_of("OipLive", live={"live": True}))},
    )


def _ready() -> Json:
    return operation(
        "oip_ready",
        "Whether every model can be called.",
        tag=OIP,
        responses={
            "200": answer("All can.", json_of("OipReady", ready={"ready": True})),
            "503": answer("One cannot.", json_of("OipReady", busy={"ready": False})),
        }
        | _refusals(problems.OWN),
    )


def _metadata(name: str, place: Iterable[str]) -> Json:
    return operation(
        name,
        "What a model takes through the gateway, and what it gives.",
        tag=OIP,
        keys=FUNCTION_KEY,
        parameters=(*place, *CALL),
        responses={"200": answer("The model.", json_of("OipModel", model=_MODEL))}
        | _refusals(_QUESTION, _NO_VERSION, {400: "The version is not a number."}),
    )


def _model_ready(name: str, place: Iterable[str]) -> Json:
    refusals = _refusals(_QUESTION, _NO_VERSION, {400: "The version is not a number."})
    either = {"oneOf": [schema("OipReady"), schema("ProtocolError")]}
    return operation(
        name,
        "Whether a model, or a version of it, can be called.",
        tag=OIP,
        keys=FUNCTION_KEY,
        parameters=(*place, *CALL),
        responses={
            **refusals,
            "200": answer("It can.", json_of("OipReady", ready={"name": "imagenet", "ready": True})),
            "503": {
                **refusals["503"],
                "description": "It cannot, or it cannot be told.",
                "content": {JSON: {"schema": either}},
            },
        },
    )


def _infer(name: str, place: Iterable[str]) -> Json:
    mixed: Json = {"application/octet-stream": media(BYTES, {})}
    return operation(
        name,
        "The model's output, or its best classes, for images or tensors.",
        tag=OIP,
        keys=FUNCTION_KEY,
        description="With the binary tensor extension, the input's bytes follow the JSON, and the header "
        "Inference-Header-Content-Length tells where it ends; of BYTES, each element is its length in four bytes "
        "(little-endian) and then itself.",
        parameters=(*place, *CALL, "encoding", "json-length"),
        body={"required": True, "content": {**json_of("OipInferRequest", best=_INFER), **mixed}},
        responses={
            "200": answer(
                "The output.",
                {**json_of("OipInferAnswer", best=_INFERRED), **mixed},
                (*TIMING, "Inference-Header-Content-Length"),
            )
        }
        | _refusals(_CALL, _NO_VERSION, _BODY),
    )
