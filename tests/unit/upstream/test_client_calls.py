"""Single calls of a client, on the test's own clock: what they count as, which key they use, and how they fail."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from grpc import ChannelConnectivity as State
from grpc import StatusCode

from shared import errors
from shared.settings import ServiceSettings, Tls
from shared.telemetry import RequestContext, metrics
from shared.telemetry.trace import Trace
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.retry import FORGOTTEN, PATIENCE
from tests.support.clock import Clock
from tests.support.clocked_client import (
    BOTH,
    NEW,
    REFRESH,
    Vault,
    call,
    client,
    failed,
    failing,
    longest_pauses,
    refusing,
    vault,
)
from tests.support.fake_network import REFUSED, FakeNetwork, Seen, failure, network

__all__ = ["client", "longest_pauses", "network", "vault"]


def context(clock: Clock, seconds: float = 10) -> RequestContext:
    return RequestContext("request", clock.now + seconds)


async def test_a_tracked_call_counts_its_images_while_it_is_with_the_service(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    admission, seen = Admission(100, 10), []

    async def respond(_: Seen) -> bytes:
        seen.append(repr(admission))
        return b"response"

    network.respond = respond
    network.channels[0].drop()
    connecting = asyncio.create_task(client.call("/method", b"", context(clock), admission=admission))
    await asyncio.sleep(network.handshake / 2)
    assert ", 0 sent" in repr(admission), "not while the connection is being made"
    await connecting
    await client.call("/method", b"", context(clock), admission=admission, images=5)

    assert [", 1 sent" in seen[0], ", 5 sent" in seen[1], ", 0 sent" in repr(admission)] == [True] * 3


@pytest.mark.parametrize(
    ("code", "kind", "limit"),
    [
        (StatusCode.RESOURCE_EXHAUSTED, errors.ServiceBusy, "of 2.0 images"),
        (StatusCode.INTERNAL, errors.ServiceFailed, "of 64.0 images"),
    ],
)
async def test_a_service_without_capacity_reduces_the_limit(
    network: FakeNetwork, client: ServiceClient, clock: Clock, code: StatusCode, kind: type[Exception], limit: str
) -> None:
    admission = Admission(100, 10)
    network.respond = failing([code])

    with pytest.raises(kind), admission.permit(4, context(clock)):
        await client.call("/method", b"", context(clock), admission=admission)

    assert limit in repr(admission)
    assert len(network.calls) == 1


async def test_the_key_that_was_accepted_is_first_only_among_the_keys_that_it_was_one_of(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.respond = refusing("two", "alpha", "zulu")
    for keys in (("alpha", "beta"), ("zulu", "yankee")):
        await call(client, clock)
        vault.keys = keys
        await asyncio.sleep(REFRESH)
        await call(client, clock)  # starts the refresh
        await asyncio.sleep(1)
        network.calls.clear()
        await call(client, clock)
        assert network.keys == [keys[0]]
    vault.keys = ()
    await asyncio.sleep(REFRESH)
    await call(client, clock)
    await asyncio.sleep(1)
    network.respond = None
    await call(client, clock)
    assert dict(network.calls[-1].metadata) == {}, "a service that asks for no key gets none"


async def test_a_call_is_counted_and_traced_by_its_method_and_status(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    before = {key: list(point) for key, point in metrics.CALL_DURATION.points.items()}
    trace = Trace("0" * 31 + "1", "0" * 15 + "2")
    for code in (None, StatusCode.INVALID_ARGUMENT):
        network.respond = failing([code]) if code else None
        with contextlib.suppress(errors.ServiceRejected):
            await client.call("/package.Service/Method", b"", replace(context(clock), trace=trace))

    rejected = "INVALID_ARGUMENT"
    for attributes in (("OK", ""), (rejected, rejected)):
        key = ("grpc", "package.Service/Method", *attributes, "cats")
        found, earlier = (sum(points.get(key, [0])[1:]) for points in (metrics.CALL_DURATION.points, before))
        assert found - earlier == 1
    assert [(one.method, one.status) for one in trace.calls] == [
        ("package.Service/Method", "OK"),
        ("package.Service/Method", rejected),
    ]


@pytest.mark.parametrize("presents", [True, False])
@pytest.mark.parametrize("details", ["Socket closed", REFUSED])
async def test_a_connection_that_is_closed_at_once_may_be_the_client_certificate_s_fault(
    network: FakeNetwork, vault: Vault, clock: Clock, presents: bool, details: str
) -> None:
    settings = ServiceSettings("cats", "localhost", client_certificate_secret="certificate" if presents else "")
    client = ServiceClient(settings, vault.cache)
    network.up, network.details = False, details

    error, _ = await failed(client, clock)

    refused = presents and details == "Socket closed"
    assert type(error) is (errors.ClientCertificateRefused if refused else errors.ServiceUnreachable)
    await client.close()


async def test_with_a_client_certificate_other_errors_stay_what_they_are(
    network: FakeNetwork, vault: Vault, clock: Clock
) -> None:
    settings = ServiceSettings("cats", "localhost", client_certificate_secret="certificate")
    client = ServiceClient(settings, vault.cache)

    async def respond(_: Seen) -> bytes:
        raise failure(StatusCode.INVALID_ARGUMENT, "Socket closed")

    network.respond = respond

    assert isinstance((await failed(client, clock))[0], errors.ServiceRejected)
    await client.close()


async def test_a_question_is_asked_once_with_the_first_key(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    assert await client.call_once("/status", b"", context(clock)) == b"response"
    assert (network.calls[-1].method, network.keys) == ("/status", ["one"])
    network.calls.clear()

    for code, kind in [
        (StatusCode.UNAVAILABLE, errors.ServiceUnreachable),
        (StatusCode.UNAUTHENTICATED, errors.KeysRefused),
    ]:
        network.respond = failing([code])
        with pytest.raises(kind):
            await client.call_once("/status", b"", context(clock))
    assert network.keys == ["one", "one"]


async def test_a_question_that_is_answered_ends_an_outage_and_a_withdrawal(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    vault.pins = NEW
    await asyncio.sleep(3)
    for _ in range(2):
        error, _ = await failed(client, clock)
    assert "withdrawn" in error.detail
    network.up = True
    await asyncio.sleep(0.5)
    assert client.channel_state != "none"

    await client.call_once("/status", b"", context(clock))
    assert client.channel_state == "ready"

    network.up, network.details = False, REFUSED
    network.channels[-1].drop(State.TRANSIENT_FAILURE)
    error, took = await failed(client, clock)
    assert "withdrawn" not in error.detail
    assert took == pytest.approx(PATIENCE, abs=0.011)


async def test_a_service_without_tls_is_waited_for_and_gets_no_key(network: FakeNetwork, clock: Clock) -> None:
    client = ServiceClient(ServiceSettings("cats", "localhost", tls=Tls.INSECURE), None)
    assert await client.call_once("/status", b"", context(clock)) == b"response"
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    waiting = asyncio.create_task(call(client, clock))
    await asyncio.sleep(1)
    network.up = True

    assert await waiting == b"response"
    assert network.keys == ["", ""]
    network.respond = failing([StatusCode.UNAUTHENTICATED] * 3)
    assert isinstance((await failed(client, clock))[0], errors.KeysRefused)
    await client.close()


async def test_pins_that_appear_while_a_connection_is_waited_for_are_used(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.accepts, network.details = lambda roots: b"new " in roots, REFUSED
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await asyncio.sleep(FORGOTTEN)
    waiting = asyncio.create_task(call(client, clock))
    await asyncio.sleep(0.6)
    vault.pins = BOTH
    start = clock.now

    assert await waiting == b"response"
    assert clock.now - start < PATIENCE - 0.6
    assert network.calls[-1].channel == 1


@pytest.mark.usefixtures("longest_pauses")
@pytest.mark.parametrize(("seconds", "took"), [(10, 2.0), (1, 0.97)])
async def test_an_untrusted_service_is_tried_for_as_long_as_any_trouble_is_waited_out(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault, seconds: float, took: float
) -> None:
    network.accepts = lambda _roots: False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await asyncio.sleep(FORGOTTEN)
    before = vault.reads

    error, waited = await failed(client, clock, seconds)

    assert isinstance(error, errors.ServiceUntrusted)
    assert waited == pytest.approx(took, abs=0.05)
    assert vault.reads - before == (2 if seconds > PATIENCE else 1)


async def test_a_fault_in_the_search_for_newer_pins_is_raised(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(_used: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(vault.cache, "newer_than", fault)
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)

    with pytest.raises(LookupError, match="a fault"):
        await call(client, clock)
