"""Certificate and key rotation: the timer, Key Vault's events, GET and POST /api/rotation."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import azure.functions as func

from functions.http.origin import check_origin
from functions.http.problems import problem, respond
from functions.http.responses import json_response
from shared.errors import GatewayError, InvalidParameter, NotRotated, RotationBusy
from shared.gateway import gateway
from shared.quoting import printable
from shared.telemetry import log
from shared.telemetry.background_log import Invocation

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# Key Vault's events that concern a certificate
# (https://learn.microsoft.com/azure/event-grid/event-schema-key-vault).
_EVENTS = {
    f"Microsoft.KeyVault.{kind}{what}"
    for kind in ("Secret", "Certificate")
    for what in ("NewVersionCreated", "NearExpiry", "Expired")
}

_BODY = (
    '{"service": a name, "dry_run": true or false, "rotate_keys": true or false, "retry": true or false}, all optional'
)

# Seconds after which to request again a rotation for which there was no time.
_NEXT_RUN = 30.0


# Without a monitor: it would make up for missed runs, which the next one does anyway, and needs a storage account.
@blueprint.timer_trigger("timer", "%ROTATION_SCHEDULE%", use_monitor=False)
async def rotate(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding's name
    """Take every service's next step, if there is one."""
    await _run_in_background(None)


@blueprint.event_grid_trigger("event")
async def vault_event(event: func.EventGridEvent) -> None:
    """Run at once for the service whose certificate changed in Key Vault."""
    data = event.get_json()
    secret = str(data.get("ObjectName", "")) if isinstance(data, dict) else ""
    if event.event_type in _EVENTS and secret:
        await _run_in_background(secret)


@blueprint.route("api/rotation", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
async def rotation_status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The state of each service's rotation."""
    return await respond(req, context, lambda: _status(req.params.get("service") or None), name="rotation")


@blueprint.route("api/rotation", methods=["POST"], auth_level=func.AuthLevel.ADMIN)
async def rotation_run(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Take the next steps now, or report what they would be."""
    return await respond(req, context, lambda: _run(req), name="rotation")


async def _run_in_background(secret: str | None) -> None:
    with Invocation():
        await _in_background(secret)
        await _flush()


async def _in_background(secret: str | None) -> None:
    try:
        rotations = await gateway().rotations()
        await rotations.run(None if secret is None else rotations.by_secret(secret))
    except NotRotated:
        pass  # a gateway may rotate nothing
    except GatewayError as error:
        log.error("rotation: %s %s", error.slug, error.detail)  # without its stack trace


async def _flush() -> None:
    """Export what a run counted: its instance may end right after it."""
    with suppress(GatewayError):  # the run has logged it
        await gateway().flush()


async def _status(service: str | None) -> func.HttpResponse:
    rotations = await gateway().rotations()
    return _response(await rotations.observe(service), one=service)


async def _run(request: func.HttpRequest) -> func.HttpResponse:
    check_origin(request)
    options = _options(request.get_body())
    rotations = await gateway().rotations()
    service = options.get("service")
    if options.get("dry_run"):
        return _response(await rotations.observe(service), one=service, dry_run=True)
    outcomes = await rotations.run(
        rotations.chosen(service), rotate_keys=options.get("rotate_keys", False), retry=options.get("retry", False)
    )
    return _response(outcomes, one=service, dry_run=False)


def _response(outcomes: Mapping[str, Any], *, one: str | None, **more: bool) -> func.HttpResponse:
    if one is not None and one not in outcomes:
        raise RotationBusy("The rotations of other services left no time for this one.", retry_after=_NEXT_RUN)
    if one is not None and outcomes[one].observation is None:
        raise outcomes[one].problem
    return json_response({**more, "services": {name: _outcome(outcomes[name]) for name in sorted(outcomes)}})


def _outcome(outcome: Any) -> dict[str, object]:
    from shared.rotation import status  # noqa: PLC0415 - it imports cryptography, which no cold start needs

    body: dict[str, object] = {} if outcome.observation is None else dict(status.describe(outcome.observation))
    if outcome.problem is not None:
        body["problem"] = problem(outcome.problem)
    if outcome.events:
        body["events"] = [status.event(one) for one in outcome.events]
    return body


def _options(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidParameter("The body is not a JSON object.", expected=_BODY)
    for name, value in document.items():
        kinds: Collection[type] = (str, type(None)) if name == "service" else (bool,)
        if name not in {"service", "dry_run", "rotate_keys", "retry"}:
            raise InvalidParameter(f"The member {printable(name, 40)!r} is not known.", expected=_BODY)
        if type(value) not in kinds:
            raise InvalidParameter(f"The member {name!r} has a value of another type.", parameter=name, expected=_BODY)
    return document
