"""POST /api/golden: check a service's golden photographs now, and try the likely causes of deviations."""

import azure.functions as func

from functions.http.problems import respond
from functions.http.requests import request_context
from functions.http.responses import json_response
from shared.errors import NoGoldenPhotographs
from shared.gateway import Service, gateway
from shared.quoting import listed
from shared.settings import prefix

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# Seconds, also where the service's own deadline is shorter: Azure's load balancer ends a request after 230.
_SECONDS = 200.0


@blueprint.route("api/golden", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def golden_check(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Compare what the model makes of the photographs with what it was trained to make of them."""
    return await respond(req, context, lambda: _check(req, context), name="golden")


async def _check(req: func.HttpRequest, invocation: func.Context) -> func.HttpResponse:
    service = gateway().service(req.params.get("service") or None)
    name = service.settings.name
    if not isinstance(service, Service):
        raise NoGoldenPhotographs(
            f"The service {name!r} has members, which have photographs: {listed(service.members)}."
        )
    if service.golden is None:
        setting = f"{prefix(name)}GOLDEN"
        raise NoGoldenPhotographs(f"The service {name!r} has no golden photographs: {setting} is not set.")
    context, checker = request_context(req, invocation, _SECONDS), service.golden.checker
    report = await checker.check(context)
    causes = await checker.causes(report, context)
    body: dict[str, object] = {
        "service": name,
        "request_id": context.request_id,
        "golden": str(report),
        "matches": not report.first_deviation,
        "photographs": [
            {"file": one.photograph.file, "matches": not one.deviation, "deviation": one.deviation}
            for one in report.outcomes
        ],
        "causes": {
            "matches_with": [", ".join(one) for one in causes.matches_with],
            "tried": causes.tried,
            "not_tried": causes.not_tried,
        },
    }
    if report.version is not None:
        body["model_version"] = str(report.version)
    return json_response(body)
