"""The control plane's client: creates, updates and deletes the services that the gateway scores with.

The protocol is Azure Machine Learning's Model Management API (``api-version=2018-04-01-preview``): long operations are
answered with 202 and a path in ``Operation-Location``, which is polled until the operation has ended.

Synchronous. Every call has a deadline in seconds, for all of its requests and pauses together; the time that a
credential takes for a token comes on top, so pass one that does not retry by itself.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from shared.control_plane.calls import RETRY_FIRST, RETRY_LAST, ApiCall, Calls, Deadline, Timing, path_of, wait_of
from shared.control_plane.transport import Response, Transport
from shared.control_plane.types import (
    CANCELLED,
    FAILED,
    NO_TLS,
    SUCCEEDED,
    UNFINISHED,
    Account,
    Json,
    ModelDescription,
    ServerCertificate,
    ServiceDescription,
    ServiceKeys,
    check_key,
    member,
    message_of,
    parse_keys,
    parse_object,
)
from shared.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    InvalidControlPlaneResponse,
    NameInUse,
    OperationFailed,
    OperationTimedOut,
    OutcomeUnknown,
)
from shared.quoting import quoted

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

ARM = "https://management.azure.com"
SCOPE = f"{ARM}/.default"

# Seconds: for calls that are answered at once, and for deployments.
QUICK, LONG = 30.0, 600.0

# Seconds between two polls of an operation: a deployment takes seconds locally and minutes in Azure.
_POLL_FIRST, _POLL_LAST = 0.25, 15.0

# How often a service is looked up whose creation got no response.
_LOOKUPS = 4

_SERVICE_PATH = re.compile(r"/services/([^/]+)$")

KeyType = Literal["Primary", "Secondary"]


class DeploymentClient:
    """The services and models of one account; safe to use from several threads.

    Besides what each method names, all raise IdentityUnavailable, ControlPlaneRefused and ControlPlaneUnreachable (or
    a subclass). ``arm_endpoint`` is asked for the control plane's address, once; ``ca_file`` replaces the public
    authorities as trusted roots.
    """

    def __init__(
        self,
        account: Account,
        credential: "TokenCredential",
        *,
        arm_endpoint: str = ARM,
        scope: str = SCOPE,
        ca_file: str = "",
        timing: Timing | None = None,
    ) -> None:
        self._account = account
        self._timing = timing or Timing()
        self._transport = Transport(credential, scope, ca_file)
        self._calls = Calls(self._transport, account, arm_endpoint, self._timing)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # Reading.

    def list_services(self, *, deadline: float = QUICK) -> list[ServiceDescription]:
        """All services of the account."""
        call = ApiCall("GET", self._account.path("services"), "list the services")
        return [ServiceDescription.parse(each) for each in self._entries(call, deadline)]

    def get_service_by_id(self, service_id: str, *, deadline: float = QUICK) -> ServiceDescription:
        """The service of that id.

        Raises:
            NotDeployed: there is none.
        """
        return self._service(service_id, self._timing.deadline(deadline))

    def get_service_by_name(self, service_name: str, *, deadline: float = QUICK) -> ServiceDescription | None:
        """The service of that name; None where there is none."""
        return self._find(service_name, self._timing.deadline(deadline))

    def get_service_keys(self, service_id: str, *, deadline: float = QUICK) -> ServiceKeys:
        """Both keys of a service.

        Raises:
            NotDeployed: there is no such service.
        """
        return self._keys(service_id, self._timing.deadline(deadline))

    def list_models(self, *, deadline: float = QUICK) -> list[ModelDescription]:
        """All registered models of the account."""
        call = ApiCall("GET", self._account.path("models"), "list the models")
        return [ModelDescription.parse(each) for each in self._entries(call, deadline)]

    # Changing services.

    def create_service(
        self,
        service_name: str,
        model_id: str,
        *,
        certificate: ServerCertificate | None = None,
        keys: ServiceKeys | None = None,
        deadline: float = LONG,
    ) -> ServiceDescription:
        """Create a service and wait until it is ready. Without a certificate it has no TLS, and requires no key.

        The request is sent once in any case. Where its response is lost, the service is looked up by its name, and
        waited for if it is there.

        Raises:
            NameInUse: a service has the name, possibly created meanwhile by somebody else.
            OperationFailed, OperationTimedOut: it was accepted, and then failed or did not end in time.
            OutcomeUnknown: it got no response, and there is no such service so far.
        """
        limit = self._timing.deadline(deadline)
        if self._find(service_name, limit):
            raise _name_in_use(service_name)
        document: Json = {
            "name": service_name,
            **_deployment(model_id),
            **(certificate.json if certificate else NO_TLS),
        }
        if keys:
            document["keys"] = keys.json
        secrets = _secrets(certificate, keys)
        action = f"create {service_name}"
        call = ApiCall("POST", self._account.path("services"), action, document, repeatable=False, secrets=secrets)
        try:
            response = self._calls.make(call, limit)
        except OutcomeUnknown as unknown:
            found = self._created(service_name, limit, unknown)
            self._check_own(found, model_id, keys, tls=certificate is not None, limit=limit)
            return self._settled(found, limit, secrets)
        except ControlPlaneRefused as refused:
            if refused.http_status == HTTPStatus.CONFLICT:
                raise _name_in_use(service_name) from None
            raise
        return self._service(_service_id(self._wait(_operation(response), limit, secrets)), limit)

    def update_service(
        self,
        service_id: str,
        *,
        certificate: ServerCertificate | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        model_id: str | None = None,
        deadline: float = LONG,
    ) -> ServiceDescription:
        """Change what is given, and wait until the service is ready; everything else stays as it is.

        A key that is not given is never sent as null, which would have it regenerated: if one is given, the other is
        read and sent along, and if none is, the request has no keys. The documentation leaves open whether a service
        may change them all the same, so compare :meth:`get_service_keys` before and after.

        Raises:
            NotDeployed: there is no such service.
            OperationFailed, OperationTimedOut: the update was accepted, and then failed or did not end in time.
            ValueError: a key is empty, or not printable ASCII.
        """
        for kind, key in (("primary", primary_key), ("secondary", secondary_key)):
            if key is not None:
                check_key(kind, key)
        limit = self._timing.deadline(deadline)
        document = _deployment(model_id or self._service(service_id, limit).model_id)
        if certificate:
            document |= certificate.json
        keys = self._completed(service_id, primary_key, secondary_key, limit)
        if keys:
            document["keys"] = keys.json
        secrets = _secrets(certificate, keys)
        path = self._account.path("services", service_id)
        response = self._calls.make(ApiCall("PUT", path, f"update {service_id}", document, secrets=secrets), limit)
        self._wait(_operation(response), limit, secrets)
        return self._service(service_id, limit)

    def delete_service(self, service_id: str, *, deadline: float = LONG) -> None:
        """Delete a service and wait until it is gone.

        Raises:
            NotDeployed: there is no such service.
            OperationFailed, OperationTimedOut: the deletion was accepted, and then failed or did not end in time.
        """
        limit = self._timing.deadline(deadline)
        response = self._delete(self._account.path("services", service_id), f"delete {service_id}", limit)
        if response.status != HTTPStatus.NOT_FOUND:
            self._wait(_operation(response), limit)

    def regenerate_service_keys(
        self, service_id: str, key_type: KeyType | None = None, *, deadline: float = QUICK
    ) -> ServiceKeys:
        """Regenerate one key of a service, or both, and return the keys. The request is sent once.

        Raises:
            NotDeployed: there is no such service.
            OutcomeUnknown: it got no response; :meth:`get_service_keys` returns the keys in force.
        """
        path = f"{self._account.path('services', service_id)}/regenerateKeys"
        document = {"keyType": key_type} if key_type else None
        call = ApiCall("POST", path, f"regenerate keys of {service_id}", document, repeatable=False)
        return parse_keys(self._document(call, self._timing.deadline(deadline)))

    def wait_for_operation(self, operation_path: str, *, deadline: float = LONG) -> None:
        """Wait further for an operation, by the path in OperationTimedOut.

        Raises:
            NotDeployed: the control plane no longer has it.
            OperationFailed, OperationTimedOut: it failed, or did not end in time.
        """
        self._wait(path_of(operation_path, "operation"), self._timing.deadline(deadline))

    # Changing models.

    def register_model(self, model_name: str, url: str, *, deadline: float = LONG) -> ModelDescription:
        """Register the zip archive at ``url`` as a model. The request is sent once.

        Raises:
            ControlPlaneRefused: the archive cannot be fetched or used; the detail has the reason.
            OutcomeUnknown: it got no response; :meth:`list_models` shows whether it was registered.
        """
        document = {"name": model_name, "mimeType": "application/zip", "url": url, "unpack": False}
        action = f"register model {model_name}"
        call = ApiCall("POST", self._account.path("models"), action, document, repeatable=False, secrets=(url,))
        return ModelDescription.parse(self._document(call, self._timing.deadline(deadline)))

    def delete_model(self, model_id: str, *, deadline: float = QUICK) -> None:
        """Delete a model.

        Raises:
            NotDeployed: there is no such model.
            ControlPlaneRefused: a service uses it.
        """
        limit = self._timing.deadline(deadline)
        self._delete(self._account.path("models", model_id), f"delete model {model_id}", limit)

    # Parts of the above.

    def _document(self, call: ApiCall, limit: Deadline) -> Json:
        return parse_object(self._calls.make(call, limit).body)

    def _entries(self, call: ApiCall, deadline: float) -> Iterator[Json]:
        return self._calls.pages(call, self._timing.deadline(deadline))

    def _service(self, service_id: str, limit: Deadline) -> ServiceDescription:
        call = ApiCall("GET", self._account.path("services", service_id), f"read service {service_id}")
        return ServiceDescription.parse(self._document(call, limit))

    def _find(self, name: str, limit: Deadline) -> ServiceDescription | None:
        call = ApiCall("GET", self._account.path("services"), f"look {name} up", query={"serviceName": name})
        found = (ServiceDescription.parse(each) for each in self._calls.pages(call, limit))
        # The name is compared again: a server without such a filter returns all services.
        return next((service for service in found if service.name == name), None)

    def _keys(self, service_id: str, limit: Deadline) -> ServiceKeys:
        path = f"{self._account.path('services', service_id)}/keys"
        return parse_keys(self._document(ApiCall("GET", path, f"read the keys of {service_id}"), limit))

    def _completed(
        self, service_id: str, primary: str | None, secondary: str | None, limit: Deadline
    ) -> ServiceKeys | None:
        """The keys to send: none where none is given, else both."""
        if primary is None and secondary is None:
            return None
        if primary is not None and secondary is not None:
            return ServiceKeys(primary, secondary)
        current = self._keys(service_id, limit)
        return ServiceKeys(primary or current.primary, secondary or current.secondary)

    def _delete(self, path: str, action: str, limit: Deadline) -> Response:
        """The response to a deletion; 404 where an earlier attempt of it has been carried out already."""
        return self._calls.make(ApiCall("DELETE", path, action, removes=True), limit)

    def _wait(self, operation: str, limit: Deadline, secrets: tuple[str, ...] = ()) -> Json:
        """Poll an operation until it has ended, and return its last document."""
        call = ApiCall("GET", operation, "follow the operation")
        polls = 0
        while True:
            polls += 1
            try:
                response = self._calls.make(call, limit)
                document = parse_object(response.body)
            except InvalidControlPlaneResponse:
                raise
            except ControlPlaneUnreachable as error:
                raise OperationTimedOut(f"The operation's outcome is not known. {error.detail}", operation) from None
            state = member(document, "state", str)
            if state == SUCCEEDED:
                return document
            if state in (FAILED, CANCELLED):
                raise OperationFailed(operation, state, _reason(message_of(document.get("error")), secrets))
            if state not in UNFINISHED:
                raise InvalidControlPlaneResponse(f"The operation's state {quoted(state)!r} is not known.")
            self._pause(polls, limit, operation, state, wait_of(response))

    def _pause(self, polls: int, limit: Deadline, operation: str, state: str, least: float = 0.0) -> None:
        wait = max(least, self._timing.pause(polls, _POLL_FIRST, _POLL_LAST))
        if wait >= limit.remaining:
            raise OperationTimedOut(f"The deadline passed while the operation was {state}.", operation)
        self._timing.sleep(wait)

    def _created(self, name: str, limit: Deadline, unknown: OutcomeUnknown) -> ServiceDescription:
        """Look up a service whose creation got no response: it may take a moment to appear.

        Raises:
            OutcomeUnknown: it is not there.
        """
        for lookup in range(1, _LOOKUPS + 1):
            try:
                found = self._find(name, limit)
            except ControlPlaneUnreachable:
                break
            if found:
                return found
            wait = self._timing.pause(lookup, RETRY_FIRST, RETRY_LAST)
            if lookup == _LOOKUPS or wait >= limit.remaining:
                break
            self._timing.sleep(wait)
        raise unknown

    def _check_own(
        self, found: ServiceDescription, model_id: str, keys: ServiceKeys | None, *, tls: bool, limit: Deadline
    ) -> None:
        """Check that a service of the right name is the requested one, as far as that can be seen."""
        same = (found.model_id, found.tls) == (model_id, tls)
        if same and keys and found.ready:
            same = self._keys(found.id, limit) == keys
        if not same:
            raise NameInUse(f"The name {found.name} was given to another service meanwhile.")

    def _settled(self, service: ServiceDescription, limit: Deadline, secrets: tuple[str, ...]) -> ServiceDescription:
        """Wait by its state for a service whose operation is not known."""
        polls = 0
        while not service.ready:
            if service.state == FAILED:
                raise OperationFailed("", FAILED, _reason(service.error or "", secrets))
            polls += 1
            self._pause(polls, limit, "", service.state)
            service = self._service(service.id, limit)
        return service


def _deployment(model_id: str) -> Json:
    return {"computeType": "FPGA", "modelId": model_id, "numReplicas": 1}


def _secrets(certificate: ServerCertificate | None, keys: ServiceKeys | None) -> tuple[str, ...]:
    private = (certificate.key,) if certificate else ()
    return (*private, keys.primary, keys.secondary) if keys else private


def _operation(response: Response) -> str:
    return path_of(response.headers.get("operation-location"), "Operation-Location")


def _reason(message: str, secrets: tuple[str, ...]) -> str:
    return quoted(message, limit=400, secrets=secrets) or "no reason is given"


def _service_id(operation: Json) -> str:
    path = path_of(operation.get("resourceLocation"), "resourceLocation")
    found = _SERVICE_PATH.search(path)
    if found is None:
        raise InvalidControlPlaneResponse("The control plane's resourceLocation is not a service's.")
    return found[1]


def _name_in_use(name: str) -> NameInUse:
    return NameInUse(f"The name {name} is in use by another service.")
