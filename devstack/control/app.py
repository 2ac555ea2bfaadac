"""The control plane over HTTP: routes, authentication, injected faults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.control import errors, registration, wire
from devstack.control.admin import Admin
from devstack.control.faults import Fault, Mode
from devstack.control.fleet import HOST
from devstack.control.operations import Operations
from devstack.control.records import ModelRecord, OperationRecord, ServiceRecord
from devstack.control.store import ControlStore
from devstack.rest.access import Gate
from devstack.rest.app import GuardedApp, Handler, base_url, new_id
from devstack.rest.bodies import Json, next_link, page, parse_object
from devstack.rest.errors import BadRequest, InternalError, NotFound, RestError, Throttled, Unauthorized, Unavailable
from devstack.tokens import TENANT, Problem, TokenRefused

_ACCOUNT = "/api/subscriptions/{subscription}/resourcegroups/{group}/accounts/{account}"
_PROVIDER = "providers/Microsoft.MachineLearningModelManagement/accounts/{account}"


@dataclass(frozen=True)
class Account:
    """The account that this control plane manages; the names are compared without regard to case."""

    subscription: str = "00000000-0000-0000-0000-000000000000"
    group: str = "scoring-gateway"
    name: str = "local"

    @property
    def path(self) -> str:
        return f"/api/subscriptions/{self.subscription}/resourcegroups/{self.group}/accounts/{self.name}"

    def matches(self, subscription: str, group: str, account: str) -> bool:
        own, given = (self.subscription, self.group, self.name), (subscription, group, account)
        return list(map(str.casefold, own)) == list(map(str.casefold, given))


# Azure Resource Manager, and the audience that it had before and still accepts.
_ARM, _CLASSIC = "https://management.azure.com", "https://management.core.windows.net"


def make_gate(signing_key: bytes, audience: str, tenant: str = TENANT) -> Gate:
    """Accepts tokens for ``audience`` with and without a final slash, as Azure Resource Manager does.

    Client libraries request tokens for either; the service's public client for ``https://management.core.windows.net/``,
    which is accepted as Azure does.
    """

    def explain(refused: TokenRefused | None) -> str:
        if refused is None:
            return "The request has no bearer token: send Authorization: Bearer TOKEN."
        if refused.problem is Problem.AUDIENCE:
            return f"The token is for {refused.found}; one for {audience} is needed."
        return f"The token is invalid ({refused})."

    bare = audience.rstrip("/")
    accepted = (bare, _CLASSIC) if bare == _ARM else (bare,)
    # RFC 6750, section 3.
    challenge = f'Bearer authorization_uri="https://login.microsoftonline.com/{tenant}", error="invalid_token"'
    return Gate(signing_key, tuple(form for one in accepted for form in (one, f"{one}/")), challenge, explain, tenant)


class ControlApp(GuardedApp):
    """The routes of one control plane; ``page_size`` is the number of entries in a page of a list."""

    # A certificate chain with its key is a few kilobytes.
    max_body = 1024 * 1024
    unknown_route = "The control plane has no such operation."

    def __init__(
        self, store: ControlStore, operations: Operations, admin: Admin, gate: Gate, account: Account, page_size: int
    ) -> None:
        super().__init__(gate)
        self._store = store
        self._operations = operations
        self._admin = admin
        self._faults = admin.faults
        self._account = account
        self._page_size = page_size

    def routes(self) -> list[Route]:
        def route(method: str, path: str, handler: Handler, call: str) -> Route:
            return Route(_ACCOUNT + path, self._call(handler, call, wire.API_VERSION), methods=[method])

        discover = self._call(self._discover, "discovery", wire.DISCOVERY_API_VERSION)
        # Azure Resource Manager accepts both spellings, and clients use both.
        groups = ("resourcegroups", "resourceGroups")
        return [
            *(Route(f"/subscriptions/{{subscription}}/{word}/{{group}}/{_PROVIDER}", discover) for word in groups),
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
            *(self.admin(path, handler) for path, handler in self._admin.handlers.items()),
        ]

    def error_body(self, _status: HTTPStatus, code: str, _inner: str | None, message: str) -> Json:
        return {"error": {"code": code, "message": message, "details": []}}

    def headers(self, _request: Request) -> dict[str, str]:
        # An id for the log of the caller.
        return {"x-ms-client-request-id": new_id()}

    def _call(self, handler: Handler, call: str, api_version: str) -> Handler:
        async def endpoint(request: Request) -> Response:
            self.gate.authenticate(request)
            self._check_account(request)
            wire.check_api_version(request.query_params.get("api-version"), api_version)
            await self.read_body(request)
            fault = self._take_fault(call, self._subjects(request), operations=False)
            if fault and fault.mode is not Mode.LOST:
                raise _error_of(fault)
            response = await handler(request)
            if fault:
                raise errors.ResponseLost
            return response

        return self.answering(endpoint)

    def _check_account(self, request: Request) -> None:
        given = request.path_params
        if not self._account.matches(given["subscription"], given["group"], given["account"]):
            raise NotFound("There is no such account in this subscription and resource group.")

    def _subjects(self, request: Request) -> Sequence[str]:
        """The id and the name of the service that a request concerns, if known."""
        path = request.path_params
        if "operation_id" in path:
            operation = self._store.operation(path["operation_id"])
            return self._id_and_name(operation.service_id) if operation else ()
        if "service_id" in path:
            return self._id_and_name(path["service_id"])
        name = request.query_params.get("serviceName") or _new_name(request)
        return (name,) if name else ()

    def _id_and_name(self, service_id: str) -> Sequence[str]:
        record = self._store.service(service_id)
        return (record.id, record.name) if record else (service_id,)

    def _take_fault(self, call: str, subjects: Sequence[str], *, operations: bool = True) -> Fault | None:
        return self._faults.take(lambda fault: fault.hits(call, subjects, operations=operations))

    # The routes of the API.

    async def _discover(self, request: Request) -> Response:
        account = self._account
        location = f"{base_url(request)}{account.path}/swagger.json"
        return JSONResponse(
            {
                "id": request.url.path,
                "name": account.name,
                "type": "Microsoft.MachineLearningModelManagement/accounts",
                "location": "local",
                "properties": {"modelManagementSwaggerLocation": location},
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
        document = parse_object(request.state.body)
        name, change = wire.text(document, "name"), wire.parse_change(document)
        self._check_model(change.model_id)
        # Checked before a fault is taken: a refused name starts no operation.
        self._store.new_service(name=name, model_id=change.model_id, tls=False)
        return self._accepted(self._operations.create(name, change, self._take_fault("create", (name,))))

    async def _update(self, request: Request) -> Response:
        record = self._service(request)
        change = wire.parse_change(parse_object(request.state.body))
        self._check_model(change.model_id)
        fault = self._take_fault("update", (record.id, record.name))
        return self._accepted(self._operations.update(record, change, fault))

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
            raise NotFound(f"There is no operation {operation_id}.")
        return JSONResponse(wire.operation(found, self._account.path))

    async def _list_models(self, request: Request) -> Response:
        return self._page(request, self._store.models(), wire.model)

    async def _register_model(self, request: Request) -> Response:
        return JSONResponse(wire.model(await registration.register(self._store, parse_object(request.state.body))))

    async def _delete_model(self, request: Request) -> Response:
        model_id: str = request.path_params["model_id"]
        registration.delete(self._store, model_id, in_use=self._operations.uses(model_id))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    # Helpers.

    def _service(self, request: Request) -> ServiceRecord:
        service_id: str = request.path_params["service_id"]
        record = self._store.service(service_id)
        if record is None:
            raise NotFound(f"There is no service {service_id}.")
        return record

    def _shown(self, record: ServiceRecord) -> Json:
        return wire.service(record, self._store.unfinished(record.id), HOST)

    def _check_model(self, model_id: str) -> None:
        if self._store.model(model_id) is None:
            raise BadRequest(f"There is no model {model_id}: register it first.")

    def _accepted(self, operation: OperationRecord) -> Response:
        return JSONResponse(
            wire.operation(operation, self._account.path),
            status_code=HTTPStatus.ACCEPTED,
            headers={"Operation-Location": f"{self._account.path}/operations/{operation.id}"},
        )

    def _page[T: (ServiceRecord, ModelRecord)](
        self, request: Request, records: Sequence[T], shown: Callable[[T], Json]
    ) -> Response:
        token = request.query_params.get("$skiptoken")
        chosen, token = page(records, lambda record: [record.created, record.id], self._page_size, token)
        answer: Json = {"value": [shown(record) for record in chosen]}
        link = next_link(base_url(request) + request.url.path, request.query_params, token)
        return JSONResponse(answer | ({"nextLink": link} if link else {}))


def _error_of(fault: Fault) -> RestError:
    match fault.mode:
        case Mode.UNAUTHORIZED:
            return Unauthorized("The token was refused.")
        case Mode.THROTTLE:
            return Throttled(1 if fault.retry_after is None else fault.retry_after)
        case Mode.UNAVAILABLE:
            return Unavailable(fault.retry_after)
        case _:
            return InternalError()


def _new_name(request: Request) -> str:
    """The name in a request that creates a service; empty in others."""
    try:
        name = parse_object(request.state.body).get("name")
    except BadRequest:
        return ""
    return name if isinstance(name, str) and request.url.path.endswith("/services") else ""
