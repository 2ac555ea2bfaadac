"""/v1/models/...: TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest).

Its addresses put a parameter and a literal into one segment (``imagenet:predict``). ASP.NET Core matches such
templates, but the Functions host's own documentation does not promise it. So there is one function for everything under
``v1``, with a catch-all: the kind of route that the Python library itself uses for web apps (``AsgiFunctionApp``). The
address is parsed here. No other function has a route under ``v1``, so it hides none, whatever the order of their
names, by which the host tries them; and a malformed address is answered in the protocol's form.
"""

import re

import azure.functions as func

from functions.http.access import SCORING
from functions.http.bodies import body_of
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
from shared.gateway import Service, gateway
from shared.quoting import printable
from shared.settings import OutputKind
from shared.telemetry import RequestContext
from shared.upstream.codecs import Selector

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# As the server itself parses them: names contain neither a slash nor a colon, and letters' case is ignored.
_MODEL = r"models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_QUESTION = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)


@blueprint.route("v1/{*path}", methods=METHODS, auth_level=SCORING)
async def tf_serving_v1(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Everything that TensorFlow Serving offers under /v1."""
    return await respond(req, context, lambda: _dispatch(req, context), name="tensorflow-serving")


async def _dispatch(req: func.HttpRequest, invocation: func.Context) -> func.HttpResponse:
    path = req.route_params.get("path", "")
    call, question = _CALL.fullmatch(path), _QUESTION.fullmatch(path)
    if call is not None:
        if req.method != "POST":
            return method_not_allowed(req, f"/v1/{path}", ("POST",))
        if call["method"].lower() != "predict":
            return error_response(501, f"The gateway offers predict, not {call['method'].lower()}.")
        service = gateway().model(call["model"])
        return await served(req, invocation, service, lambda one, context: _predict(req, one, context, call))
    if question is not None:
        if req.method not in {"GET", "HEAD"}:
            return method_not_allowed(req, f"/v1/{path}", ("GET", "HEAD"))
        service = gateway().model(question["model"])
        return await served(
            req, invocation, service, lambda one, context: _describe(one, context, question), question=True
        )
    message = f"Malformed request: {req.method} /v1/{printable(path)}; GET /api/services lists the services."
    return error_response(400, message)


async def _predict(
    req: func.HttpRequest, service: Service, context: RequestContext, match: re.Match[str]
) -> func.HttpResponse:
    from functions.http import arrays  # noqa: PLC0415 - numpy, which no cold start needs
    from functions.protocols import tensorflow_json  # noqa: PLC0415 - as above

    body, limits = await body_of(req), gateway().settings.limits
    model = await service.model.interface(context)
    predict = await parsed(len(body), tensorflow_json.parse_predict, body, model.input_name, max_rows=limits.images)
    selector = _selector(match, predict.signature)
    if service.settings.output is OutputKind.RAW:
        outputs = await service.model.outputs(predict.tensor, selector, context)
        body = await arrays.written(outputs.tensors, lambda: tensorflow_json.all_outputs(outputs, predict.form))
        return predicted(body, "application/json", context, _version(outputs.version))
    output = await service.model.predict(predict.tensor, selector, context)
    body = tensorflow_json.predictions(output, predict.form)
    return predicted(body, "application/json", context, _version(output.version))


def _version(version: int | str | None) -> dict[str, str]:
    """The model's version is a header: the protocol's own body has no place for it."""
    return {} if version is None else {"Model-Version": str(version).encode("ascii", "replace").decode()}


async def _describe(service: Service, context: RequestContext, match: re.Match[str]) -> func.HttpResponse:
    from functions.protocols import tensorflow_json  # noqa: PLC0415 - as above

    if match["metadata"]:
        body = tensorflow_json.metadata(await service.model.signatures(_selector(match), context))
    else:
        body = tensorflow_json.status(await service.model.status(_selector(match), context))
    return predicted(body, "application/json", context)


def _selector(match: re.Match[str], signature: str = "") -> Selector:
    version = None if match["version"] is None else parse_version(match["version"])
    return Selector(version, match["label"] or "", signature)
