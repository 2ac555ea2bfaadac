"""/v2/...: the Open Inference Protocol over HTTP, with the extensions for binary tensors and for classification.

The protocol: https://github.com/kserve/open-inference-protocol; errors and statuses are those of Triton.

The host tries its functions in the order of their names and takes the first whose route fits. So the two that need no
key, with routes of their own, have names before that of the third, a catch-all for whatever else lies under ``v2``. No
other function has a route there, so none is hidden.
"""

import re

import azure.functions as func

from functions.answers import json_answer
from functions.doors import METHODS, number, refusal, through, timed, unpacked
from functions.uploads import start_call
from shared.gateway import Service, gateway
from shared.scoring.model_types import MethodMissing, Selector
from shared.settings import InputForm
from shared.telemetry import Call

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

NAME, VERSION = "scoring-gateway", "0.1.0"
EXTENSIONS = ("binary_tensor_data", "classification")
PLATFORM = "tensorflow_serving"

_MODEL = re.compile(r"models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<verb>/ready|/infer)?")


@blueprint.route("v2/health/live", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def open_inference_live(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
    """Whether the worker runs at all."""
    return json_answer({"live": True})


@blueprint.route("v2/health/ready", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def open_inference_ready(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # noqa: ARG001
    """Whether every model can be called; 503 while one cannot."""
    return await through(context.invocation_id, _all_ready, name="open-inference")


@blueprint.route("v2/{*path}", methods=METHODS, auth_level=func.AuthLevel.FUNCTION)
async def open_inference_v2(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Everything else that the protocol offers under /v2."""
    return await through(context.invocation_id, lambda: _answer(req, context), name="open-inference")


async def _answer(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    path = req.route_params.get("path", "")
    match = _MODEL.fullmatch(path)
    if match is None and path:
        return refusal(404, f"There is nothing at /v2/{path[:200]}.")
    allowed = "POST" if match is not None and match["verb"] == "/infer" else "GET"
    if req.method not in {allowed, "HEAD" if allowed == "GET" else allowed}:
        return refusal(405, f"/v2/{path[:200]} takes {allowed}, not {req.method}.", {"Allow": allowed})
    if match is None:
        return json_answer({"name": NAME, "version": VERSION, "extensions": list(EXTENSIONS)})
    service = gateway().model(match["model"])
    call = start_call(req, context, service.settings.deadline_seconds)
    selector = Selector(None if match["version"] is None else number(match["version"]))
    if match["verb"] == "/infer":
        return await _infer(req, match["model"], service, selector, call)
    if match["verb"] == "/ready":
        return await _ready(match["model"], service, selector, call)
    return await _metadata(match["model"], service, selector, call)


async def _infer(
    req: func.HttpRequest, name: str, service: Service, selector: Selector, call: Call
) -> func.HttpResponse:
    from functions import oip_bodies  # noqa: PLC0415 - numpy, which a cold start can do without

    own = service.settings
    length = req.headers.get(oip_bodies.HEADER_LENGTH, "")
    asked = oip_bodies.read(await unpacked(req), length, own.input_name, own.output_name)
    output = await service.model.predict(asked.tensor, selector, call)
    classes = service.model.best(output, asked.classes) if asked.classes else None
    answer = oip_bodies.write(output, classes, asked, model=name, output_name=own.output_name)
    return timed(answer.body, answer.mimetype, call.timings.server_timing(), answer.headers)


async def _all_ready() -> func.HttpResponse:
    ready = all(health.ready for health in (await gateway().health()).values())
    return json_answer({"ready": ready}, status=200 if ready else 503)


async def _ready(name: str, service: Service, selector: Selector, call: Call) -> func.HttpResponse:
    """Whether the model, or one version of it, can be called."""
    if selector.version is None:
        ready = (await gateway().health_of(service)).ready
    else:
        ready = str(selector.version) in await _versions(service, selector, call)
    return json_answer({"name": name, "ready": ready}, status=200 if ready else 503)


async def _metadata(name: str, service: Service, selector: Selector, call: Call) -> func.HttpResponse:
    """What the model takes through the gateway, and what it gives."""
    versions = await _versions(service, selector, call)
    shape = await _output_shape(service, selector, call)
    own = service.settings
    if own.input_form is InputForm.ENCODED:
        taken = {"name": own.input_name, "datatype": "BYTES", "shape": [-1]}
    else:
        size = own.preprocessing.size
        taken = {"name": own.input_name, "datatype": "FP32", "shape": [-1, size, size, 3]}
    return json_answer(
        {
            "name": name,
            "versions": versions,
            "platform": PLATFORM,
            "inputs": [taken],
            "outputs": [{"name": own.output_name, "datatype": "FP32", "shape": shape}],
        }
    )


async def _versions(service: Service, selector: Selector, call: Call) -> list[str]:
    """The versions that take calls; the one that was asked for, or none, where the service does not tell."""
    try:
        told = await service.model.status(selector, call)
    except MethodMissing:
        return [] if selector.version is None else [str(selector.version)]
    return [str(one.version) for one in told if one.state == "AVAILABLE"]


async def _output_shape(service: Service, selector: Selector, call: Call) -> list[int]:
    """The output's shape, -1 for what varies; a matrix of whatever size where the service does not tell."""
    try:
        told = await service.model.signatures(selector, call)
    except MethodMissing:
        return [-1, -1]
    return told.output_shape(service.settings.signature, service.settings.output_name) or [-1, -1]
