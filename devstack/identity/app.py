"""The token endpoint, by App Service's protocol of 2019-08-01.

``GET {IDENTITY_ENDPOINT}?resource=...&api-version=2019-08-01`` with the header ``X-IDENTITY-HEADER`` ("How to use
managed identities for App Service and Azure Functions", REST endpoint reference). The header's value is known to the
app alone, so that a request that someone tricks the app into making gets no token.
"""

import hmac
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack import tokens
from devstack.tokens import DAY, SYSTEM_ASSIGNED, TENANT, Identity

API_VERSION = "2019-08-01"
TOKEN_PATH = "/msi/token"  # noqa: S105 - a path

# How a caller may name a user-assigned identity: the documented three, and what client libraries call the second.
_SELECTORS = ("client_id", "principal_id", "object_id", "mi_res_id")


@dataclass(frozen=True)
class Issuer:
    """What the endpoint issues tokens with; ``lifetime`` is in seconds."""

    key: bytes
    header: str
    tenant: str = TENANT
    lifetime: int = DAY
    clock: Callable[[], float] = time.time


class Refused(Exception):
    """A request that gets no token; the message tells the caller why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def build(issuer: Issuer) -> Starlette:
    """The application to serve."""

    async def token(request: Request) -> Response:
        try:
            answer = grant(issuer, request.headers.get("x-identity-header"), request.query_params)
        except Refused as refused:
            return _refusal(refused.status, str(refused))
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[Route(TOKEN_PATH, token, methods=["GET"])],
        exception_handlers={HTTPException: _unrouted},
    )


def grant(issuer: Issuer, header: str | None, query: Mapping[str, str]) -> dict[str, str]:
    """Decide on a token request and answer it.

    Raises:
        Refused: the header is wrong, or the query lacks or misnames something.
    """
    if not hmac.compare_digest((header or "").encode(), issuer.header.encode()):
        raise Refused(
            HTTPStatus.UNAUTHORIZED, "The X-IDENTITY-HEADER is missing or wrong: send IDENTITY_HEADER's value."
        )
    version = query.get("api-version")
    if version != API_VERSION:
        raise Refused(HTTPStatus.BAD_REQUEST, f"The api-version must be {API_VERSION}, not {version!r}.")
    resource = query.get("resource")
    if not resource:
        raise Refused(HTTPStatus.BAD_REQUEST, "The query names no resource: add resource=https://vault.azure.net.")
    identity = _identity(query)
    token = tokens.issue(
        issuer.key,
        resource=resource,
        now=issuer.clock(),
        identity=identity,
        tenant=issuer.tenant,
        lifetime=issuer.lifetime,
    )
    return {
        "access_token": token.value,
        "expires_on": str(token.expires_on),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": identity.client_id,
    }


def _identity(query: Mapping[str, str]) -> Identity:
    """The identity that a query selects: the app's own one, or a user-assigned one, all of which exist here."""
    named = {selector: query[selector] for selector in _SELECTORS if query.get(selector)}
    if len(named) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, f"The query names an identity twice: send one of {', '.join(named)}.")
    match named:
        case {"client_id": name}:
            return Identity(client_id=name, object_id=Identity.user_assigned(name).object_id)
        case {"principal_id": name} | {"object_id": name}:
            return Identity(client_id=Identity.user_assigned(name).client_id, object_id=name)
        case {"mi_res_id": name}:
            return Identity.user_assigned(name.lower())
    return SYSTEM_ASSIGNED


def _refusal(status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> Response:
    # The shape of App Service's errors; client libraries show statusCode and message.
    body = {"statusCode": int(status), "message": message, "correlationId": str(uuid.uuid4())}
    return JSONResponse(body, status_code=status, headers=headers)


async def _unrouted(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _refusal(
        HTTPStatus(error.status_code), f"Tokens are served by GET {TOKEN_PATH} and nothing else.", error.headers
    )
