"""The application around a REST server's handlers: tokens, bodies, errors."""

import logging
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import ClassVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.rest.access import Gate
from devstack.rest.bodies import Json, read_body
from devstack.rest.errors import InternalError, RestError, Unauthorized

type Handler = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("devstack")


class RestApp(ABC):
    """A server's routes, and the processing around their handlers."""

    unknown_route: ClassVar[str]
    """The message for a path or a method that no route has."""
    challenge = ""
    """The ``WWW-Authenticate`` header of a 401."""

    @abstractmethod
    def routes(self) -> list[Route]:
        """The routes, whose endpoints are made by :meth:`answering`."""

    @abstractmethod
    def error_body(self, status: HTTPStatus, code: str, inner: str | None, message: str) -> Json:
        """The body of an error."""

    def headers(self, _request: Request) -> dict[str, str]:
        """The headers of every answer."""
        return {}

    def asgi(self) -> Starlette:
        """The application to serve."""
        app = Starlette(
            routes=self.routes(), exception_handlers={HTTPException: self._unrouted, Exception: self._failed}
        )
        # A redirect from one spelling of a path to the other would cost clients their Authorization header.
        app.router.redirect_slashes = False
        return app

    def answering(self, handler: Handler) -> Handler:
        """An endpoint that turns the handler's errors into error bodies, and adds the headers of every answer."""

        async def endpoint(request: Request) -> Response:
            try:
                response = await handler(request)
            except RestError as error:
                response = self._error(error)
            except ClientDisconnect:
                response = Response()  # it is not sent
            except OSError as error:
                _log.error("cannot write the state: %s", error)
                response = self._error(InternalError())
            response.headers.update(self.headers(request))
            return response

        return endpoint

    def _error(self, error: RestError) -> Response:
        body = self.error_body(error.status, error.code, error.inner, str(error))
        response = JSONResponse(body, status_code=error.status)
        if isinstance(error, Unauthorized) and self.challenge:
            response.headers["WWW-Authenticate"] = self.challenge
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    async def _unrouted(self, _request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        status = HTTPStatus(error.status_code)
        body = self.error_body(status, status.phrase.title().replace(" ", ""), None, self.unknown_route)
        return JSONResponse(body, status_code=status, headers=error.headers)

    async def _failed(self, _request: Request, _error: Exception) -> Response:
        """The answer to a bug; the server logs the cause."""
        return self._error(InternalError())


class GuardedApp(RestApp):
    """A server whose requests need a token of ``gate``."""

    max_body: ClassVar[int]
    """Bytes of a request's body."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.challenge = gate.challenge

    def admin(self, path: str, handler: Handler) -> Route:
        """A route of the admin API, which needs the same token."""

        async def endpoint(request: Request) -> Response:
            self.gate.authenticate(request)
            await self.read_body(request)
            return await handler(request)

        return Route(path, self.answering(endpoint), methods=["GET", "PUT", "DELETE"])

    async def read_body(self, request: Request) -> None:
        """Read the body into ``request.state.body``."""
        request.state.body = await read_body(request, self.max_body)


def base_url(request: Request) -> str:
    """The scheme and host that the client used, and so can use again."""
    return f"{request.url.scheme}://{request.url.netloc}"


def new_id() -> str:
    """An id for a request or an answer."""
    return str(uuid.uuid4())
