"""GET /api/health/live and /api/health/ready, and the warm-up before a new instance's first request."""

import azure.functions as func
from azure.functions.warmup import WarmUpContext

from functions.answers import answered, json_answer, problem
from shared.errors import GatewayError
from shared.gateway import ServiceHealth, gateway
from shared.telemetry import log

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped


@blueprint.route("api/health/live", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def live(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
    """Whether the worker runs at all."""
    return json_answer({"status": "live"})


@blueprint.route("api/health/ready", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def ready(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # noqa: ARG001
    """Whether every service can be scored with; 503 while one cannot."""
    return await answered(context.invocation_id, _ready, name="ready")


@blueprint.warm_up_trigger("warmup")
async def warm_up(warmup: WarmUpContext) -> None:  # noqa: ARG001
    """Fetch the credentials and connect, before the instance gets its first request."""
    try:
        await gateway().connect()
    except GatewayError as error:
        log.error("warm-up: %s %s", error.slug, error.detail)  # without its stack trace


async def _ready() -> func.HttpResponse:
    services = await gateway().health()
    all_ready = all(health.ready for health in services.values())
    body = {
        "status": "ready" if all_ready else "not-ready",
        "services": {name: _service(health) for name, health in services.items()},
    }
    return json_answer(body, status=200 if all_ready else 503)


def _service(health: ServiceHealth) -> dict[str, object]:
    body: dict[str, object] = {
        "status": "ready" if health.ready else "not-ready",
        "service": health.told,
        "channel": health.channel,
        "credentials": _credentials(health),
    }
    if health.problem is not None:
        body["problem"] = problem(health.problem)
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
