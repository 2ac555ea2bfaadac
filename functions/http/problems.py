"""Problem documents (RFC 9457), and the wrapper in which every trigger's work runs."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

import azure.functions as func

from functions.http.bodies import Counted
from functions.http.requests import REQUEST_ID, request_id
from functions.http.responses import json_response
from shared.errors import GatewayError, InternalError, MetricsKeyRefused
from shared.gateway import is_made, prepare
from shared.quoting import printable
from shared.telemetry import fault_path, record
from shared.telemetry.background_log import Invocation

PROBLEM_TYPE = "urn:problem-type:scoring-gateway:"

# Names the member of a split that scored, or failed.
SCORING_SERVICE = "Scoring-Service"

# Characters of a detail; only the list of all faults of the settings comes near.
MAX_DETAIL = 4000

type ErrorResponse = Callable[[GatewayError, str], func.HttpResponse]


def problem_response(error: GatewayError, request_id: str) -> func.HttpResponse:
    """An ``application/problem+json`` response with the error's cause and remedy."""
    return _response(problem(error), error, request_id)


def anonymous_problem_response(error: GatewayError, request_id: str) -> func.HttpResponse:
    """As :func:`problem_response`, for routes without a key: the type's meaning instead of this time's detail.

    Details name settings with their values, secrets and services.
    """
    return _response(anonymous_problem(error), error, request_id)


def _response(document: dict[str, object], error: GatewayError, request_id: str) -> func.HttpResponse:
    return json_response(
        {**document, "request_id": request_id},
        status=error.status,
        mimetype="application/problem+json",
        headers=error_headers(error),
    )


def error_headers(error: GatewayError) -> dict[str, str]:
    """Retry-After, in whole seconds, where the error has one; and of a split, the service that failed."""
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, MetricsKeyRefused):
        headers["WWW-Authenticate"] = "Bearer"
    return {**headers, SCORING_SERVICE: str(error.members["service"])} if "service" in error.members else headers


def problem(error: GatewayError) -> dict[str, object]:
    """The members of an error's problem document; ``remedy`` is an extension, as are the error's own members."""
    return {**_document(error, error.detail), **error.members}


def anonymous_problem(error: GatewayError) -> dict[str, object]:
    """The members of a problem document for routes without a key."""
    return _document(error, error.meaning)


def _document(error: GatewayError, detail: str) -> dict[str, object]:
    document: dict[str, object] = {
        "type": PROBLEM_TYPE + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": printable(detail, MAX_DETAIL),
    }
    if error.remedy:
        document["remedy"] = error.remedy
    return document


async def respond(
    request: func.HttpRequest,
    invocation: func.Context,
    work: Callable[[], Awaitable[func.HttpResponse]],
    *,
    name: str,
    error_response: ErrorResponse = problem_response,
) -> func.HttpResponse:
    """Run a trigger's work; errors become responses, and a server's fault a line in the log.

    The response has the request's id in its header X-Request-Id.
    """
    with Invocation():
        id_ = request_id(request, invocation)
        known = record.begin(name, id_)
        scores = request.method == "POST" and name in record.SCORING
        response = await _response_or_problem(request, id_, work, error_response, scores=scores)
        response.headers[REQUEST_ID] = id_
        record.end(known, response.status_code, scores=scores)
        return response


async def _response_or_problem(
    request: func.HttpRequest,
    request_id: str,
    work: Callable[[], Awaitable[func.HttpResponse]],
    error_response: ErrorResponse,
    *,
    scores: bool,
) -> func.HttpResponse:
    try:
        if scores and not is_made():
            await prepare()
        with Counted(request):
            return await work()
    except GatewayError as error:
        record.current().failed(error.slug, error.detail, logging.WARNING if error.is_server_fault else logging.NOTSET)
        clear_tracebacks(error)
        return error_response(error, request_id)
    except asyncio.CancelledError as fault:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the host cancels the request
        return _unexpected(fault, request_id, error_response)
    except Exception as fault:  # the host would answer an exception with an empty body
        return _unexpected(fault, request_id, error_response)


def _unexpected(fault: BaseException, request_id: str, error_response: ErrorResponse) -> func.HttpResponse:
    record.current().failed(InternalError.slug, fault_path(fault), logging.ERROR)  # without its stack trace
    clear_tracebacks(fault)
    return error_response(InternalError("An unexpected fault stopped the request."), request_id)


def clear_tracebacks(error: BaseException | None) -> None:
    """Drop the tracebacks of an error and of its causes.

    They hold the frames that the error passed through, with the upload, and some of those hold the error: without this,
    refused uploads would stay in memory until the garbage collector runs.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
