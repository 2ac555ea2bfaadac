"""Bearer tokens: which requests a server accepts, and its challenge for the others."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from devstack import tokens
from devstack.rest.errors import Unauthorized
from devstack.tokens import TENANT, Identity, TokenRefused

_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Gate:
    """Accepts tokens that are signed with ``key`` for one of ``audiences``; ``clock`` gives Unix seconds.

    ``challenge`` is the ``WWW-Authenticate`` header of a 401, ``explain`` its message (None: there was no token).
    """

    key: bytes
    audiences: tuple[str, ...]
    challenge: str
    explain: Callable[[TokenRefused | None], str]
    tenant: str = TENANT
    clock: Callable[[], float] = time.time

    def authenticate(self, request: Request) -> Identity:
        """Check the request's token and return the identity that it was issued to.

        Raises:
            Unauthorized: it is missing or invalid.
        """
        bearer = _BEARER.fullmatch(request.headers.get("authorization", ""))
        if bearer is None:
            raise Unauthorized(self.explain(None))
        try:
            return tokens.verify(bearer[1], self.key, audiences=self.audiences, tenant=self.tenant, now=self.clock())
        except TokenRefused as refused:
            raise Unauthorized(self.explain(refused)) from None
