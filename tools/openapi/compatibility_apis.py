"""The operations of the compatibility APIs: the individual paths behind the catch-all routes under /v1 and /v2.

Errors have the format of these protocols. They keep the HTTP statuses of the gateway's problems, except for 422, which
the protocols do not have: an image that cannot be read is an invalid argument, 400.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from functions.open_inference import EXTENSIONS, NAME, PLATFORM, VERSION
from tools.openapi import problems
from tools.openapi.elements import FUNCTION_KEY, OCTET_STREAM, Json, content, operation, response, schema
from tools.openapi.gateway_api import FORWARDED, IMAGE, TIMING
from tools.openapi.schemas import BYTES

TENSORFLOW_SERVING, OPEN_INFERENCE = "TensorFlow Serving", "Open Inference Protocol"


def _errors(kinds: Iterable[problems.Problem]) -> dict[str, Json]:
    """The error responses by status."""
    titles: dict[int, list[str]] = {}
    for status, found in problems.by_status(kinds).items():
        titles.setdefault(400 if status == 422 else status, []).append(problems.titles(found))
    return {
        str(status): response(" ".join(found), content("ProtocolError"), problems.headers(status))
        for status, found in titles.items()
    }


_METADATA_ERRORS = _errors([*problems.UNKNOWN_SERVICE, *problems.PARAMETER, *problems.PROTOCOL, *problems.SERVICE])
_INFERENCE_ERRORS = _errors([*problems.UNKNOWN_SERVICE, *problems.INFERENCE, *problems.SERVICE])

# --- TensorFlow Serving -------------------------------------------------------------------------------------------

_TF_STATE = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
_TF_STATUS = content("TfModelStatus", one={"model_version_status": [_TF_STATE]})
_TF_ROWS = {"instances": [{"b64": IMAGE}]}
_TF_COLUMNS = {"signature_name": "serving_default", "inputs": [{"b64": IMAGE}]}
_TF_OUTPUT = content("TfPredictResponse", rows={"predictions": [[0.1, 0.7, 0.2]]})


def _tensorflow_serving(suffix: str, version: str, *version_parameters: str) -> dict[str, Json]:
    """The operations for a model, or for a version of it; ``suffix`` makes their names unique."""
    path, parameters = f"/v1/models/{{model}}{version}", ("tf-model", *version_parameters, *FORWARDED)
    define = partial(operation, tag=TENSORFLOW_SERVING, key=FUNCTION_KEY, parameters=parameters)
    status = define(
        f"tf_status{suffix}",
        "The state of a model's versions.",
        responses={"200": response("The state.", _TF_STATUS, TIMING), **_METADATA_ERRORS},
    )
    signatures = response("The signatures.", content("TfModelMetadata"), TIMING)
    metadata = define(
        f"tf_metadata{suffix}",
        "A model's signatures.",
        responses={"200": signatures, **_METADATA_ERRORS},
    )
    versioned = (*TIMING, "Model-Version")
    predict = define(
        f"tf_predict{suffix}",
        "The model's output for images or tensors.",
        parameters=(*parameters, "encoding"),
        body={"required": True, "content": content("TfPredictRequest", rows=_TF_ROWS, columns=_TF_COLUMNS)},
        responses={"200": response("The output.", _TF_OUTPUT, versioned), **_INFERENCE_ERRORS},
    )
    return {
        path: {"get": status},
        f"{path}/metadata": {"get": metadata},
        f"{path}:predict": {"post": predict},
    }


# --- Open Inference Protocol --------------------------------------------------------------------------------------

_OIP_MODEL = {
    "name": "imagenet",
    "versions": ["1"],
    "platform": PLATFORM,
    "inputs": [{"name": "images", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [{"name": "output_alias", "datatype": "FP32", "shape": [-1, 1000]}],
}
_OIP_INPUT = {"name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
_OIP_REQUEST = {
    "id": "42",
    "inputs": [{**_OIP_INPUT, "data": [IMAGE]}],
    "outputs": [{"name": "output_alias", "parameters": {"classification": 3}}],
}
_OIP_CLASSES = ["0.385783:282:tiger cat", "0.355935:285:Egyptian cat", "0.12:281:tabby"]
_OIP_RESPONSE = {
    "model_name": "imagenet",
    "model_version": "1",
    "id": "42",
    "outputs": [{"name": "output_alias", "datatype": "BYTES", "shape": [1, 3], "data": _OIP_CLASSES}],
}

_OIP_SERVER = operation(
    "oip_server",
    "The server's name, version and extensions.",
    tag=OPEN_INFERENCE,
    key=FUNCTION_KEY,
    responses={
        "200": response(
            "The server.",
            content("OipServer", server={"name": NAME, "version": VERSION, "extensions": [*EXTENSIONS]}),
        ),
        **_errors(problems.INTERNAL),
    },
)
_OIP_LIVE = operation(
    "oip_live",
    "Whether the worker runs.",
    tag=OPEN_INFERENCE,
    responses={"200": response("It runs.", content("OipLive", live={"live": True}))},
)
_OIP_READY = operation(
    "oip_ready",
    "Whether all models are ready.",
    tag=OPEN_INFERENCE,
    responses={
        "200": response("All are ready.", content("OipReady", ready={"ready": True})),
        "503": response("At least one is not ready.", content("OipReady", busy={"ready": False})),
        **_errors(problems.SETTINGS),
    },
)


def _open_inference(suffix: str, version: str, *version_parameters: str) -> dict[str, Json]:
    """The operations for a model, or for a version of it; ``suffix`` makes their names unique."""
    path, parameters = f"/v2/models/{{model}}{version}", ("model", *version_parameters, *FORWARDED)
    define = partial(operation, tag=OPEN_INFERENCE, key=FUNCTION_KEY, parameters=parameters)
    metadata = define(
        f"oip_model{suffix}",
        "The inputs and outputs of a model, as the gateway offers it.",
        responses={
            "200": response("The model.", content("OipModel", model=_OIP_MODEL), TIMING[1:]),
            **_METADATA_ERRORS,
        },
    )
    is_ready = content("OipReady", ready={"name": "imagenet", "ready": True})
    not_ready = content({"oneOf": [schema("OipReady"), schema("ProtocolError")]})
    ready = define(
        f"oip_model_ready{suffix}",
        "Whether a model is ready.",
        responses={
            "200": response("It is ready.", is_ready),
            **_METADATA_ERRORS,
            "503": response("It is not ready, or its state is unknown.", not_ready, problems.headers(503)),
        },
    )
    output = content("OipInferResponse", best=_OIP_RESPONSE) | content(BYTES, OCTET_STREAM)
    infer = define(
        f"oip_infer{suffix}",
        "The model's output, or its best classes, for images or tensors.",
        description="Clients of the protocol can also send application/octet-stream (the binary tensor extension): the "
        "bytes of the input follow the JSON, and the header Inference-Header-Content-Length gives the length of the "
        "JSON. Each element of BYTES starts with its length as four bytes (little-endian).",
        parameters=(*parameters, "encoding"),
        body={"required": True, "content": content("OipInferRequest", best=_OIP_REQUEST)},
        responses={
            "200": response("The output.", output, (*TIMING, "Inference-Header-Content-Length")),
            **_INFERENCE_ERRORS,
        },
    )
    return {path: {"get": metadata}, f"{path}/ready": {"get": ready}, f"{path}/infer": {"post": infer}}


PATHS: Mapping[str, Json] = {
    **_tensorflow_serving("", ""),
    **_tensorflow_serving("_version", "/versions/{version}", "version"),
    **_tensorflow_serving("_label", "/labels/{label}", "tf-label"),
    "/v2": {"get": _OIP_SERVER},
    "/v2/health/live": {"get": _OIP_LIVE},
    "/v2/health/ready": {"get": _OIP_READY},
    **_open_inference("", ""),
    **_open_inference("_version", "/versions/{version}", "version"),
}
