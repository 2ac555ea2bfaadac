"""The control plane of one service, as rotations need it: built on the DeploymentClient. Synchronous, for a thread."""

from collections.abc import Callable, Mapping

from shared.control_plane.client import DeploymentClient, KeyType
from shared.control_plane.types import FAILED, SUCCEEDED, ServerCertificate
from shared.errors import NotDeployed, OperationFailed, OperationTimedOut
from shared.rotation.decide import Progress
from shared.rotation.decide_keys import KeyKind
from shared.rotation.interfaces import UpdateStatus
from shared.rotation.validate import Certificate

# Seconds that a call may take: runs repeat, and must not outlast their lease.
_QUICK = 4.0

# Seconds for one look at an operation.
_LOOK = 1.0

_KEY_TYPES: Mapping[KeyKind, KeyType] = {KeyKind.PRIMARY: "Primary", KeyKind.SECONDARY: "Secondary"}


class ControlPlaneUpdates:
    """One service of an account, by its name; implements :class:`shared.rotation.interfaces.ServiceUpdates`."""

    # _id  the service's id, once it was looked up

    def __init__(self, client: DeploymentClient, name: str) -> None:
        self._client = client
        self._name = name
        self._id: str | None = None

    def update(self, certificate: Certificate) -> UpdateStatus:
        """Have the service serve a certificate with its chain."""
        given = ServerCertificate(certificate.chain_pem.decode(), certificate.key_pem.decode())
        try:
            self._call(lambda service_id: self._client.update_service(service_id, certificate=given, deadline=_QUICK))
        except OperationTimedOut as error:
            return UpdateStatus(Progress.RUNNING, error.operation)
        except OperationFailed as error:
            return UpdateStatus(Progress.FAILED, error.operation, error.reason)
        return UpdateStatus(Progress.SUCCEEDED)

    def progress(self, operation: str) -> UpdateStatus:
        """The progress of an update; without its operation, what the service's state shows."""
        if not operation:
            state = self._call(lambda service_id: self._client.get_service_by_id(service_id, deadline=_QUICK)).state
            return UpdateStatus(Progress.UNKNOWN if state in (SUCCEEDED, FAILED) else Progress.RUNNING)
        try:
            self._client.wait_for_operation(operation, deadline=_LOOK)
        except OperationTimedOut:
            return UpdateStatus(Progress.RUNNING, operation)
        except OperationFailed as error:
            return UpdateStatus(Progress.FAILED, operation, error.reason)
        except NotDeployed:
            return UpdateStatus(Progress.UNKNOWN)
        return UpdateStatus(Progress.SUCCEEDED, operation)

    def keys(self) -> Mapping[KeyKind, str]:
        """Both keys of the service."""
        keys = self._call(lambda service_id: self._client.get_service_keys(service_id, deadline=_QUICK))
        return {KeyKind.PRIMARY: keys.primary, KeyKind.SECONDARY: keys.secondary}

    def regenerate(self, kind: KeyKind) -> str:
        """Regenerate a key, and return it."""
        key_type = _KEY_TYPES[kind]
        keys = self._call(
            lambda service_id: self._client.regenerate_service_keys(service_id, key_type, deadline=_QUICK)
        )
        return keys.primary if kind is KeyKind.PRIMARY else keys.secondary

    def _call[T](self, call: Callable[[str], T]) -> T:
        """The result of a call of the client that needs the service's id."""
        try:
            return call(self._service_id())
        except NotDeployed:
            self._id = None  # another service may have the name by now
            raise

    def _service_id(self) -> str:
        if self._id is None:
            found = self._client.get_service_by_name(self._name, deadline=_QUICK)
            if found is None:
                raise NotDeployed(f"The control plane has no service {self._name}.")
            self._id = found.id
        return self._id
