"""The control plane over HTTP: routes, authentication, faults. What an operation does is the operations' matter."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack import bodies
from devstack.control import errors, registration, wire
from devstack.control.access import AUDIENCE, authenticate, challenge
from devstack.control.admin import Admin
from devstack.control.faults import Fault, Faults, Mode
from devstack.control.fleet import HOST
from devstack.control.operations import Operations
from devstack.control.records import ModelRecord, OperationRecord, ServiceRecord
from devstack.control.store import ControlStore
from devstack.tokens import TENANT

type Handler = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("devstack")

# A certificate chain with its key is a few kilobytes.
_MAX_BODY = 1024 * 1024

_ACCOUNT = "/api/subscriptions/{subscription}/resourcegroups/{group}/accounts/{account}"
_PROVIDER = "providers/Microsoft.MachineLearningModelManagement/accounts/{account}"


@dataclass(frozen=True)
class Account:
    """The one account that this control plane manages; the three are compared without regard to case."""

    subscription: str = "00000000-0000-0000-0000-000000000000"
    group: str = "scoring-gateway"
    name: str = "local"

    @property
    def path(self) -> str:
        return f"/api/subscriptions/{self.subscription}/resourcegroups/{self.group}/accounts/{self.name}"

    def matches(self, subscription: str, group: str, account: str) -> bool:
        mine = (self.subscription, self.group, self.name)
        return [each.casefold() for each in mine] == [each.casefold() for each in (subscription, group, account)]


@dataclass(frozen=True)
class Gate:
    """Whose tokens are accepted, and for what; ``clock`` gives Unix seconds."""

    key: bytes
    clock: Callable[[], float]
    audience: str = AUDIENCE
    tenant: str = TENANT

    def admit(self, request: Request) -> None:
        """Check a request's token.

        Raises:
            Unauthorized: there is none, or it does not hold.
        """
        header = request.headers.get("authorization")
        authenticate(header, self.key, audience=self.audience, tenant=self.tenant, now=self.clock())


class ControlApp:
    """The routes of one control plane; ``page_size`` is how many entries a list's answer holds."""

    def __init__(
        self, store: ControlStore, operations: Operations, admin: Admin, gate: Gate, account: Account, page_size: int
    ) -> None:
        self._store = store
        self._operations = operations
        self._admin = admin
        self._faults: Faults = admin.faults
        self._gate = gate
        self._account = account
        self._page_size = page_size

    def asgi(self) -> Starlette:
        """The application to serve."""
        app = Starlette(
            routes=[*self._routes(), *self._admin_routes()],
            exception_handlers={HTTPException: _unrouted, Exception: _failed},
        )
        # A redirect from one spelling of a path to the other would cost clients their Authorization header.
        app.router.redirect_slashes = False
        return app

    def _routes(self) -> list[Route]:
        def route(method: str, path: str, handler: Handler, call: str) -> Route:
            return Route(_ACCOUNT + path, self._call(handler, call, wire.API_VERSION), methods=[method])

        discover = self._call(self._discover, "discovery", wire.DISCOVERY_API_VERSION)
        # Azure Resource Manager takes both spellings, and clients use both.
        groups = ("resourcegroups", "resourceGroups")
        return [
            *(Route(f"/subscriptions/{{subscription}}/{each}/{{group}}/{_PROVIDER}", discover) for each in groups),
            route("GET", "/services", self._list, "list"),
            route("POST", "/services", self._create, "create"),
            route("GET", "/services/{service_id}", self._get, "get"),
            route("PUT", "/services/{service_id}", self._update, "update"),
            route("DELETE", "/services/{service_id}", self._delete, "delete"),
            route("GET", "/services/{service_id}/keys", self._keys, "keys"),
            route("POST", "/services/{service_id}/regenerateKeys", self._regenerate, "regenerate"),
            route("GET", "/operations/{operation_id}", self._operation, "operation"),
            route("GET", "/models", self._list_models, "list_models"),
            route("POST", "/models", self._register_model, "register_model"),
            route("DELETE", "/models/{model_id}", self._delete_model, "delete_model"),
        ]

    def _admin_routes(self) -> list[Route]:
        def guarded(handler: Handler) -> Handler:
            async def endpoint(request: Request) -> Response:
                self._gate.admit(request)
                await _read_body(request)
                return await handler(request)

            return _answering(endpoint, self._gate.tenant)

        return [
            Route(path, guarded(handler), methods=["GET", "PUT", "DELETE"])
            for path, handler in self._admin.handlers.items()
        ]

    # What surrounds every handler.

    def _call(self, handler: Handler, call: str, api_version: str) -> Handler:
        async def endpoint(request: Request) -> Response:
            self._gate.admit(request)
            self._check_account(request)
            wire.check_api_version(request.query_params.get("api-version"), api_version)
            await _read_body(request)
            fault = self._faults.take(call, self._subjects(request), operations=False)
            if fault and fault.mode is not Mode.LOST:
                raise _refusal_of(fault)
            response = await handler(request)
            if fault:
                raise errors.AnswerLost
            return response

        return _answering(endpoint, self._gate.tenant)

    def _check_account(self, request: Request) -> None:
        given = request.path_params
        if not self._account.matches(given["subscription"], given["group"], given["account"]):
            raise errors.NotFound("There is no such account in this subscription and resource group.")

    def _subjects(self, request: Request) -> Sequence[str]:
        """What a request calls the service that it concerns: its id and its name, as far as they are known."""
        path = request.path_params
        if "operation_id" in path:
            operation = self._store.operation(path["operation_id"])
            return self._known_as(operation.service_id) if operation else ()
        if "service_id" in path:
            return self._known_as(path["service_id"])
        name = request.query_params.get("serviceName") or _name_in(request)
        return (name,) if name else ()

    def _known_as(self, service_id: str) -> Sequence[str]:
        record = self._store.service(service_id)
        return (record.id, record.name) if record else (service_id,)

    def _take_fault(self, call: str, subjects: Sequence[str]) -> Fault | None:
        return self._faults.take(call, subjects, operations=True)

    # The routes of the API.

    async def _discover(self, request: Request) -> Response:
        account = self._account
        base = _base(request)
        return JSONResponse(
            {
                "id": request.url.path,
                "name": account.name,
                "type": "Microsoft.MachineLearningModelManagement/accounts",
                "location": "local",
                "properties": {"modelManagementSwaggerLocation": f"{base}{account.path}/swagger.json"},
            }
        )

    async def _list(self, request: Request) -> Response:
        name = request.query_params.get("serviceName")
        if name is not None:
            found = self._store.find_service(name)
            return JSONResponse({"value": [self._shown(found)] if found else []})
        return self._page(request, self._store.services(), self._shown)

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._service(request)))

    async def _create(self, request: Request) -> Response:
        document = wire.parse_object(request.state.body)
        name, wanted = wire.text(document, "name"), wire.parse_wanted(document)
        self._check_model(wanted.model_id)
        # Looked at before a fault is used up: a name that is refused starts no operation.
        self._store.new_service(name=name, model_id=wanted.model_id, tls=False)
        return self._accepted(self._operations.create(name, wanted, self._take_fault("create", (name,))))

    async def _update(self, request: Request) -> Response:
        record = self._service(request)
        wanted = wire.parse_wanted(wire.parse_object(request.state.body))
        self._check_model(wanted.model_id)
        fault = self._take_fault("update", (record.id, record.name))
        return self._accepted(self._operations.update(record, wanted, fault))

    async def _delete(self, request: Request) -> Response:
        record = self._service(request)
        fault = self._take_fault("delete", (record.id, record.name))
        return self._accepted(self._operations.delete(record, fault))

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(wire.keys(self._service(request)), headers={"Cache-Control": "no-store"})

    async def _regenerate(self, request: Request) -> Response:
        primary, secondary = wire.parse_key_type(request.state.body)
        record = await self._operations.regenerate(self._service(request), primary=primary, secondary=secondary)
        return JSONResponse(wire.keys(record), headers={"Cache-Control": "no-store"})

    async def _operation(self, request: Request) -> Response:
        operation_id: str = request.path_params["operation_id"]
        found = self._store.operation(operation_id)
        if found is None:
            raise errors.NotFound(f"There is no operation {operation_id}.")
        return JSONResponse(wire.operation(found, self._account.path))

    async def _list_models(self, request: Request) -> Response:
        return self._page(request, self._store.models(), wire.model)

    async def _register_model(self, request: Request) -> Response:
        return JSONResponse(wire.model(await registration.register(self._store, wire.parse_object(request.state.body))))

    async def _delete_model(self, request: Request) -> Response:
        model_id: str = request.path_params["model_id"]
        registration.delete(self._store, model_id, wanted=self._operations.wants(model_id))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    # What several of them need.

    def _service(self, request: Request) -> ServiceRecord:
        service_id: str = request.path_params["service_id"]
        record = self._store.service(service_id)
        if record is None:
            raise errors.NotFound(f"There is no service {service_id}.")
        return record

    def _shown(self, record: ServiceRecord) -> wire.Json:
        return wire.service(record, self._store.unfinished(record.id), HOST)

    def _check_model(self, model_id: str) -> None:
        if self._store.model(model_id) is None:
            raise errors.BadRequest(f"There is no model {model_id}: register it first.")

    def _accepted(self, operation: OperationRecord) -> Response:
        return JSONResponse(
            wire.operation(operation, self._account.path),
            status_code=HTTPStatus.ACCEPTED,
            headers={"Operation-Location": f"{self._account.path}/operations/{operation.id}"},
        )

    def _page[T: (ServiceRecord, ModelRecord)](
        self, request: Request, records: Sequence[T], shown: Callable[[T], wire.Json]
    ) -> Response:
        chosen, token = wire.page(records, self._page_size, request.query_params.get("$skiptoken"))
        answer: wire.Json = {"value": [shown(record) for record in chosen]}
        link = wire.next_link(_base(request) + request.url.path, request.query_params, token)
        return JSONResponse(answer | ({"nextLink": link} if link else {}))


def _refusal_of(fault: Fault) -> errors.ControlError:
    match fault.mode:
        case Mode.UNAUTHORIZED:
            return errors.Unauthorized("The token was refused.")
        case Mode.THROTTLE:
            return errors.Throttled(1 if fault.retry_after is None else fault.retry_after)
        case Mode.UNAVAILABLE:
            return errors.Unavailable(fault.retry_after)
        case _:
            return errors.InternalError()


def _answering(endpoint: Handler, tenant: str) -> Handler:
    """An endpoint whose errors become error bodies; every answer carries an id that the log of a caller can name."""

    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except errors.ControlError as error:
            response = _refusal(error, tenant)
        except ClientDisconnect:
            response = Response()  # nobody is left to read it
        except OSError as error:
            _log.error("cannot keep the state: %s", error)
            response = _refusal(errors.InternalError(), tenant)
        response.headers["x-ms-client-request-id"] = str(uuid.uuid4())
        return response

    return answer


def _refusal(error: errors.ControlError, tenant: str) -> Response:
    response = JSONResponse(wire.error_body(error), status_code=error.status)
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = challenge(tenant)
    if isinstance(error, errors.Throttled | errors.Unavailable) and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


async def _unrouted(_request: Request, error: Exception) -> Response:
    """The answer to a path or a method that no route has."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    code = status.phrase.title().replace(" ", "")
    body = {"error": {"code": code, "message": "The control plane has no such operation.", "details": []}}
    return JSONResponse(body, status_code=status, headers=error.headers)


async def _failed(_request: Request, _error: Exception) -> Response:
    """The answer to a fault of this program; the server logs the cause."""
    return JSONResponse(wire.error_body(errors.InternalError()), status_code=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _read_body(request: Request) -> None:
    try:
        request.state.body = await bodies.read(request, _MAX_BODY)
    except bodies.BadBody as error:
        raise errors.BadRequest(str(error)) from None


def _name_in(request: Request) -> str:
    """The name of the service that a request wants to create; empty where it names none."""
    try:
        name = wire.parse_object(request.state.body).get("name")
    except errors.BadRequest:
        return ""
    return name if isinstance(name, str) and request.url.path.endswith("/services") else ""


def _base(request: Request) -> str:
    # The address that the client used is one that it can reach again.
    return f"{request.url.scheme}://{request.url.netloc}"
