"""Who may use the vault: the bearer token of a request, and the challenge for one without.

The challenge tells a client where to get a token and for which resource ("Authentication, requests and responses"
of Key Vault); clients send their first request without a token to provoke it.
"""

import re

from devstack import tokens
from devstack.tokens import Identity, Problem, TokenRefused
from devstack.vault.errors import Unauthorized

RESOURCE = "https://vault.azure.net"

_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


def challenge(tenant: str) -> str:
    """The ``WWW-Authenticate`` header of a 401."""
    return f'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="{RESOURCE}"'


def authenticate(authorization: str | None, key: bytes, *, tenant: str, now: float) -> Identity:
    """Check an ``Authorization`` header and return whom it speaks for.

    Raises:
        Unauthorized: there is none, or its token does not hold.
    """
    bearer = _BEARER.fullmatch(authorization or "")
    if bearer is None:
        raise Unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
    try:
        return tokens.verify(bearer[1], key, audience=RESOURCE, tenant=tenant, now=now)
    except TokenRefused as refused:
        raise Unauthorized(_worded(refused, tenant)) from None


def caller(identity: Identity, tenant: str) -> str:
    """How the service names a caller in its messages."""
    return f"appid={identity.client_id};oid={identity.object_id};iss={tokens.issuer(tenant)}"


def _worded(refused: TokenRefused, tenant: str) -> str:
    match refused.problem:
        case Problem.AUDIENCE:
            return f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {refused.found}."
        case Problem.ISSUER:
            return f"AKV10032: Invalid issuer. Expected one of {tokens.issuer(tenant)}, found {refused.found}."
        case Problem.SIGNATURE:
            return "AKV10046: Unable to resolve the key used for signature validation."
        case Problem.EXPIRED:
            return "Error validating token: IDX10223: Lifetime validation failed. The token is expired."
        case Problem.NOT_YET_VALID:
            return "Error validating token: IDX10222: Lifetime validation failed. The token is not yet valid."
        case Problem.MALFORMED:
            return "Error validating token: IDX12741: the token is not a well-formed JWT."
