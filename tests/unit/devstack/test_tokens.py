"""Access tokens. Each reason to refuse one: tests of the vault's REST API."""

import jwt

from devstack import tokens
from devstack.tokens import Identity

KEY = bytes(range(32))
NOW = 1_800_000_000.5
VAULT = "https://vault.azure.net"


def test_a_token_has_the_claims_of_a_real_one() -> None:
    identity = Identity(client_id="the-app", object_id="its-object")
    token = tokens.issue(KEY, resource=VAULT, now=NOW, tenant="the-tenant", lifetime=3600, identity=identity)

    claims = jwt.decode(token.value, options={"verify_signature": False})
    assert len(claims.pop("uti")) == 22
    issuer = "https://sts.windows.net/the-tenant/"
    assert claims == {
        "aud": VAULT,
        "iss": issuer,
        "idp": issuer,
        "tid": "the-tenant",
        "ver": "1.0",
        "iat": 1_799_999_700,
        "nbf": 1_799_999_700,
        "exp": 1_800_003_600,
        "appid": "the-app",
        "appidacr": "2",
        "idtyp": "app",
        "oid": "its-object",
        "sub": "its-object",
    }
    assert token.expires_on == 1_800_003_600
    assert token.value not in repr(token)
    assert tokens.verify(token.value, KEY, audiences=[VAULT], now=NOW, tenant="the-tenant") == identity
