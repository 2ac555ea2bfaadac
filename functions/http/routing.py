"""The service that scores a request: the one that it names or, of a split, the member that is chosen for it."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import azure.functions as func

from functions.http.fields import fields
from functions.http.problems import SCORING_SERVICE
from functions.http.requests import request_context
from shared.errors import GatewayError, InvalidParameter
from shared.gateway import Service, gateway
from shared.telemetry import RequestContext, record

if TYPE_CHECKING:
    from shared.traffic.split import Split

# Requests with the same value go to the same member of a split.
_KEY, _LONGEST_KEY = "traffic-key", 256

type Work = Callable[[Service, RequestContext], Awaitable[func.HttpResponse]]


async def served(
    req: func.HttpRequest, invocation: func.Context, service: "Service | Split", work: Work, *, question: bool = False
) -> func.HttpResponse:
    """The response of ``work`` with the service, or with a member of a split, which a header then names.

    ``question``: the request scores nothing; without a key, the member with the largest share answers it.
    """
    key = _key(req)  # of any service: whether it is a split is not the client's concern
    policy = gateway().request_policy
    if isinstance(service, Service):
        context = _context(req, invocation, service.settings.deadline_seconds, policy)
        record.current().served_by(service.settings.name, context, policy)
        return await work(service, context)
    deadlines = [gateway().member(name).settings.deadline_seconds for name in service.members]
    context = _context(req, invocation, max(deadlines), policy)
    name = service.main() if question and not key else await service.choose(key, context)
    member, started = gateway().member(name), time.monotonic()
    record.current().served_by(name, context, policy)
    try:
        response = await work(member, context.within(member.settings.deadline_seconds))
    except GatewayError as error:
        error.members = {**error.members, "service": name}
        if not question:
            service.ended(name, started, error)
        raise
    if not question:
        service.ended(name, started)
    response.headers[SCORING_SERVICE] = name
    return response


def _context(req: func.HttpRequest, invocation: func.Context, seconds: float, policy: record.Policy) -> RequestContext:
    context = request_context(req, invocation, seconds, record.current().request_id)
    if policy.tracer is None:
        return context
    return policy.tracer.traced(context, fields(req).get("traceparent", ""))


def _key(req: func.HttpRequest) -> str:
    key = fields(req).get(_KEY, "")
    if len(key) > _LONGEST_KEY:
        # Without its value, which may stand for a person.
        expected = f"at most {_LONGEST_KEY} characters"
        raise InvalidParameter(
            f"The header Traffic-Key has {len(key)} characters; {expected} are expected.",
            parameter="Traffic-Key",
            expected=expected,
        )
    return key
