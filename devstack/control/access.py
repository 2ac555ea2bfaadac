"""Who may use the control plane: the bearer token of a request."""

import re

from devstack import tokens
from devstack.control.errors import Unauthorized
from devstack.tokens import Problem, TokenRefused

AUDIENCE = "https://management.azure.com/"
"""The resource that a token must be for: Azure Resource Manager's, as the real control plane asks."""

_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


def challenge(tenant: str) -> str:
    """The ``WWW-Authenticate`` header of a 401 (RFC 6750, section 3)."""
    return f'Bearer authorization_uri="https://login.microsoftonline.com/{tenant}", error="invalid_token"'


def authenticate(authorization: str | None, key: bytes, *, audience: str, tenant: str, now: float) -> None:
    """Check an ``Authorization`` header. The audience is taken with and without a slash at its end, as ARM takes it:
    client libraries ask for a token for either.

    Raises:
        Unauthorized: there is none, or its token does not hold.
    """
    bearer = _BEARER.fullmatch(authorization or "")
    if bearer is None:
        raise Unauthorized("The request has no bearer token: send Authorization: Bearer TOKEN.")
    bare = audience.rstrip("/")
    try:
        try:
            tokens.verify(bearer[1], key, audience=bare, tenant=tenant, now=now)
        except TokenRefused as refused:
            if refused.problem is not Problem.AUDIENCE:
                raise
            tokens.verify(bearer[1], key, audience=f"{bare}/", tenant=tenant, now=now)
    except TokenRefused as refused:
        raise Unauthorized(_worded(refused, audience)) from None


def _worded(refused: TokenRefused, audience: str) -> str:
    if refused.problem is Problem.AUDIENCE:
        return f"The token is for {refused.found}; one for {audience} is needed."
    return f"The token does not hold ({refused})."
