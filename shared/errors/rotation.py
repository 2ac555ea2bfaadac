"""Errors of rotation and of the service's control plane."""

from shared.errors.base import GatewayError


class NotRotated(GatewayError):
    slug = "not-rotated"
    status = 409
    title = "The gateway does not rotate this service"
    meaning = "A rotation was requested of a service for which the settings configure none."
    remedy = "Set the service's CONTROL_PLANE_NAME to its name at the control plane."


class RotationBusy(GatewayError):
    slug = "rotation-busy"
    status = 409
    title = "A rotation of the service is in progress"
    meaning = "Another run is working on the same service."
    remedy = "Try again after the time in Retry-After; GET /api/rotation shows its progress."
    pause = 5


class ForeignOrigin(GatewayError):
    slug = "foreign-origin"
    status = 403
    title = "The request may come from a web page elsewhere"
    meaning = "A web page of another origin may have sent the request, which would start a rotation."
    remedy = (
        "Send it without the header Origin, or from a page of the gateway's own; on a developer's machine, to localhost"
        " and with Content-Type: application/json."
    )


class ControlPlaneUnreachable(GatewayError):
    slug = "control-plane-unreachable"
    status = 503
    title = "The service's control plane cannot be reached"
    meaning = "The control plane gave no response from which the outcome of the request is known."
    remedy = "The next run continues. If it lasts, check the CONTROL_PLANE settings and the network."


class InvalidControlPlaneResponse(ControlPlaneUnreachable):
    """The response does not follow the control plane's contract."""


class OutcomeUnknown(ControlPlaneUnreachable):
    """A request that must not be sent twice got no response: whether it was carried out is not known."""


class OperationTimedOut(ControlPlaneUnreachable):
    """The deadline passed during an operation, which may still end either way.

    ``operation`` is its path, for :meth:`DeploymentClient.wait_for_operation`; empty where it is not known.
    """

    def __init__(self, detail: str, operation: str) -> None:
        super().__init__(detail)
        self.operation = operation


class ControlPlaneRefused(GatewayError):
    slug = "control-plane-refused"
    status = 502
    title = "The service's control plane refuses"
    meaning = "The control plane refused the request: the token, the role, or the content."
    remedy = "Give the gateway's identity a role on the account, and compare CONTROL_PLANE_NAME with what is deployed."

    def __init__(self, detail: str, http_status: int = 0) -> None:
        """``http_status`` is the control plane's, zero where there is none."""
        super().__init__(detail)
        self.http_status = http_status


class NotDeployed(ControlPlaneRefused):
    """404: the control plane has no service, model, operation or account of that identifier."""


class NameInUse(ControlPlaneRefused):
    """Another service has the name."""


class OperationFailed(ControlPlaneRefused):
    """An operation ended as Failed or Cancelled; ``reason`` is the control plane's.

    ``operation`` is its path, empty where only the service's state shows the failure.
    """

    def __init__(self, operation: str, state: str, reason: str) -> None:
        which = operation.rpartition("/")[2] or "on the service"
        super().__init__(f"The operation {which} ended as {state}: {reason.rstrip('.')}.")
        self.operation = operation
        self.reason = reason
