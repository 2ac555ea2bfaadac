"""The control plane's client: creates, updates and deletes the services that the gateway scores with.

The protocol is Azure Machine Learning's Model Management API (``api-version=2018-04-01-preview``): requests that take
long are answered with 202 and a path in ``Operation-Location``, which is asked until the operation has ended.

Synchronous, and slow to import for the SDK that it is built on: import it late, and call it in a thread. Every call has
a deadline in seconds, for all of its requests and pauses together; the time that a credential takes for a token comes
on top, so pass one that does not retry by itself.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from shared.fpga import deployment_errors as errors
from shared.fpga.deployment_calls import Call, Calls, Reply, path_of
from shared.fpga.deployment_errors import DeploymentError, InvalidAnswer, OperationFailed, OperationTimedOut, plain
from shared.fpga.deployment_exchange import Exchange
from shared.fpga.deployment_timing import POLL_FIRST, POLL_LAST, RETRY_FIRST, RETRY_LAST, Deadline, Timing, pause
from shared.fpga.deployment_types import (
    CANCELLED,
    FAILED,
    NO_TLS,
    SUCCEEDED,
    UNDER_WAY,
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
)

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

ARM = "https://management.azure.com"
SCOPE = f"{ARM}/.default"

# Seconds: for what is answered at once, and for what is deployed.
QUICK, LONG = 30.0, 600.0

# How often a service is looked for whose creation was not answered.
_LOOKS = 4

_SERVICE_PATH = re.compile(r"/services/([^/]+)$")

KeyType = Literal["Primary", "Secondary"]


class DeploymentClient:
    """The services and models of one account; safe to use from several threads.

    Besides what each method names, all raise the errors that any call may meet: TokenUnavailable, Unauthorized,
    Forbidden, Rejected, ControlPlaneUnavailable and InvalidAnswer. ``arm_endpoint`` is where the control plane's
    address is asked for, once; ``ca_file`` replaces the public authorities as what to trust.
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
        self._exchange = Exchange(credential, scope, ca_file)
        self._calls = Calls(self._exchange, account, arm_endpoint, self._timing)

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    # Reading.

    def list_services(self, *, deadline: float = QUICK) -> list[ServiceDescription]:
        """All services of the account."""
        call = Call("GET", self._path("services"), "list the services")
        return [ServiceDescription.parse(each) for each in self._entries(call, deadline)]

    def get_service_by_id(self, service_id: str, *, deadline: float = QUICK) -> ServiceDescription:
        """The service of that identifier.

        Raises:
            NotFound: there is none.
        """
        return self._service(service_id, self._timing.deadline(deadline))

    def get_service_by_name(self, name: str, *, deadline: float = QUICK) -> ServiceDescription | None:
        """The service of that name; None where there is none."""
        return self._find(name, self._timing.deadline(deadline))

    def get_service_keys(self, service_id: str, *, deadline: float = QUICK) -> ServiceKeys:
        """Both keys of a service.

        Raises:
            NotFound: there is no such service.
        """
        return self._keys(service_id, self._timing.deadline(deadline))

    def list_models(self, *, deadline: float = QUICK) -> list[ModelDescription]:
        """All registered models of the account."""
        call = Call("GET", self._path("models"), "list the models")
        return [ModelDescription.parse(each) for each in self._entries(call, deadline)]

    # Changing services.

    def create_service(
        self,
        name: str,
        model_id: str,
        *,
        certificate: ServerCertificate | None = None,
        keys: ServiceKeys | None = None,
        deadline: float = LONG,
    ) -> ServiceDescription:
        """Create a service and wait until it is ready. Without a certificate it has no TLS, and asks for no key.

        The request is sent once, whatever happens. Where its answer is lost, the service is looked up by its name, and
        waited for if it is there.

        Raises:
            NameInUse: a service has the name, or got it meanwhile from somebody else.
            OperationFailed, OperationTimedOut: it was accepted, and then failed or did not end in time.
            OutcomeUnknown: it was sent, got no answer, and there is no such service so far.
        """
        limit = self._timing.deadline(deadline)
        if self._find(name, limit):
            raise errors.NameInUse(f"the name {name} is in use by another service")
        document: Json = {"name": name, **_deployment(model_id), **(certificate.json if certificate else NO_TLS)}
        if keys:
            document["keys"] = keys.json
        secrets = _secrets(certificate, keys)
        call = Call("POST", self._path("services"), f"create {name}", document, repeatable=False, secrets=secrets)
        try:
            reply = self._calls.make(call, limit)
        except errors.OutcomeUnknown as unknown:
            found = self._created(name, limit, unknown)
            self._check_own(found, model_id, keys, tls=certificate is not None, limit=limit)
            return self._settled(found, limit, secrets)
        except errors.Rejected as rejected:
            raise _name_in_use(rejected, name) from None
        return self._service(_service_id(self._wait(self._operation(reply), limit, secrets)), limit)

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

        A key that is not given is never sent as null, which would have it generated anew: if one is given, the other is
        read and sent along, and if none is, the request says nothing of keys. The documentation leaves open what else a
        service may do to them, so compare :meth:`get_service_keys` before and after.

        Raises:
            NotFound: there is no such service.
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
        call = Call("PUT", self._path("services", service_id), f"update {service_id}", document, secrets=secrets)
        self._wait(self._operation(self._calls.make(call, limit)), limit, secrets)
        return self._service(service_id, limit)

    def delete_service(self, service_id: str, *, deadline: float = LONG) -> None:
        """Delete a service and wait until it is gone.

        Raises:
            NotFound: there is no such service.
            OperationFailed, OperationTimedOut: the deletion was accepted, and then failed or did not end in time.
        """
        limit = self._timing.deadline(deadline)
        reply = self._delete(self._path("services", service_id), f"delete {service_id}", limit)
        if reply:
            self._wait(self._operation(reply), limit)

    def regenerate_service_keys(
        self, service_id: str, key_type: KeyType | None = None, *, deadline: float = QUICK
    ) -> ServiceKeys:
        """Have one key of a service, or both, generated anew, and return the keys. The request is sent once.

        Raises:
            NotFound: there is no such service.
            OutcomeUnknown: it got no answer; :meth:`get_service_keys` tells the keys in force.
        """
        path = f"{self._path('services', service_id)}/regenerateKeys"
        document = {"keyType": key_type} if key_type else None
        call = Call("POST", path, f"regenerate keys of {service_id}", document, repeatable=False)
        return parse_keys(self._calls.make(call, self._timing.deadline(deadline)).document)

    def wait_for_operation(self, operation: str, *, deadline: float = LONG) -> None:
        """Go on waiting for an operation, by the path that OperationTimedOut holds.

        Raises:
            NotFound: the control plane knows it no more.
            OperationFailed, OperationTimedOut: it failed, or did not end in time.
        """
        self._wait(path_of(operation, "operation"), self._timing.deadline(deadline))

    # Changing models.

    def register_model(self, name: str, url: str, *, deadline: float = LONG) -> ModelDescription:
        """Register the zip archive at ``url`` as a model. The request is sent once.

        Raises:
            Rejected: the archive cannot be had or used; the message says why.
            OutcomeUnknown: it got no answer; :meth:`list_models` tells.
        """
        document = {"name": name, "mimeType": "application/zip", "url": url, "unpack": False}
        path = self._path("models")
        call = Call("POST", path, f"register model {name}", document, repeatable=False, secrets=(url,))
        return ModelDescription.parse(self._calls.make(call, self._timing.deadline(deadline)).document)

    def delete_model(self, model_id: str, *, deadline: float = QUICK) -> None:
        """Delete a model.

        Raises:
            NotFound: there is no such model.
            Rejected: a service runs it.
        """
        self._delete(self._path("models", model_id), f"delete model {model_id}", self._timing.deadline(deadline))

    # Parts of the above.

    def _path(self, collection: str, identifier: str = "") -> str:
        return self._account.path(collection, identifier)

    def _entries(self, call: Call, deadline: float) -> Iterator[Json]:
        return self._calls.pages(call, self._timing.deadline(deadline))

    def _service(self, service_id: str, limit: Deadline) -> ServiceDescription:
        call = Call("GET", self._path("services", service_id), f"read service {service_id}")
        return ServiceDescription.parse(self._calls.make(call, limit).document)

    def _find(self, name: str, limit: Deadline) -> ServiceDescription | None:
        call = Call("GET", self._path("services"), f"look {name} up", query={"serviceName": name})
        found = (ServiceDescription.parse(each) for each in self._calls.pages(call, limit))
        # The name is compared again: a server that knows no such filter answers with all services.
        return next((service for service in found if service.name == name), None)

    def _keys(self, service_id: str, limit: Deadline) -> ServiceKeys:
        call = Call("GET", f"{self._path('services', service_id)}/keys", f"read the keys of {service_id}")
        return parse_keys(self._calls.make(call, limit).document)

    def _completed(
        self, service_id: str, primary: str | None, secondary: str | None, limit: Deadline
    ) -> ServiceKeys | None:
        """The keys to send: none where none is given, else both."""
        if primary is None and secondary is None:
            return None
        if primary is not None and secondary is not None:
            return ServiceKeys(primary, secondary)
        known = self._keys(service_id, limit)
        return ServiceKeys(primary or known.primary, secondary or known.secondary)

    def _delete(self, path: str, what: str, limit: Deadline) -> Reply | None:
        """The answer to a deletion; None where an earlier try of it has been carried out already."""
        reply = self._calls.make(Call("DELETE", path, what, removes=True), limit)
        return None if reply.answer.status == HTTPStatus.NOT_FOUND else reply

    def _operation(self, reply: Reply) -> str:
        return path_of(reply.answer.headers.get("operation-location"), "Operation-Location")

    def _wait(self, operation: str, limit: Deadline, secrets: tuple[str, ...] = ()) -> Json:
        """Ask for an operation until it has ended, and return its last answer."""
        call = Call("GET", operation, "follow the operation")
        looks = 0
        while True:
            looks += 1
            try:
                reply = self._calls.make(call, limit)
            except errors.ControlPlaneUnavailable as away:
                raise OperationTimedOut(operation, f"the operation's end is not known: {away}") from None
            document = reply.document
            state = member(document, "state", str)
            if state == SUCCEEDED:
                return document
            if state in (FAILED, CANCELLED):
                reason = plain(message_of(document.get("error")), secrets) or "no reason is given"
                raise OperationFailed(operation, state, reason)
            if state not in UNDER_WAY:
                raise InvalidAnswer(f"the operation's state is {plain(state)!r}, which is not known")
            self._pause(looks, limit, operation, state, reply.wait)

    def _pause(self, looks: int, limit: Deadline, operation: str, state: str, least: float = 0.0) -> None:
        wait = max(least, pause(looks, POLL_FIRST, POLL_LAST, self._timing.chance))
        if wait >= limit.remaining:
            raise OperationTimedOut(operation, f"the deadline passed while the operation was {state}")
        self._timing.sleep(wait)

    def _created(self, name: str, limit: Deadline, unknown: DeploymentError) -> ServiceDescription:
        """Look for a service whose creation was not answered: it may take a moment to show.

        Raises:
            OutcomeUnknown: it is not there.
        """
        for look in range(1, _LOOKS + 1):
            try:
                found = self._find(name, limit)
            except errors.ControlPlaneUnavailable:
                break
            if found:
                return found
            wait = pause(look, RETRY_FIRST, RETRY_LAST, self._timing.chance)
            if look == _LOOKS or wait >= limit.remaining:
                break
            self._timing.sleep(wait)
        raise unknown

    def _check_own(
        self, found: ServiceDescription, model_id: str, keys: ServiceKeys | None, *, tls: bool, limit: Deadline
    ) -> None:
        """See that a service of the right name is the one that was asked for, as far as that can be told."""
        same = (found.model_id, found.tls) == (model_id, tls)
        if same and keys and found.ready:
            same = self._keys(found.id, limit) == keys
        if not same:
            raise errors.NameInUse(f"the name {found.name} was given to another service meanwhile")

    def _settled(self, service: ServiceDescription, limit: Deadline, secrets: tuple[str, ...]) -> ServiceDescription:
        """Wait by its state for a service whose operation is not known."""
        looks = 0
        while not service.ready:
            if service.state == FAILED:
                raise OperationFailed("", FAILED, plain(service.error or "no reason is given", secrets))
            looks += 1
            self._pause(looks, limit, "", service.state)
            service = self._service(service.id, limit)
        return service


def _deployment(model_id: str) -> Json:
    return {"computeType": "FPGA", "modelId": model_id, "numReplicas": 1}


def _secrets(certificate: ServerCertificate | None, keys: ServiceKeys | None) -> tuple[str, ...]:
    mine = (certificate.key,) if certificate else ()
    return (*mine, keys.primary, keys.secondary) if keys else mine


def _service_id(operation: Json) -> str:
    path = path_of(operation.get("resourceLocation"), "resourceLocation")
    found = _SERVICE_PATH.search(path)
    if found is None:
        raise InvalidAnswer("the control plane's resourceLocation is no service's")
    return found[1]


def _name_in_use(rejected: errors.Rejected, name: str) -> DeploymentError:
    if rejected.status == HTTPStatus.CONFLICT:
        return errors.NameInUse(f"the name {name} is in use by another service")
    return rejected
