"""GET /api/operations: what all instances share, and what this one sees, for whoever is on call.

A part that cannot be read has its problem, and the others are answered. No secret is in it.
"""

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from functions.health import details
from functions.http.problems import problem, respond
from functions.http.responses import json_response
from shared.errors import GatewayError
from shared.gateway import Gateway, gateway
from shared.health import ServiceHealth, SplitHealth
from shared.telemetry import metrics
from shared.telemetry.instruments import Counter

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# When this process started, in Unix seconds; its counts are from then on.
_STARTED = time.time()


@blueprint.route("api/operations", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ADMIN)
async def operations_status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The certificates, keys and rotations of all services, and this instance's own view of them."""
    return await respond(req, context, _operations, name="operations")


async def _operations() -> func.HttpResponse:
    found = gateway()
    services, health = await asyncio.gather((await found.operations()).read(), found.health())
    splits = {name: dict(split.weights) for name, split in found.settings.splits.items()}
    body = {
        "at": _date(time.time()),
        "shared": {"services": services, "traffic": splits},
        "instance": _instance(found, health),
    }
    return json_response(_with_problems(body))


def _instance(found: Gateway, health: Mapping[str, ServiceHealth | SplitHealth]) -> dict[str, object]:
    refusals = _counts(metrics.REFUSALS)
    errors = _counts(metrics.REQUEST_ERRORS)
    return {
        "id": os.environ.get("WEBSITE_INSTANCE_ID") or socket.gethostname(),
        "process": os.getpid(),
        "started": _date(_STARTED),
        "status": "ready" if found.all_ready(health) else "not-ready",
        "services": {
            name: {
                **details(one),
                **_admission(found, name),
                "refusals": refusals.get(name, {}),
                "errors": errors.get(name, {}),
            }
            for name, one in health.items()
        },
        # Requests are refused before it is known which service they are for.
        "memory": {"limit": found.memory.total, **found.memory.used, "refusals": refusals.get("", {})},
    }


def _admission(found: Gateway, name: str) -> dict[str, object]:
    if name in found.settings.splits:
        return {}
    admission = found.member(name).upstream.admission
    return {
        "admission": {
            "limit": admission.limit,
            "in_progress": admission.in_progress,
            "with_service": admission.with_service,
        }
    }


def _counts(counter: Counter) -> dict[str, dict[str, int]]:
    """A counter's sums by its first attribute, the service, and its last, the reason."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (service, *_, reason), count in list(counter.points.items()):
        found[service][reason] += int(count)
    return found


def _with_problems(value: Any) -> Any:
    """A part of the body, with the problem document of each error in it."""
    if isinstance(value, GatewayError):
        return {"problem": problem(value)}
    if isinstance(value, Mapping):
        return {
            name: problem(one) if name == "problem" and isinstance(one, GatewayError) else _with_problems(one)
            for name, one in value.items()
        }
    return [_with_problems(one) for one in value] if isinstance(value, list) else value


def _date(seconds: float) -> str:
    """As :func:`shared.rotation.status.date`, which no cold start needs."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
