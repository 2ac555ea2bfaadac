"""The token endpoint, in App Service's protocol of 2019-08-01.

``GET {IDENTITY_ENDPOINT}?resource=...&api-version=2019-08-01`` with the header ``X-IDENTITY-HEADER`` ("How to use
managed identities for App Service and Azure Functions", REST endpoint reference). Only the app has the header's value,
so a forged request through the app gets no token.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack import tokens
from devstack.rest.app import RestApp, new_id
from devstack.rest.bodies import Json
from devstack.rest.errors import BadRequest, Unauthorized
from devstack.tokens import DAY, SYSTEM_ASSIGNED, TENANT, Identity

API_VERSION = "2019-08-01"
TOKEN_PATH = "/msi/token"  # noqa: S105 - a path

# The parameters that select a user-assigned identity: the documented three, and a client library's name for the second.
_SELECTORS = ("client_id", "principal_id", "object_id", "mi_res_id")


@dataclass(frozen=True)
class Issuer:
    """The configuration of issued tokens; ``lifetime`` is in seconds."""

    key: bytes
    header: str
    tenant: str = TENANT
    lifetime: int = DAY


class IdentityApp(RestApp):
    """The endpoint."""

    unknown_route = f"The only route is GET {TOKEN_PATH}."

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def routes(self) -> list[Route]:
        return [Route(TOKEN_PATH, self.answering(self._token), methods=["GET"])]

    def error_body(self, status: HTTPStatus, _code: str, _inner: str | None, message: str) -> Json:
        # Client libraries show statusCode and message.
        return {"statusCode": int(status), "message": message, "correlationId": new_id()}

    async def _token(self, request: Request) -> Response:
        issuer, query = self._issuer, request.query_params
        header = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(header.encode(), issuer.header.encode()):
            raise Unauthorized("The X-IDENTITY-HEADER is missing or wrong: send IDENTITY_HEADER's value.")
        version, resource = query.get("api-version"), query.get("resource")
        if version != API_VERSION:
            raise BadRequest(f"The api-version must be {API_VERSION}, not {version!r}.")
        if not resource:
            raise BadRequest("The query has no resource: add resource=https://vault.azure.net.")
        identity = _identity(query)
        token = tokens.issue(
            issuer.key,
            resource=resource,
            now=time.time(),
            identity=identity,
            tenant=issuer.tenant,
            lifetime=issuer.lifetime,
        )
        answer = {
            "access_token": token.value,
            "expires_on": str(token.expires_on),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": identity.client_id,
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _identity(query: Mapping[str, str]) -> Identity:
    """The identity that a query selects: the app's own, or a user-assigned one; all names exist."""
    named = {selector: query[selector] for selector in _SELECTORS if query.get(selector)}
    if len(named) > 1:
        raise BadRequest(f"The query selects an identity twice: send one of {', '.join(named)}.")
    match named:
        case {"client_id": name}:
            return Identity(client_id=name, object_id=Identity.user_assigned(name).object_id)
        case {"principal_id": name} | {"object_id": name}:
            return Identity(client_id=Identity.user_assigned(name).client_id, object_id=name)
        case {"mi_res_id": name}:
            return Identity.user_assigned(name.lower())
    return SYSTEM_ASSIGNED
