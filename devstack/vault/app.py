"""The vault over HTTP: routes, authentication, injected faults. The rules for secrets are in the store.

The handlers call the store in the event loop, so that it needs no lock; its writes are small.
"""

import asyncio
import functools
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.rest.access import Gate
from devstack.rest.app import GuardedApp, Handler, base_url, new_id
from devstack.rest.bodies import Json, Key, decode_base64url, encode_base64url, next_link, page, parse_object
from devstack.rest.errors import BadRequest, InternalError, Throttled, Unavailable
from devstack.rest.faults import Faults, pause
from devstack.tokens import TENANT, Identity
from devstack.vault import errors, wire
from devstack.vault.faults import Fault, Mode
from devstack.vault.records import Secret, SecretVersion
from devstack.vault.store import VaultStore, check_name

FAULTS_PATH = "/_devstack/faults"

_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{1,64}")

# Key Vault's codes, where they differ from those of other services.
_CODES = {BadRequest.code: "BadParameter", Throttled.code: "Throttled"}
_TOO_MANY = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"


class VaultApp(GuardedApp):
    """The routes of one vault; ``stopping`` is set when the server stops, and ends the requests that a fault holds."""

    # A backup of many versions is the largest body.
    max_body = 16 * 1024 * 1024
    unknown_route = "Key Vault's API of secrets has no such operation."

    def __init__(self, store: VaultStore, signing_key: bytes, *, stopping: asyncio.Event, tenant: str = TENANT) -> None:
        explain = functools.partial(errors.explain, tenant=tenant)
        super().__init__(Gate(signing_key, (errors.RESOURCE,), errors.challenge(tenant), explain, tenant))
        self._store = store
        self._stopping = stopping
        self._faults: Faults[Fault] = Faults()

    def routes(self) -> list[Route]:
        def route(method: str, path: str, handler: Handler, operation: str) -> Route:
            return Route(path, self.answering(self._operation(handler, operation)), methods=[method])

        return [
            route("GET", "/secrets", self._list, "list"),
            route("POST", "/secrets/restore", self._restore, "restore"),
            route("PUT", "/secrets/{name}", self._set, "set"),
            # The SDK requests the latest version with an empty version, which leaves the slash.
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
            self.admin(FAULTS_PATH, self._set_fault),
        ]

    def error_body(self, _status: HTTPStatus, code: str, inner: str | None, message: str) -> Json:
        body: Json = {"code": _CODES.get(code, code), "message": _TOO_MANY if code == Throttled.code else message}
        return {"error": body | ({"innererror": {"code": inner}} if inner else {})}

    def headers(self, request: Request) -> dict[str, str]:
        headers = {
            "Cache-Control": "no-cache",
            "Pragma": "no-cache",
            "Expires": "-1",
            "X-Content-Type-Options": "nosniff",
            "x-ms-keyvault-region": "local",
            "x-ms-request-id": new_id(),
        }
        client_id = request.headers.get("x-ms-client-request-id", "")
        return headers | ({"x-ms-client-request-id": client_id} if _REQUEST_ID.fullmatch(client_id) else {})

    def _operation(self, handler: Handler, operation: str) -> Handler:
        async def endpoint(request: Request) -> Response:
            identity = self.gate.authenticate(request)
            wire.check_api_version(request.query_params.get("api-version"))
            name = request.path_params.get("name")
            if name is not None:
                check_name(name)
            # Before a fault waits, which listens for the client's disconnect.
            await self.read_body(request)
            fault = self._faults.take(lambda fault: fault.hits(name))
            if fault:
                await self._apply(fault, request, identity, operation)
            return await handler(request)

        return endpoint

    async def _apply(self, fault: Fault, request: Request, identity: Identity, operation: str) -> None:
        """Raise the fault's error, or wait and return."""
        match fault.mode:
            case Mode.THROTTLE:
                raise Throttled(fault.retry_after or 0)
            case Mode.FORBID:
                vault = request.url.hostname or "vault"
                raise errors.ForbiddenByPolicy(identity, self.gate.tenant, operation, vault)
            case Mode.ERROR:
                raise InternalError
            case Mode.HANG | Mode.SLOW:
                seconds = fault.delay if fault.mode is Mode.SLOW else None
                if not await pause(request.receive, self._stopping, seconds):
                    raise Unavailable

    # The operations.

    async def _set(self, request: Request) -> Response:
        document = parse_object(request.state.body)
        value = wire.parse_text(document, "value")
        version = self._store.set(_name(request), value, **wire.parse_changes(document))
        return JSONResponse(self._shapes(request).bundle(version))

    async def _get(self, request: Request) -> Response:
        version = self._store.get(_name(request), request.path_params.get("version"))
        return JSONResponse(self._shapes(request).bundle(version))

    async def _update(self, request: Request) -> Response:
        changes = wire.parse_changes(parse_object(request.state.body))
        version = self._store.update(_name(request), request.path_params.get("version"), changes)
        return JSONResponse(self._shapes(request).properties(version))

    async def _delete(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).deleted(self._store.delete(_name(request))))

    async def _list(self, request: Request) -> Response:
        return _page(request, self._store.list_latest(), _name_of, self._shapes(request).item)

    async def _list_versions(self, request: Request) -> Response:
        versions = self._store.list_versions(_name(request))
        return _page(request, versions, lambda version: version.id, self._shapes(request).properties)

    async def _list_deleted(self, request: Request) -> Response:
        return _page(request, self._store.list_deleted(), _name_of, self._shapes(request).deleted_item)

    async def _get_deleted(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).deleted(self._store.get_deleted(_name(request))))

    async def _recover(self, request: Request) -> Response:
        return JSONResponse(self._shapes(request).properties(self._store.recover(_name(request)).latest))

    async def _purge(self, request: Request) -> Response:
        self._store.purge(_name(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _backup(self, request: Request) -> Response:
        return JSONResponse({"value": encode_base64url(self._store.backup(_name(request)))})

    async def _restore(self, request: Request) -> Response:
        text = wire.parse_text(parse_object(request.state.body), "value")
        try:
            blob = decode_base64url(text)
        except ValueError:
            raise BadRequest("Property value has invalid value") from None
        return JSONResponse(self._shapes(request).properties(self._store.restore(blob)))

    async def _set_fault(self, request: Request) -> Response:
        if request.method == "PUT":
            self._faults.set([Fault.parse(parse_object(request.state.body))])
        elif request.method == "DELETE":
            self._faults.set([])
        (described,) = self._faults.describe() or [{}]
        return JSONResponse(described)

    def _shapes(self, request: Request) -> wire.Shapes:
        return wire.Shapes(base_url(request), self._store)


def _page[T: (SecretVersion, Secret)](
    request: Request, entries: Sequence[T], key: Callable[[T], Key], shown: Callable[[T], Json]
) -> Response:
    query = request.query_params
    chosen, token = page(entries, key, wire.parse_page_size(query.get("maxresults")), query.get("$skiptoken"))
    link = next_link(base_url(request) + request.url.path, query, token)
    return JSONResponse({"value": [shown(entry) for entry in chosen], "nextLink": link})


def _name_of(secret: SecretVersion | Secret) -> str:
    return secret.name.lower()


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name
