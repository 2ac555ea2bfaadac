"""The errors that a REST server answers with, and a damaged file of its state."""

from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

from devstack.errors import CommandError


class DamagedFile(CommandError):
    """A file of a server's state is not what the server wrote; ``loss`` is the effect of deleting it."""

    def __init__(self, server: str, path: Path, reason: str, loss: str) -> None:
        super().__init__(
            f"the {server}'s file {path} is damaged ({reason}): "
            f"restore it from a copy, or delete it to {loss}, and start again"
        )


class RestError(Exception):
    """A request that is answered with an error.

    ``code`` and ``inner`` are the codes in the body; ``retry_after`` (seconds) becomes the header of that name.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    inner: ClassVar[str | None] = None
    retry_after: int | None = None

    def __init_subclass__(cls, *, status: HTTPStatus | None = None, code: str = "", inner: str | None = None) -> None:
        super().__init_subclass__()
        cls.status, cls.code, cls.inner = status or cls.status, code or cls.code, inner


class BadRequest(RestError, status=HTTPStatus.BAD_REQUEST, code="BadRequest"):
    """The request is malformed, or breaks a rule."""


class Unauthorized(RestError, status=HTTPStatus.UNAUTHORIZED, code="Unauthorized"):
    """The token is missing or invalid."""


class NotFound(RestError, status=HTTPStatus.NOT_FOUND, code="NotFound"):
    """The resource does not exist."""


class Throttled(RestError, status=HTTPStatus.TOO_MANY_REQUESTS, code="TooManyRequests"):
    """Too many requests; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests: try again after the time in Retry-After.")
        self.retry_after = retry_after


class InternalError(RestError, status=HTTPStatus.INTERNAL_SERVER_ERROR, code="InternalServerError"):
    """The server failed."""

    def __init__(self) -> None:
        super().__init__("The service encountered an internal error; try again.")


class Unavailable(RestError, status=HTTPStatus.SERVICE_UNAVAILABLE, code="ServiceUnavailable"):
    """The server is unavailable or stopping; ``retry_after`` is in seconds, None where it is unknown."""

    def __init__(self, retry_after: int | None = None) -> None:
        super().__init__("The service is not available.")
        self.retry_after = retry_after
