"""The vault over HTTP: routes, authentication, faults. What a secret is and may do is the store's matter.

The handlers call the store in the event loop, one after the other: it needs no lock, and its writes are small.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack import bodies
from devstack.tokens import TENANT, Identity
from devstack.vault import errors, wire
from devstack.vault.access import authenticate, caller, challenge
from devstack.vault.faults import Fault, Faults, Mode, pause
from devstack.vault.store import VaultStore, check_name

Handler = Callable[[Request], Awaitable[Response]]

FAULTS_PATH = "/_devstack/faults"

_log = logging.getLogger("devstack")

# A backup of many versions is the largest body.
_MAX_BODY = 16 * 1024 * 1024

_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{1,64}")

_STATUS: dict[type[errors.VaultError], HTTPStatus] = {
    errors.BadParameter: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.SecretDisabled: HTTPStatus.FORBIDDEN,
    errors.ForbiddenByPolicy: HTTPStatus.FORBIDDEN,
    errors.SecretNotFound: HTTPStatus.NOT_FOUND,
    errors.DeletedSecretNotFound: HTTPStatus.NOT_FOUND,
    errors.NameIsDeleted: HTTPStatus.CONFLICT,
    errors.NameIsTaken: HTTPStatus.CONFLICT,
    errors.Throttled: HTTPStatus.TOO_MANY_REQUESTS,
    errors.InternalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


class VaultApp:
    """The routes of one vault; ``stopping`` is set when the server stops, and ends what hangs on purpose."""

    def __init__(
        self,
        store: VaultStore,
        signing_key: bytes,
        *,
        stopping: asyncio.Event,
        tenant: str = TENANT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._key = signing_key
        self._tenant = tenant
        self._clock = clock
        self._stopping = stopping
        self._faults = Faults()

    def asgi(self) -> Starlette:
        """The application to serve."""
        app = Starlette(
            routes=self._routes(),
            exception_handlers={HTTPException: _unrouted, Exception: _failed},
        )
        # A redirect from one spelling of a path to the other would cost clients their Authorization header.
        app.router.redirect_slashes = False
        return app

    def _routes(self) -> list[Route]:
        def route(method: str, path: str, handler: Handler, operation: str) -> Route:
            return Route(path, self._vault_operation(handler, operation), methods=[method])

        return [
            route("GET", "/secrets", self._list, "list"),
            route("POST", "/secrets/restore", self._restore, "restore"),
            route("PUT", "/secrets/{name}", self._set, "set"),
            # The SDK asks for "the latest version" with an empty version, which leaves the slash.
            route("GET", "/secrets/{name}", self._get, "get"),
            route("GET", "/secrets/{name}/", self._get, "get"),
            route("PATCH", "/secrets/{name}", self._update, "set"),
            route("PATCH", "/secrets/{name}/", self._update, "set"),
            route("DELETE", "/secrets/{name}", self._delete, "delete"),
            route("GET", "/secrets/{name}/versions", self._list_versions, "list"),
            route("POST", "/secrets/{name}/backup", self._backup, "backup"),
            route("GET", "/secrets/{name}/{version}", self._get, "get"),
            route("PATCH", "/secrets/{name}/{version}", self._update, "set"),
            route("GET", "/deletedsecrets", self._list_deleted, "list"),
            route("GET", "/deletedsecrets/{name}", self._get_deleted, "get"),
            route("DELETE", "/deletedsecrets/{name}", self._purge, "purge"),
            route("POST", "/deletedsecrets/{name}/recover", self._recover, "recover"),
            Route(FAULTS_PATH, self._admin_operation(self._switch_fault), methods=["GET", "PUT", "DELETE"]),
        ]

    # What surrounds every handler.

    def _vault_operation(self, handler: Handler, operation: str) -> Handler:
        async def endpoint(request: Request) -> Response:
            identity = self._authenticate(request)
            wire.check_api_version(request.query_params.get("api-version"))
            name = request.path_params.get("name")
            if name is not None:
                check_name(name)
            await _read_body(request)
            fault = self._faults.take(name)
            if fault:
                await self._suffer(fault, request, identity, operation)
            return await handler(request)

        return _answering(endpoint, self._tenant)

    def _admin_operation(self, handler: Handler) -> Handler:
        async def endpoint(request: Request) -> Response:
            self._authenticate(request)
            await _read_body(request)
            return await handler(request)

        return _answering(endpoint, self._tenant)

    def _authenticate(self, request: Request) -> Identity:
        header = request.headers.get("authorization")
        return authenticate(header, self._key, tenant=self._tenant, now=self._clock())

    async def _suffer(self, fault: Fault, request: Request, identity: Identity, operation: str) -> None:
        """Let a fault act: raise its error, or wait and return."""
        match fault.mode:
            case Mode.THROTTLE:
                raise errors.Throttled(fault.retry_after)
            case Mode.FORBID:
                who = caller(identity, self._tenant)
                raise errors.ForbiddenByPolicy(who, operation, _host(request))
            case Mode.ERROR:
                raise errors.InternalError
            case Mode.HANG | Mode.SLOW:
                seconds = fault.delay if fault.mode is Mode.SLOW else None
                if not await pause(request.receive, self._stopping, seconds):
                    raise errors.ServiceUnavailable

    # The operations.

    async def _set(self, request: Request) -> Response:
        document = wire.parse_object(request.state.body)
        value = wire.parse_text(document, "value")
        version = self._store.set(_name(request), value, **wire.parse_changes(document))
        return JSONResponse(self._shapes(request).bundle(version))

    async def _get(self, request: Request) -> Response:
        version = self._store.get(_name(request), request.path_params.get("version"))
        return JSONResponse(self._shapes(request).bundle(version))

    async def _update(self, request: Request) -> Response:
        changes = wire.parse_changes(wire.parse_object(request.state.body))
        version = self._store.update(_name(request), request.path_params.get("version"), changes)
        return JSONResponse(self._shapes(request).properties(version))

    async def _delete(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).deleted(self._store.delete(_name(request))))

    async def _list(self, request: Request) -> Response:
        chosen, token = wire.page(self._store.list_latest(), lambda version: version.name.lower(), request.query_params)
        return _list_answer(request, [self._shapes(request).item(version) for version in chosen], token)

    async def _list_versions(self, request: Request) -> Response:
        chosen, token = wire.page(
            self._store.list_versions(_name(request)), lambda version: version.id, request.query_params
        )
        return _list_answer(request, [self._shapes(request).properties(version) for version in chosen], token)

    async def _list_deleted(self, request: Request) -> Response:
        chosen, token = wire.page(self._store.list_deleted(), lambda secret: secret.name.lower(), request.query_params)
        return _list_answer(request, [self._shapes(request).deleted_item(secret) for secret in chosen], token)

    async def _get_deleted(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).deleted(self._store.get_deleted(_name(request))))

    async def _recover(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).properties(self._store.recover(_name(request)).latest))

    async def _purge(self, request: Request) -> Response:
        self._store.purge(_name(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _backup(self, request: Request) -> Response:
        return JSONResponse({"value": wire.encode_blob(self._store.backup(_name(request)))})

    async def _restore(self, request: Request) -> Response:
        text = wire.parse_text(wire.parse_object(request.state.body), "value")
        try:
            blob = wire.decode_blob(text)
        except ValueError:
            raise errors.BadParameter("Property value has invalid value") from None
        return JSONResponse(self._shapes(request).properties(self._store.restore(blob)))

    async def _switch_fault(self, request: Request) -> Response:
        if request.method == "PUT":
            self._faults.switch(Fault.parse(wire.parse_object(request.state.body)))
        elif request.method == "DELETE":
            self._faults.switch(None)
        return JSONResponse(self._faults.describe())

    def _shapes(self, request: Request) -> wire.Shapes:
        return wire.Shapes(_base(request), self._store)


def _answering(endpoint: Handler, tenant: str) -> Handler:
    """An endpoint whose errors become the service's error bodies, and whose answers carry the service's headers."""

    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except errors.VaultError as error:
            response = _refusal(error, tenant)
        except ClientDisconnect:
            response = Response()  # nobody is left to read it
        except OSError as error:
            _log.error("cannot keep the secret: %s", error)
            response = _refusal(errors.InternalError(), tenant)
        response.headers.update(_service_headers(request))
        return response

    return answer


def _refusal(error: errors.VaultError, tenant: str) -> Response:
    response = JSONResponse(wire.error_body(error), status_code=_STATUS[type(error)])
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = challenge(tenant)
    if isinstance(error, errors.Throttled):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _service_headers(request: Request) -> dict[str, str]:
    headers = {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "X-Content-Type-Options": "nosniff",
        "x-ms-keyvault-region": "local",
        "x-ms-request-id": str(uuid.uuid4()),
    }
    client_id = request.headers.get("x-ms-client-request-id", "")
    if _REQUEST_ID.fullmatch(client_id):
        headers["x-ms-client-request-id"] = client_id
    return headers


async def _unrouted(_request: Request, error: Exception) -> Response:
    """The answer to a path or a method that no route has."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    code = status.phrase.title().replace(" ", "")
    body = {"error": {"code": code, "message": "Key Vault's API of secrets has no such operation."}}
    return JSONResponse(body, status_code=status, headers=error.headers)


async def _failed(_request: Request, _error: Exception) -> Response:
    """The answer to a fault of this program; the server logs the cause."""
    return JSONResponse(wire.error_body(errors.InternalError()), status_code=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _read_body(request: Request) -> None:
    """Read the body into ``request.state.body``: before a fault may wait, which listens for the client's leaving."""
    try:
        request.state.body = await bodies.read(request, _MAX_BODY)
    except bodies.BadBody as error:
        raise errors.BadParameter(str(error)) from None


def _list_answer(request: Request, items: Sequence[wire.Json], token: str | None) -> Response:
    query = request.query_params
    address = _base(request) + request.url.path
    return JSONResponse({"value": items, "nextLink": wire.next_link(address, query["api-version"], query, token)})


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name


def _base(request: Request) -> str:
    # The address that the client used is one that it can reach again.
    return f"{request.url.scheme}://{request.url.netloc}"


def _host(request: Request) -> str:
    return request.url.hostname or "vault"
