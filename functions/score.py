"""POST /api/score, and /json, /image and /api/services/{service}/score: images in, labels, scores or outputs out.

GET /api/services lists the services.
"""

from typing import TYPE_CHECKING

import azure.functions as func

from functions.http.access import SCORING
from functions.http.problems import problem, respond
from functions.http.requests import flag, invalid, ranking
from functions.http.responses import json_response
from functions.http.routing import served
from functions.http.uploads import submission
from shared.errors import GatewayError
from shared.gateway import Service, gateway
from shared.health import ServiceHealth, SplitHealth
from shared.scoring.types import Prediction, Upload
from shared.settings import InputForm, OutputKind
from shared.telemetry import RequestContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.traffic.split import Split
    from shared.upstream.codecs import Tensor

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# The parameters of the query; ``code`` is the function key, which the host reads.
_QUERY = frozenset({"top", "threshold", "partial", "service", "code"})
_OF_CLASSES = frozenset({"top", "threshold"})
_IGNORED = "Ignored-Parameters"


@blueprint.route("api/score", methods=["POST"], auth_level=SCORING)
async def score(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score images with the default service, or the one that the query names."""
    return await respond(req, context, lambda: _score(req, context, None), name="score")


# Each address accepts every form of upload; these two are for generated clients, where an operation has one form.
@blueprint.route("api/score/json", methods=["POST"], auth_level=SCORING)
async def score_json(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score images in JSON."""
    return await respond(req, context, lambda: _score(req, context, None), name="score")


@blueprint.route("api/score/image", methods=["POST"], auth_level=SCORING)
async def score_image(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score one image, whose bytes are the body."""
    return await respond(req, context, lambda: _score(req, context, None), name="score")


@blueprint.route("api/services/{service}/score", methods=["POST"], auth_level=SCORING)
async def score_with_service(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Score images with the service that the address names."""
    return await respond(req, context, lambda: _score(req, context, req.route_params["service"]), name="score")


@blueprint.route("api/services", methods=["GET", "HEAD"], auth_level=SCORING)
async def services(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The services: what each accepts, and whether it is ready."""
    return await respond(req, context, _services, name="services")


async def _score(req: func.HttpRequest, invocation: func.Context, name: str | None) -> func.HttpResponse:
    service = _service(name, req.params.get("service", ""))
    return await served(req, invocation, service, lambda one, context: _scored(req, one, context))


async def _scored(req: func.HttpRequest, service: Service, context: RequestContext) -> func.HttpResponse:
    submitted = await submission(req, gateway().settings.limits.images)
    options = {**submitted.options, **req.params} if submitted.options else req.params
    images, wanted = submitted.images, ranking(options)
    if flag(options, "partial"):
        results = await service.scorer.score_partially(images, wanted, context)
        predictions = [await _result(image, one) for image, one in zip(images, results, strict=True)]
    else:
        predictions = [await _prediction(one) for one in await service.scorer.score(images, wanted, context)]
    body = {
        "service": service.settings.name,
        "model": service.settings.model,
        "request_id": context.request_id,
        "predictions": predictions,
    }
    return json_response(body, headers={"Server-Timing": context.timings.server_timing(), **_ignored(req, service)})


def _service(name: str | None, queried: str) -> "Service | Split":
    """The service of the address, of the query, or the default one."""
    if name is not None and queried and queried != name:
        raise invalid("service", queried, f"the service of the address, '{name}', or none")
    return gateway().service(name or queried or None)


async def _prediction(one: Prediction) -> dict[str, object]:
    labels = [{"id": label.id, "label": label.label, "score": label.score} for label in one.labels]
    body: dict[str, object] = {"file": one.file, "labels": labels}
    if one.version is not None:
        body["model_version"] = one.version
    if isinstance(one.scores, list):
        body["scores"] = one.scores
    elif one.scores is not None:
        from functions.http import arrays  # noqa: PLC0415 - numpy, which no cold start needs

        body["scores"] = arrays.numbers(one.scores)
    if one.outputs is not None:
        body["outputs"] = await _outputs(one.outputs)
    if one.placement is not None:
        body["placement"] = one.placement._asdict()
    return body


async def _outputs(found: "Sequence[Tensor]") -> list[dict[str, object]]:
    from functions.http import arrays  # noqa: PLC0415 - as above

    return await arrays.written(found, lambda: [arrays.described(one) for one in found])


async def _result(image: Upload, one: Prediction | GatewayError) -> dict[str, object]:
    if isinstance(one, GatewayError):
        return {"file": image.name, "labels": [], "problem": problem(one)}
    return await _prediction(one)


def _ignored(req: func.HttpRequest, service: Service) -> dict[str, str]:
    """A header that names the query's unknown parameters: a misspelled one would otherwise not be noticed.

    So are those that choose classes, of a service that returns none.
    """
    if not req.params:
        return {}
    known = _QUERY if service.settings.output is OutputKind.CLASSES else _QUERY - _OF_CLASSES
    unknown = [name for name in req.params if name not in known and name.isascii() and name.isidentifier()]
    return {_IGNORED: ", ".join(name[:40] for name in unknown[:10])} if unknown else {}


async def _services() -> func.HttpResponse:
    found = gateway()
    health = await found.health()
    return json_response({"services": [_described(name, health[name]) for name in health]})


def _described(name: str, health: ServiceHealth | SplitHealth) -> dict[str, object]:
    found = gateway()
    service = found.service(name)
    members = [service] if isinstance(service, Service) else [found.member(one) for one in service.members]
    models, accepts = {one.settings.model for one in members}, {one.upstream.accepts for one in members}
    body: dict[str, object] = {
        "name": name,
        "model": models.pop() if len(models) == 1 else "",
        "default": name == found.settings.default_service,
        # Where members differ, each request is sent in the form of its own.
        "accepts": accepts.pop() if len(accepts) == 1 else InputForm.DISCOVERED,
        "returns": members[0].settings.output.value,
        "status": "ready" if health.ready else "not-ready",
    }
    return (
        {**body, "traffic": {one: share.weight for one, share in health.shares.items()}}
        if isinstance(health, SplitHealth)
        else body
    )
