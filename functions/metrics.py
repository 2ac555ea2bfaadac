"""GET /api/metrics: the figures of this instance for Prometheus.

A ServiceMonitor sends an ``Authorization`` header and not the host's key, so the route has a key of its own.
"""

import asyncio

import azure.functions as func

from functions.http.problems import anonymous_problem_response, respond
from functions.http.responses import data_response
from shared.errors import MetricsKeyRefused, MetricsOff
from shared.gateway import gateway

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped


@blueprint.route("api/metrics", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def metrics(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The metrics of all workers of this instance, in Prometheus' text format."""
    return await respond(req, context, lambda: _metrics(req), name="metrics", error_response=anonymous_problem_response)


async def _metrics(request: func.HttpRequest) -> func.HttpResponse:
    found = gateway()
    reporting, key = found.reporting, found.settings.telemetry.metrics_key
    if reporting is None or not key:
        raise MetricsOff("METRICS_KEY is not set.")
    _check(request.headers.get("authorization", ""), key)
    from shared.telemetry.prometheus import CONTENT_TYPE  # noqa: PLC0415 - nothing of it is imported where it is off

    text = await asyncio.to_thread(reporting.scrape)
    return data_response(text.encode(), CONTENT_TYPE)


def _check(authorization: str, key: str) -> None:
    """Compare the key of a request, in a time that says nothing about it.

    Raises:
        MetricsKeyRefused: it is another, or none.
    """
    from hmac import compare_digest  # noqa: PLC0415 - no cold start needs it

    scheme, _, given = authorization.partition(" ")
    is_same = compare_digest(given.strip().encode("utf-8", "surrogatepass"), key.encode())
    if scheme.lower() != "bearer" or not is_same:
        raise MetricsKeyRefused("The key of /api/metrics is missing, or another one.")
