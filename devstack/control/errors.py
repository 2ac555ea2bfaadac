"""What the control plane refuses. ``status`` is HTTP's, ``code`` what the error's body calls it."""

from http import HTTPStatus
from pathlib import Path
from typing import ClassVar


class DamagedState(Exception):
    """The state file cannot be used as it is."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the control plane's file {path} is damaged ({reason}): "
            "restore it from a copy, or delete it to begin without services, and start again"
        )


class OperationFailed(Exception):
    """An accepted operation that cannot be carried out; the service stays as it was. The message is for the caller."""


class ControlError(Exception):
    """A request that is answered with an error."""

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]


class BadRequest(ControlError):
    """The request has not the form that its route asks for."""

    status = HTTPStatus.BAD_REQUEST
    code = "BadRequest"


class InvalidPackage(ControlError):
    """What is to be registered as a model is none."""

    status = HTTPStatus.BAD_REQUEST
    code = "InvalidModelPackage"


class Unauthorized(ControlError):
    """No token, or one that does not hold."""

    status = HTTPStatus.UNAUTHORIZED
    code = "Unauthorized"


class NotFound(ControlError):
    """Nothing of that identifier."""

    status = HTTPStatus.NOT_FOUND
    code = "NotFound"


class NameInUse(ControlError):
    """Another service has the name."""

    status = HTTPStatus.CONFLICT
    code = "NameInUse"


class ModelInUse(ControlError):
    """A model that may not be deleted: a service runs it, or it is the built-in one."""

    status = HTTPStatus.CONFLICT
    code = "ModelInUse"


class Throttled(ControlError):
    """Too many requests; ``retry_after`` is in seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "TooManyRequests"

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests: try again after the time in Retry-After.")
        self.retry_after = retry_after


class InternalError(ControlError):
    """The control plane failed."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "InternalServerError"

    def __init__(self) -> None:
        super().__init__("The control plane encountered an internal error.")


class Unavailable(ControlError):
    """The control plane has no time; ``retry_after`` is in seconds, None where it cannot tell."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "ServiceUnavailable"

    def __init__(self, retry_after: int | None = None) -> None:
        super().__init__("The control plane is not available for now.")
        self.retry_after = retry_after


class AnswerLost(ControlError):
    """What a front end says that gave up waiting, whether the request was carried out or not."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "GatewayTimeout"

    def __init__(self) -> None:
        super().__init__("The control plane did not answer in time.")
