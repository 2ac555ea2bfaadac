"""Which token request is granted, and what the answer says."""

from http import HTTPStatus

import pytest

from devstack import tokens
from devstack.identity.app import Issuer, Refused, grant
from devstack.tokens import SYSTEM_ASSIGNED, Identity

KEY = bytes(range(32))
NOW = 1_800_000_000.9
VAULT = "https://vault.azure.net"
QUERY = {"api-version": "2019-08-01", "resource": VAULT}

ISSUER = Issuer(key=KEY, header="secret", clock=lambda: NOW)


def holder(answer: dict[str, str], resource: str = VAULT) -> Identity:
    return tokens.verify(answer["access_token"], KEY, audience=resource, now=NOW)


def test_a_token_for_the_app_itself_lives_a_day() -> None:
    answer = grant(ISSUER, "secret", QUERY)

    assert holder(answer) == SYSTEM_ASSIGNED
    del answer["access_token"]
    assert answer == {
        "expires_on": "1800086400",
        "resource": VAULT,
        "token_type": "Bearer",
        "client_id": SYSTEM_ASSIGNED.client_id,
    }


def test_a_token_is_for_the_resource_that_was_asked_for() -> None:
    answer = grant(ISSUER, "secret", {**QUERY, "resource": "https://management.azure.com/"})

    assert answer["resource"] == "https://management.azure.com/"
    assert holder(answer, "https://management.azure.com/") == SYSTEM_ASSIGNED


def test_lifetime_and_tenant_are_the_issuers() -> None:
    answer = grant(Issuer(key=KEY, header="secret", tenant="other", lifetime=60, clock=lambda: NOW), "secret", QUERY)

    assert answer["expires_on"] == "1800000060"
    assert tokens.verify(answer["access_token"], KEY, audience=VAULT, now=NOW, tenant="other") == SYSTEM_ASSIGNED


def test_a_user_assigned_identity_is_the_one_that_was_named() -> None:
    by_client = grant(ISSUER, "secret", {**QUERY, "client_id": "the-app"})
    by_object = grant(ISSUER, "secret", {**QUERY, "object_id": "the-object"})
    by_principal = grant(ISSUER, "secret", {**QUERY, "principal_id": "the-object"})
    by_resource = grant(ISSUER, "secret", {**QUERY, "mi_res_id": "/subscriptions/S/ids/Blue"})
    by_resource_again = grant(ISSUER, "secret", {**QUERY, "mi_res_id": "/subscriptions/s/ids/blue"})

    assert by_client["client_id"] == holder(by_client).client_id == "the-app"
    assert holder(by_object) == holder(by_principal)
    assert holder(by_object).object_id == "the-object"
    assert holder(by_resource) == holder(by_resource_again)
    everyone = {SYSTEM_ASSIGNED, holder(by_client), holder(by_object), holder(by_resource)}
    assert len(everyone) == 4


@pytest.mark.parametrize("header", [None, "", "wrong", "SECRET", "sécret"])
def test_without_the_right_header_there_is_no_token(header: str | None) -> None:
    with pytest.raises(Refused, match="X-IDENTITY-HEADER is missing or wrong") as refused:
        grant(ISSUER, header, QUERY)

    assert refused.value.status == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"api-version": "2019-08-01"}, "names no resource"),
        ({"api-version": "2019-08-01", "resource": ""}, "names no resource"),
        ({"resource": VAULT}, "api-version must be 2019-08-01, not None"),
        ({"resource": VAULT, "api-version": "2017-09-01"}, "api-version must be 2019-08-01, not '2017-09-01'"),
        ({**QUERY, "client_id": "a", "mi_res_id": "b"}, "names an identity twice: send one of client_id, mi_res_id"),
    ],
)
def test_a_query_that_lacks_or_misnames_something_is_refused(query: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        grant(ISSUER, "secret", query)

    assert refused.value.status == HTTPStatus.BAD_REQUEST
