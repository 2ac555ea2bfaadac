"""/v1/models/...: TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest).

Its addresses put a parameter and a literal into one segment (``imagenet:predict``). ASP.NET Core matches such
templates, but nothing in the Functions host's own documentation promises it. So there is one function for all that lies
under ``v1``, with a catch-all: the kind of route that the Python library itself gives to whole web apps
(``AsgiFunctionApp``). The address is read here. No other function has a route under ``v1``, so it hides none, whatever
the order of their names, by which the host tries them; and an address that means nothing is answered in the protocol's
words.
"""

import re

import azure.functions as func

from functions.doors import METHODS, number, refusal, through, timed, unpacked
from functions.uploads import start_call
from shared.gateway import Service, gateway
from shared.scoring.model_types import Selector
from shared.telemetry import Call

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# As the server itself reads them: names hold neither a slash nor a colon, and letters' case is free.
_WHICH = r"models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_WHICH + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_QUESTION = re.compile(_WHICH + r"(?P<metadata>/metadata)?", re.IGNORECASE)


@blueprint.route("v1/{*path}", methods=METHODS, auth_level=func.AuthLevel.FUNCTION)
async def tf_serving_v1(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Everything that TensorFlow Serving offers under /v1."""
    return await through(context.invocation_id, lambda: _answer(req, context), name="tf-serving")


async def _answer(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    path = req.route_params.get("path", "")
    call, question = _CALL.fullmatch(path), _QUESTION.fullmatch(path)
    if call is not None and req.method == "POST":
        if call["method"].lower() != "predict":
            return refusal(501, f"The gateway offers predict, and not {call['method'].lower()}.")
        return await _predict(req, context, call)
    if question is not None and req.method in {"GET", "HEAD"}:
        return await _tell(req, context, question)
    return refusal(400, f"Malformed request: {req.method} /v1/{path[:200]}")


async def _predict(req: func.HttpRequest, context: func.Context, match: re.Match[str]) -> func.HttpResponse:
    from functions import tf_bodies  # noqa: PLC0415 - numpy, which a cold start can do without

    service, call = _start(req, context, match)
    asked = tf_bodies.read(await unpacked(req), service.settings.input_name)
    output = await service.model.predict(asked.tensor, _selector(match, asked.signature), call)
    return timed(tf_bodies.write(output, asked.form), "application/json", call.timings.server_timing())


async def _tell(req: func.HttpRequest, context: func.Context, match: re.Match[str]) -> func.HttpResponse:
    from functions import tf_bodies  # noqa: PLC0415 - as above

    service, call = _start(req, context, match)
    if match["metadata"]:
        body = tf_bodies.write_signatures(await service.model.signatures(_selector(match), call))
    else:
        body = tf_bodies.write_status(await service.model.status(_selector(match), call))
    return timed(body, "application/json", call.timings.server_timing())


def _start(req: func.HttpRequest, context: func.Context, match: re.Match[str]) -> tuple[Service, Call]:
    service = gateway().model(match["model"])
    return service, start_call(req, context, service.settings.deadline_seconds)


def _selector(match: re.Match[str], signature: str = "") -> Selector:
    version = None if match["version"] is None else number(match["version"])
    return Selector(version, match["label"] or "", signature)
