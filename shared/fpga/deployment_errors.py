"""What can go wrong between the gateway and the control plane: one flat tree.

A message is one line in plain words. It never holds a key, a certificate, a token or an address; what the control plane
said is part of it only after :func:`plain` has been over it.
"""

import re
from collections.abc import Iterable

_MESSAGE_LENGTH = 400
# Anything in PEM, and anything that looks like a JSON Web Token (RFC 7519: three parts, the first begins with `{"`).
_PEM = re.compile(r"-----BEGIN.*?(-----END[^-]*-----|$)", re.DOTALL)
_TOKEN = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")


class DeploymentError(Exception):
    """Base of all."""


class TokenUnavailable(DeploymentError):
    """The identity gives no token for the control plane. Check the managed identity and its client id."""


class Unauthorized(DeploymentError):
    """401: the control plane does not accept the token."""


class Forbidden(DeploymentError):
    """403: the identity may not do this. Give it a role on the account."""


class NotFound(DeploymentError):
    """404: no service, model, operation or account of that identifier."""


class NameInUse(DeploymentError):
    """Another service has the name."""


class Rejected(DeploymentError):
    """Any other 4xx; ``status`` says which. The same request will be rejected again."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OperationFailed(DeploymentError):
    """An operation ended in ``state`` Failed or Cancelled; ``message`` is the control plane's reason.

    ``operation`` is its path, empty where only the service's state told of it.
    """

    def __init__(self, operation: str, state: str, message: str) -> None:
        super().__init__(
            f"the operation {operation.rpartition('/')[2] or 'on the service'} ended as {state}: {message}"
        )
        self.operation = operation
        self.state = state
        self.message = message


class OperationTimedOut(DeploymentError):
    """The deadline passed while an operation was under way; it may still end either way.

    ``operation`` is its path, for :meth:`DeploymentClient.wait_for_operation`.
    """

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(message)
        self.operation = operation


class OutcomeUnknown(DeploymentError):
    """A request that may not be sent twice got no answer: whether it was carried out is not known."""


class ControlPlaneUnavailable(DeploymentError):
    """No answer, or one that says to come back: in ``retry_after`` seconds, where it says when."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidAnswer(DeploymentError):
    """An answer that is not what the control plane's contract says."""


def plain(message: str, secrets: Iterable[str] = ()) -> str:
    """A message of the control plane, fit to be logged: one short line, without what was sent in confidence."""
    for secret in secrets:
        if secret:
            message = message.replace(secret, "***")
    message = _TOKEN.sub("***", _PEM.sub("***", message))
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in message).split())
    return line if len(line) <= _MESSAGE_LENGTH else f"{line[:_MESSAGE_LENGTH]}..."
