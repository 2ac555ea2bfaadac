"""Access tokens: what they say, and every reason to refuse one."""

from pathlib import Path
from typing import Any

import jwt
import pytest

from devstack import tokens
from devstack.tokens import Identity, Problem, TokenRefused

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
NOW = 1_800_000_000.5
VAULT = "https://vault.azure.net"


def forged(key: bytes = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    token = tokens.issue(KEY, resource=VAULT, now=NOW).value
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    return jwt.encode({name: claim for name, claim in claims.items() if claim is not None}, key, algorithm)


def refusal(token: str, now: float = NOW) -> tuple[Problem, str]:
    with pytest.raises(TokenRefused) as refused:
        tokens.verify(token, KEY, audience=VAULT, now=now)
    return refused.value.problem, refused.value.found


def test_a_token_speaks_for_the_identity_it_was_issued_to() -> None:
    identity = Identity(client_id="the-app", object_id="its-object")

    token = tokens.issue(KEY, resource=VAULT, now=NOW, identity=identity)

    assert tokens.verify(token.value, KEY, audience=VAULT, now=NOW) == identity


def test_a_token_has_the_claims_of_a_real_one() -> None:
    token = tokens.issue(KEY, resource=VAULT, now=NOW, tenant="the-tenant", lifetime=3600)

    claims = jwt.decode(token.value, options={"verify_signature": False})
    uti = claims.pop("uti")
    identity = tokens.SYSTEM_ASSIGNED
    assert claims == {
        "aud": VAULT,
        "iss": "https://sts.windows.net/the-tenant/",
        "idp": "https://sts.windows.net/the-tenant/",
        "tid": "the-tenant",
        "iat": 1_799_999_700,
        "nbf": 1_799_999_700,
        "exp": 1_800_003_600,
        "appid": identity.client_id,
        "appidacr": "2",
        "idtyp": "app",
        "oid": identity.object_id,
        "sub": identity.object_id,
        "ver": "1.0",
    }
    assert token.expires_on == 1_800_003_600
    assert len(uti) == 22


def test_two_tokens_are_never_the_same() -> None:
    assert tokens.issue(KEY, resource=VAULT, now=NOW).value != tokens.issue(KEY, resource=VAULT, now=NOW).value


def test_a_token_holds_from_its_first_second_to_its_last() -> None:
    token = forged(nbf=1000, exp=2000)

    assert tokens.verify(token, KEY, audience=VAULT, now=1000) == tokens.SYSTEM_ASSIGNED
    assert tokens.verify(token, KEY, audience=VAULT, now=1999.9) == tokens.SYSTEM_ASSIGNED
    assert refusal(token, now=999.9) == (Problem.NOT_YET_VALID, "")
    assert refusal(token, now=2000) == (Problem.EXPIRED, "")


@pytest.mark.parametrize(
    ("token", "problem", "found"),
    [
        (forged(key=OTHER_KEY), Problem.SIGNATURE, ""),
        (forged(key=bytes(64), algorithm="HS512"), Problem.SIGNATURE, ""),
        (jwt.encode({"aud": VAULT}, "", algorithm="none"), Problem.SIGNATURE, ""),
        (forged(aud="https://vault.azure.net/"), Problem.AUDIENCE, "https://vault.azure.net/"),
        (forged(aud="https://management.azure.com"), Problem.AUDIENCE, "https://management.azure.com"),
        (forged(iss="https://sts.windows.net/other/"), Problem.ISSUER, "https://sts.windows.net/other/"),
        (forged(exp=None), Problem.MALFORMED, ""),
        (forged(oid=None), Problem.MALFORMED, ""),
        ("not.a.token", Problem.MALFORMED, ""),
        ("nothing", Problem.MALFORMED, ""),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_its_cause(token: str, problem: Problem, found: str) -> None:
    assert refusal(token) == (problem, found)


def test_the_same_name_gives_the_same_identity() -> None:
    assert Identity.user_assigned("blue") == Identity.user_assigned("blue")
    assert Identity.user_assigned("blue") != Identity.user_assigned("green")


def test_neither_a_token_nor_a_key_shows_in_a_representation() -> None:
    token = tokens.issue(KEY, resource=VAULT, now=NOW)

    assert token.value not in repr(token)


def test_a_short_or_missing_signing_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(bytes(31))

    with pytest.raises(ValueError, match=r"short has 31 bytes, HS256 needs 32 or more; make one with: head -c 32"):
        tokens.read_signing_key(short)
    with pytest.raises(ValueError, match=r"cannot read the signing key .*gone: No such file or directory; make one"):
        tokens.read_signing_key(tmp_path / "gone")
