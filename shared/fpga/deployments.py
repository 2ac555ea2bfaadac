"""The control plane of one service, as rotations need it: built on the DeploymentClient, which knows the protocol.

Slow to import for the SDK beneath; import it late. Synchronous, for a thread.
"""

from collections.abc import Callable, Mapping

from shared.errors import ControlPlaneRefused, ControlPlaneUnreachable
from shared.fpga import deployment_errors as errors
from shared.fpga.deployment_client import DeploymentClient, KeyType
from shared.fpga.deployment_errors import DeploymentError, NotFound, OperationFailed, OperationTimedOut
from shared.fpga.deployment_types import FAILED, SUCCEEDED, ServerCertificate
from shared.trust.judge import Certificate
from shared.trust.key_rotation import Kind
from shared.trust.parties import Told
from shared.trust.rotation import Progress

# Seconds that a call may take: rotations come by again, and must not outlast their lease.
_QUICK = 4.0

_KEY_TYPES: Mapping[Kind, KeyType] = {Kind.PRIMARY: "Primary", Kind.SECONDARY: "Secondary"}

# Seconds that an operation is looked at.
_LOOK = 1.0

# Errors that say that nothing was done, and that asking again will not help; after any other one that is not known.
_REFUSALS = (errors.Unauthorized, errors.Forbidden, errors.NotFound, errors.NameInUse, errors.Rejected)


class ServiceDeployments:
    """One service of an account, by its name; implements :class:`shared.trust.parties.Deployments`."""

    # _id  the service's identifier, once it was looked up

    def __init__(self, client: DeploymentClient, name: str) -> None:
        self._client = client
        self._name = name
        self._id: str | None = None

    def update(self, certificate: Certificate) -> Told:
        """Have the service serve a certificate, its chain with it."""
        given = ServerCertificate(certificate.chain_pem.decode(), certificate.key_pem.decode())
        try:
            self._called(lambda name: self._client.update_service(name, certificate=given, deadline=_QUICK))
        except OperationTimedOut as error:
            return Told(Progress.RUNNING, error.operation)
        except OperationFailed as error:
            return Told(Progress.FAILED, error.operation, error.message)
        return Told(Progress.SUCCEEDED)

    def progress(self, operation: str) -> Told:
        """How far an update is; without its operation, what the service's state says."""
        if not operation:
            state = self._called(lambda name: self._client.get_service_by_id(name, deadline=_QUICK)).state
            return Told(Progress.UNKNOWN if state in (SUCCEEDED, FAILED) else Progress.RUNNING)
        try:
            self._client.wait_for_operation(operation, deadline=_LOOK)
        except OperationTimedOut:
            return Told(Progress.RUNNING, operation)
        except OperationFailed as error:
            return Told(Progress.FAILED, operation, error.message)
        except NotFound:
            return Told(Progress.UNKNOWN)
        except DeploymentError as error:
            raise _cause(error) from error
        return Told(Progress.SUCCEEDED, operation)

    def keys(self) -> Mapping[Kind, str]:
        """Both keys of the service."""
        keys = self._called(lambda name: self._client.get_service_keys(name, deadline=_QUICK))
        return {Kind.PRIMARY: keys.primary, Kind.SECONDARY: keys.secondary}

    def regenerate(self, kind: Kind) -> str:
        """Have a key generated anew, and return it."""
        asked = _KEY_TYPES[kind]
        keys = self._called(lambda name: self._client.regenerate_service_keys(name, asked, deadline=_QUICK))
        return keys.primary if kind is Kind.PRIMARY else keys.secondary

    def _called[T](self, call: Callable[[str], T]) -> T:
        """What a call of the client returns that needs the service's identifier."""
        try:
            return call(self._identifier())
        except (OperationTimedOut, OperationFailed):
            raise
        except DeploymentError as error:
            if isinstance(error, NotFound):
                self._id = None  # it may be another service of that name by now
            raise _cause(error) from error

    def _identifier(self) -> str:
        if self._id is None:
            found = self._client.get_service_by_name(self._name, deadline=_QUICK)
            if found is None:
                raise NotFound(f"there is no service {self._name}")
            self._id = found.id
        return self._id


def _cause(error: DeploymentError) -> ControlPlaneRefused | ControlPlaneUnreachable:
    detail = f"The control plane's answer: {str(error).rstrip('.')}."
    if isinstance(error, _REFUSALS):
        return ControlPlaneRefused(detail)
    return ControlPlaneUnreachable(detail, retry_after=getattr(error, "retry_after", None) or 5)
