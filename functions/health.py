"""GET /api/health/live, /ready and /services, and the warm-up before a new instance's first request."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import azure.functions as func
from azure.functions.warmup import WarmUpContext

from functions.http.problems import anonymous_problem, anonymous_problem_response, problem, respond
from functions.http.responses import json_response
from shared.errors import GatewayError
from shared.gateway import gateway, prepare
from shared.health import ServiceHealth, SplitHealth
from shared.telemetry import log
from shared.telemetry.background_log import Invocation

if TYPE_CHECKING:
    from shared.scoring.golden.watch import GoldenStatus

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped


@blueprint.route("api/health/live", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def live(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether the worker runs at all."""
    return await respond(req, context, _live, name="live")


@blueprint.route("api/health/ready", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def ready(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Whether every service can be scored with; 503 while one cannot. Without details: it needs no key."""
    return await respond(req, context, _ready, name="ready", error_response=anonymous_problem_response)


@blueprint.route("api/health/services", methods=["GET", "HEAD"], auth_level=func.AuthLevel.FUNCTION)
async def service_health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The same with each service's status, channel, credentials and problem."""
    return await respond(req, context, _service_health, name="health")


@blueprint.warm_up_trigger("warmup")
async def warm_up(warmup: WarmUpContext) -> None:  # noqa: ARG001
    """Fetch the credentials and connect, before the instance gets its first request."""
    with Invocation():
        try:
            await prepare()
            await gateway().connect()
        except GatewayError as error:
            log.error("warm-up: %s %s", error.slug, error.detail)  # without its stack trace


async def _live() -> func.HttpResponse:
    return json_response({"status": "live"})


async def _ready() -> func.HttpResponse:
    services = await gateway().readiness()
    return _response(services, {name: _summary(health) for name, health in services.items()})


async def _service_health() -> func.HttpResponse:
    services = await gateway().health()
    return _response(services, {name: details(health) for name, health in services.items()})


def _response(services: Mapping[str, ServiceHealth | SplitHealth], bodies: Mapping[str, object]) -> func.HttpResponse:
    all_ready = gateway().all_ready(services)
    body = {"status": _status(ready=all_ready), "services": bodies}
    return json_response(body, status=200 if all_ready else 503)


def _status(*, ready: bool) -> str:
    return "ready" if ready else "not-ready"


def _summary(health: ServiceHealth | SplitHealth) -> dict[str, object]:
    body: dict[str, object] = {"status": _status(ready=health.ready)}
    if isinstance(health, ServiceHealth) and health.golden is not None:
        body["golden"] = str(health.golden)
    if health.problem is not None:
        body["problem"] = anonymous_problem(health.problem)
    return body


def details(health: ServiceHealth | SplitHealth) -> dict[str, object]:
    """One service's or split's health as JSON, with details."""
    if isinstance(health, SplitHealth):
        return {"status": _status(ready=health.ready), "members": _members(health)}
    body: dict[str, object] = {
        "status": _status(ready=health.ready),
        "service": health.reported,
        "channel": health.channel,
        "credentials": _credentials(health),
    }
    if health.golden is not None:
        body["golden"] = _golden(health.golden)
    if health.problem is not None:
        body["problem"] = problem(health.problem)
    return body


def _members(health: SplitHealth) -> dict[str, object]:
    """Each member's weight, its share of the requests at the moment, and why that is not what the weights say."""
    return {
        name: {
            "weight": one.weight,
            "share": round(one.share, 4),
            "state": one.state,
            **({"why": one.why} if one.why else {}),
        }
        for name, one in health.shares.items()
    }


def _golden(status: "GoldenStatus") -> dict[str, object]:
    body: dict[str, object] = {"result": str(status)}
    if status.version is not None:
        body["model_version"] = str(status.version)
    if status.first_deviation:
        body["first_deviation"] = status.first_deviation
    if status.problem is not None:
        body["problem"] = problem(status.problem)
    return body


def _credentials(health: ServiceHealth) -> dict[str, object]:
    age = health.credentials_age
    body: dict[str, object] = {
        "age_seconds": None if age is None else round(age, 1),
        "stale": age is not None and health.vault_problem is not None,
    }
    if health.vault_problem is not None:
        body["problem"] = problem(health.vault_problem)
    return body
