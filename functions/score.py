"""POST /api/score and /api/services/{service}/score: images in, labels out."""

import azure.functions as func

from functions.http.problems import respond
from functions.http.requests import ranking, request_context
from functions.http.responses import json_response
from functions.http.uploads import uploads
from shared.gateway import gateway
from shared.scoring.types import Prediction

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped


@blueprint.route("api/score", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def score(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score images with the default service."""
    return await _respond(req, context, None)


@blueprint.route("api/services/{service}/score", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def score_with_service(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score images with the service that the address names."""
    return await _respond(req, context, req.route_params["service"])


async def _respond(req: func.HttpRequest, invocation: func.Context, name: str | None) -> func.HttpResponse:
    return await respond(invocation.invocation_id, lambda: _score(req, invocation, name), name="score")


async def _score(req: func.HttpRequest, invocation: func.Context, name: str | None) -> func.HttpResponse:
    service = gateway().service(name)
    context = request_context(req, invocation, service.settings.deadline_seconds)
    predictions = await service.scorer.score(uploads(req), ranking(req.params), context)
    body = {
        "service": service.settings.name,
        "model": service.settings.model,
        "request_id": context.request_id,
        "predictions": [_prediction(one) for one in predictions],
    }
    return json_response(body, headers={"Server-Timing": context.timings.server_timing()})


def _prediction(one: Prediction) -> dict[str, object]:
    labels = [{"id": label.id, "label": label.label, "score": label.score} for label in one.labels]
    body: dict[str, object] = {"file": one.file, "labels": labels}
    if one.scores is not None:
        body["scores"] = one.scores
    return body
