"""/v2/...: the Open Inference Protocol over HTTP, with the extensions for binary tensors and for classification.

The protocol: https://github.com/kserve/open-inference-protocol; errors and statuses are those of Triton.

The host tries its functions in the order of their names and takes the first whose route matches. So the two that need
no key, with routes of their own, have names before that of the third, a catch-all for everything else under ``v2``. No
other function has a route there, so none is hidden.
"""

import re

import azure.functions as func

from functions.http.access import SCORING
from functions.http.bodies import body_of
from functions.http.responses import json_response
from functions.http.routing import served
from functions.protocols.endpoint import (
    METHODS,
    error_response,
    method_not_allowed,
    parse_version,
    parsed,
    predicted,
    respond,
)
from shared.errors import MethodNotOffered
from shared.gateway import Service, gateway
from shared.quoting import printable
from shared.settings import OutputKind
from shared.telemetry import RequestContext
from shared.upstream.codecs import ModelInterface, Selector

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

NAME, VERSION = "scoring-gateway", "0.1.0"
EXTENSIONS = ("binary_tensor_data", "classification")
PLATFORM = "tensorflow_serving"

_MODEL = re.compile(r"models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<verb>/ready|/infer)?")


@blueprint.route("v2/health/live", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def open_inference_live(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether the worker runs at all."""
    return await respond(req, context, _live, name="open-inference", anonymous=True)


@blueprint.route("v2/health/ready", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def open_inference_ready(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether every model can be called; 503 while one cannot."""
    return await respond(req, context, _all_ready, name="open-inference", anonymous=True)


@blueprint.route("v2/{*path}", methods=METHODS, auth_level=SCORING)
async def open_inference_v2(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Everything else that the protocol offers under /v2."""
    return await respond(req, context, lambda: _dispatch(req, context), name="open-inference")


async def _dispatch(req: func.HttpRequest, invocation: func.Context) -> func.HttpResponse:
    path = req.route_params.get("path", "")
    match = _MODEL.fullmatch(path)
    if match is None and path:
        return error_response(404, f"There is nothing at /v2/{printable(path)}; GET /api/services lists the services.")
    allowed = ("POST",) if match is not None and match["verb"] == "/infer" else ("GET", "HEAD")
    if req.method not in allowed:
        return method_not_allowed(req, f"/v2/{path}", allowed)
    if match is None:
        return json_response({"name": NAME, "version": VERSION, "extensions": list(EXTENSIONS)})
    name, verb = match["model"], match["verb"]
    service = gateway().model(name)
    selector = Selector(None if match["version"] is None else parse_version(match["version"]))
    if verb == "/infer":
        return await served(req, invocation, service, lambda one, context: _infer(req, name, one, selector, context))
    if verb == "/ready" and selector.version is None:
        return _readiness(name, ready=(await gateway().health_of(service)).ready)
    answer = _version_ready if verb == "/ready" else _metadata
    return await served(
        req, invocation, service, lambda one, context: answer(name, one, selector, context), question=True
    )


async def _infer(
    req: func.HttpRequest, name: str, service: Service, selector: Selector, context: RequestContext
) -> func.HttpResponse:
    from functions.http import arrays  # noqa: PLC0415 - numpy, which no cold start needs
    from functions.protocols import open_inference_json  # noqa: PLC0415 - as above

    length = req.headers.get(open_inference_json.HEADER_LENGTH, "")
    body, limits = await body_of(req), gateway().settings.limits
    interface = await service.model.interface(context)
    infer = await parsed(
        open_inference_json.json_size(body, length),
        open_inference_json.parse_infer,
        body,
        length,
        interface.input_name,
        None if service.settings.output is OutputKind.RAW else interface.output_name,
        max_rows=limits.images,
        datatype=interface.datatype,
    )
    if infer.wanted is not None:
        outputs = await service.model.outputs(infer.tensor, selector, context)
        response = await arrays.written(
            outputs.tensors, lambda: open_inference_json.inferred_all(outputs, infer, model=name)
        )
        return predicted(response.body, response.mimetype, context, response.headers)
    output = await service.model.predict(infer.tensor, selector, context)
    classes = await service.model.best(output, infer.classes, context) if infer.classes else None
    response = open_inference_json.inferred(output, classes, infer, model=name, output_name=interface.output_name)
    return predicted(response.body, response.mimetype, context, response.headers)


async def _live() -> func.HttpResponse:
    return json_response({"live": True})


async def _all_ready() -> func.HttpResponse:
    ready = gateway().all_ready(await gateway().readiness())
    return json_response({"ready": ready}, status=200 if ready else 503)


async def _version_ready(name: str, service: Service, selector: Selector, context: RequestContext) -> func.HttpResponse:
    return _readiness(name, ready=str(selector.version) in await _versions(service, selector, context))


def _readiness(name: str, *, ready: bool) -> func.HttpResponse:
    """Whether the model, or one version of it, can be called."""
    return json_response({"name": name, "ready": ready}, status=200 if ready else 503)


async def _metadata(name: str, service: Service, selector: Selector, context: RequestContext) -> func.HttpResponse:
    """The model's input through the gateway, and its output."""
    versions = await _versions(service, selector, context)
    interface = await service.model.interface(context)
    outputs = await _outputs(service, interface, selector, context)
    if interface.takes_files:
        model_input = {"name": interface.input_name, "datatype": "BYTES", "shape": [-1]}
    else:
        model_input = {
            "name": interface.input_name,
            "datatype": interface.datatype,
            "shape": [-1, *interface.pixel_shape],
        }
    return json_response(
        {
            "name": name,
            "versions": versions,
            "platform": PLATFORM,
            "inputs": [model_input],
            "outputs": outputs,
        }
    )


async def _versions(service: Service, selector: Selector, context: RequestContext) -> list[str]:
    """The available versions; the requested one, or none, where the service does not report them."""
    try:
        statuses = await service.model.status(selector, context)
    except MethodNotOffered:
        return [] if selector.version is None else [str(selector.version)]
    return [str(one.version) for one in statuses if one.state == "AVAILABLE"]


async def _outputs(
    service: Service, interface: ModelInterface, selector: Selector, context: RequestContext
) -> list[dict[str, object]]:
    """The output, or every output of a service that returns them as they are, where it reports them."""
    if service.settings.output is not OutputKind.RAW:
        shape = await _output_shape(service, interface.output_name, selector, context)
        return [{"name": interface.output_name, "datatype": "FP32", "shape": shape}]
    try:
        reported = interface.outputs or await service.model.reported_outputs(context)
    except MethodNotOffered:
        return []
    first = () if interface.batched else (-1,)
    return [
        {"name": printable(one.name), "datatype": printable(one.datatype, 20), "shape": [*first, *(one.shape or ())]}
        for one in reported
        if interface.output_name in ("", one.name)
    ]


async def _output_shape(service: Service, output: str, selector: Selector, context: RequestContext) -> list[int]:
    """The output's shape, -1 for a size that varies; a matrix of any size where the service does not report it."""
    try:
        signatures = await service.model.signatures(selector, context)
    except MethodNotOffered:
        return [-1, -1]
    return signatures.output_shape(service.settings.signature, output) or [-1, -1]
