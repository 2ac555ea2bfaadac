"""Access tokens of the local stack, in place of those that Microsoft Entra ID issues in Azure.

The claims are those of a real version 1.0 access token of a managed identity ("Access token claims reference" of
the Microsoft identity platform); the signature is HS256 (RFC 7518, section 3.2) instead of RS256, so that issuer
and verifier need one file and no key discovery.
"""

import base64
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import jwt

TENANT = "3f1d5b0e-7c24-4a86-9d0b-5e6a1c8f2b47"
"""The tenant of the local stack: a made-up identifier, the same on every machine."""

DAY = 24 * 60 * 60
"""Seconds. Tokens of managed identities are valid for about 24 hours ("How managed identities work", token caching)."""

_ALGORITHM = "HS256"

# RFC 7518, section 3.2: a key at least as long as the hash's output.
_MINIMUM_KEY_BYTES = 32

# Entra ID dates a token five minutes back, for verifiers whose clock is behind.
_BACKDATE = 5 * 60

_NAMESPACE = uuid.UUID("b5a3f0c6-1c5d-4a0c-8b3c-0d6f1f6a9e21")


@dataclass(frozen=True)
class Identity:
    """The identity that a token is issued to: the application and its object in the directory."""

    client_id: str
    object_id: str

    @classmethod
    def user_assigned(cls, name: str) -> Self:
        """The identity of that name (any identifier); the same name always gives the same identity."""
        return cls(client_id=_derived("client", name), object_id=_derived("object", name))


def _derived(kind: str, name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


SYSTEM_ASSIGNED = Identity.user_assigned("system-assigned")
"""The identity of an app that names none."""


@dataclass(frozen=True)
class Token:
    """An issued token and the time (Unix seconds) until which it is valid."""

    value: str = field(repr=False)
    expires_on: int


class Problem(StrEnum):
    """Why a token is refused."""

    MALFORMED = "malformed"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    AUDIENCE = "audience"
    ISSUER = "issuer"


class TokenRefused(Exception):
    """An invalid token; ``found`` is the wrong claim (empty where it is not a claim)."""

    def __init__(self, problem: Problem, found: str = "") -> None:
        super().__init__(f"{problem}: {found}" if found else str(problem))
        self.problem = problem
        self.found = found


def read_signing_key(path: Path) -> bytes:
    """Read the raw bytes of the key that signs tokens.

    Raises:
        ValueError: the file cannot be read, or is shorter than 32 bytes; the message names cause and remedy.
    """
    remedy = "make one with: head -c 32 /dev/urandom > FILE"
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the signing key {path}: {error.strerror}; {remedy}") from None
    if len(key) < _MINIMUM_KEY_BYTES:
        raise ValueError(
            f"the signing key {path} has {len(key)} bytes, HS256 needs {_MINIMUM_KEY_BYTES} or more; {remedy}"
        )
    return key


def issuer(tenant: str) -> str:
    """The issuer in version 1.0 tokens of ``tenant``."""
    return f"https://sts.windows.net/{tenant}/"


def issue(
    key: bytes,
    *,
    resource: str,
    now: float,
    identity: Identity = SYSTEM_ASSIGNED,
    tenant: str = TENANT,
    lifetime: int = DAY,
) -> Token:
    """Issue a token for ``resource`` that is valid for ``lifetime`` seconds from ``now`` (Unix time)."""
    issued, expires = int(now), int(now) + lifetime
    claims = {
        "aud": resource,
        "iss": issuer(tenant),
        "iat": issued - _BACKDATE,
        "nbf": issued - _BACKDATE,
        "exp": expires,
        "appid": identity.client_id,
        "appidacr": "2",
        "idp": issuer(tenant),
        "idtyp": "app",
        "oid": identity.object_id,
        "sub": identity.object_id,
        "tid": tenant,
        "uti": base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
        "ver": "1.0",
    }
    return Token(value=jwt.encode(claims, key, algorithm=_ALGORITHM), expires_on=expires)


def verify(token: str, key: bytes, *, audiences: Sequence[str], now: float, tenant: str = TENANT) -> Identity:
    """Check a token for one of ``audiences``; returns the identity that it was issued to.

    Raises:
        TokenRefused: the signature, a date, the audience or the issuer is wrong.
    """
    claims = _signed_claims(token, key)
    try:
        starts, ends = int(claims["nbf"]), int(claims["exp"])
        found_audience, found_issuer = str(claims["aud"]), str(claims["iss"])
        identity = Identity(client_id=str(claims["appid"]), object_id=str(claims["oid"]))
    except (KeyError, TypeError, ValueError):
        raise TokenRefused(Problem.MALFORMED) from None
    if now >= ends:
        raise TokenRefused(Problem.EXPIRED)
    if now < starts:
        raise TokenRefused(Problem.NOT_YET_VALID)
    if found_audience not in audiences:
        raise TokenRefused(Problem.AUDIENCE, found_audience)
    if found_issuer != issuer(tenant):
        raise TokenRefused(Problem.ISSUER, found_issuer)
    return identity


def _signed_claims(token: str, key: bytes) -> dict[str, Any]:
    try:
        # The library would compare the dates with the machine's clock; verify() uses the caller's.
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
        raise TokenRefused(Problem.SIGNATURE) from None
    except jwt.PyJWTError:
        raise TokenRefused(Problem.MALFORMED) from None
    return claims
