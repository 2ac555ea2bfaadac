"""What a failed call's cause is with the settings that the gateway has."""

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from shared import errors
from shared.credentials.pins import Pins
from shared.settings import Auth, ServiceSettings, Tls, Trust
from shared.telemetry import RequestContext
from shared.upstream.causes import cause
from shared.upstream.client import ServiceClient
from shared.upstream.configured import as_configured
from tests.support.clock import Clock
from tests.support.clocked_client import Vault, client, failed, failing, vault
from tests.support.fake_network import FakeNetwork, Seen, failure, network

__all__ = ["client", "network", "vault"]

UNTRUSTED = failure(StatusCode.UNAVAILABLE, "SSL: CERTIFICATE_VERIFY_FAILED: self-signed certificate")
FORGED = failure(StatusCode.UNAVAILABLE, "SSL: CERTIFICATE_VERIFY_FAILED: BAD_SIGNATURE")
REFUSED = failure(StatusCode.UNAUTHENTICATED, "no key")
FORBIDDEN = failure(StatusCode.PERMISSION_DENIED, "not this model")
CLOSED = failure(StatusCode.UNAVAILABLE, "Socket closed")


def settings(**own: object) -> ServiceSettings:
    return ServiceSettings("cats", "localhost", **own)  # type: ignore[arg-type] # the cases' values


@pytest.mark.parametrize(
    ("own", "error", "kind", "detail"),
    [
        (
            {"trust": Trust.PUBLIC},
            UNTRUSTED,
            errors.AuthorityUntrusted,
            "no authority that the operating system trusts issued what the service presents.",
        ),
        ({"trust": Trust.PUBLIC, "trust_file": "a.pem"}, UNTRUSTED, errors.AuthorityUntrusted, "authority in TRUST_FI"),
        ({"auth": Auth.NONE}, REFUSED, errors.KeyExpected, "expects a key, and none was sent: AUTH is none."),
        ({"tls": Tls.INSECURE}, REFUSED, errors.KeyExpected, "none was sent: TLS is insecure-no-key-is-sent."),
        ({"auth": Auth.ENTRA}, REFUSED, errors.TokenRefused, "refuses the token of the app's identity."),
        ({"tls": Tls.INSECURE}, CLOSED, errors.ServiceUnreachable, "a service that expects TLS closes it."),
    ],
)
def test_the_settings_say_which_trust_key_or_tls_was_asked_for(
    own: dict[str, object], error: AioRpcError, kind: type[errors.GatewayError], detail: str
) -> None:
    found = as_configured(cause(error), settings(**own))

    assert type(found) is kind
    assert detail in found.detail


@pytest.mark.parametrize(
    ("own", "error"),
    [
        ({}, UNTRUSTED),
        ({"trust": Trust.BOTH}, UNTRUSTED),
        ({"trust": Trust.PUBLIC}, FORGED),
        ({}, REFUSED),
        ({"auth": Auth.BEARER}, REFUSED),
        ({"auth": Auth.NONE}, FORBIDDEN),
        ({}, CLOSED),
    ],
)
def test_what_they_add_nothing_to_stays(own: dict[str, object], error: AioRpcError) -> None:
    why = cause(error)

    assert as_configured(why, settings(**own)) is why


async def test_a_pin_that_has_expired_is_named_where_no_pin_matches(
    network: FakeNetwork, client: ServiceClient, vault: Vault, clock: Clock
) -> None:
    async def untrusted(_: Seen) -> bytes:
        raise UNTRUSTED

    await client.call("/method", b"", RequestContext("request", clock.now + 10))
    vault.pins = Pins(b"new ", ("new",), rejected=("pin 7c13 in 'cats-pins' expired on 2026-11-27",))
    network.respond = untrusted

    error, _ = await failed(client, clock)

    assert isinstance(error, errors.ServiceUntrusted)
    assert "no pin matches" in error.detail
    assert "Not trusted: pin 7c13 in 'cats-pins' expired on 2026-11-27." in error.detail


async def test_a_call_fails_with_the_cause_that_the_settings_explain(network: FakeNetwork, clock: Clock) -> None:
    network.respond = failing([StatusCode.UNAUTHENTICATED])
    client = ServiceClient(settings(tls=Tls.INSECURE), None)

    error, _ = await failed(client, clock)

    assert isinstance(error, errors.KeyExpected)
    assert "AUTH" in (error.remedy or "")
    await client.close()
