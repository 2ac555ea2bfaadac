"""What a client does, and when: attempts, keys, pauses, patience and channels, on the test's own clock."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from grpc import ChannelConnectivity as State
from grpc import StatusCode

from shared import errors
from shared.credentials.pins import Pins
from shared.errors import GatewayError
from shared.upstream.channel import CONNECT_SECONDS
from shared.upstream.client import ServiceClient
from shared.upstream.retry import FORGOTTEN, MARGIN, PATIENCE, SAVED
from shared.upstream.slot import RETRY_SECONDS, short
from tests.support.clock import Clock
from tests.support.clocked_client import (
    ALL,
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


async def test_each_key_is_tried_once_and_the_accepted_one_first_from_then_on(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.respond = refusing("two")
    await asyncio.sleep(10)

    for _ in range(3):
        await call(client, clock)

    assert network.keys == ["one", "two", "two", "two"]
    assert vault.reads == 1


async def test_refused_keys_are_not_sent_again_beside_newer_ones(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.respond, vault.keys = refusing("four"), ("two", "three", "four")
    clock.now += 10

    await call(client, clock)

    assert network.keys == ["one", "two", "three", "four"]
    assert vault.reads == 2


async def test_where_no_key_is_accepted_each_call_tries_each_key_once(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.respond = refusing()
    clock.now += 10

    for _ in range(3):
        error, _ = await failed(client, clock)
        assert isinstance(error, errors.KeysRefused)

    assert network.keys == ["one", "two"] * 3
    assert vault.reads == 2


@pytest.mark.usefixtures("longest_pauses")
async def test_the_pauses_between_attempts_double_up_to_the_longest(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    network.respond = failing([StatusCode.UNAVAILABLE] * 7)

    await call(client, clock)

    assert network.times == [0, 0.02, 0.06, 0.14, 0.3, 0.62, 1.12, 1.62]


@pytest.mark.parametrize(("seconds", "patience"), [(10, 2.0), (1, 0.97)])
async def test_an_outage_is_waited_out_as_long_as_stated(
    network: FakeNetwork, client: ServiceClient, clock: Clock, seconds: float, patience: float
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)

    error, took = await failed(client, clock, seconds)

    assert isinstance(error, errors.ServiceUnreachable)
    assert took == pytest.approx(patience, abs=0.011)  # and a last read of the vault
    assert network.calls == []


async def test_a_service_that_is_back_in_time_costs_no_call(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    waiting = asyncio.create_task(call(client, clock))
    await asyncio.sleep(PATIENCE - 0.5)
    network.up = True

    assert await waiting == b"response"


async def test_later_calls_of_an_outage_wait_no_more_but_a_later_outage_has_its_own_patience(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await failed(client, clock)
    assert (await failed(client, clock))[1] <= 0.3

    # No call has succeeded since, and one breaks an hour later.
    await asyncio.sleep(3600)
    network.up, network.respond = True, failing([StatusCode.UNAVAILABLE])

    assert await call(client, clock) == b"response"


async def test_in_a_long_outage_each_call_looks_for_newer_pins_once(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    """gRPC reports the last address only: another's certificate may be what is missing."""
    network.accepts, network.details = lambda roots: b"new " in roots, REFUSED
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await failed(client, clock)
    await asyncio.sleep(1)
    reads = vault.reads
    await failed(client, clock)
    assert vault.reads == reads + 1

    await asyncio.sleep(3)
    vault.pins = BOTH

    assert await call(client, clock) == b"response"
    assert network.calls[-1].channel == 1


async def test_after_a_withdrawal_an_outage_names_it_until_a_call_succeeds(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    error, _ = await failed(client, clock)
    assert "withdrawn" not in error.detail

    vault.pins = NEW
    await asyncio.sleep(3)
    for _ in range(2):
        error, _ = await failed(client, clock)
    assert error.detail.endswith("Trust was withdrawn from old: it is no longer pinned, or has expired.")

    network.up = True
    await asyncio.sleep(FORGOTTEN + 1)
    await call(client, clock)
    network.up = False
    network.channels[-1].drop(State.TRANSIENT_FAILURE)
    error, _ = await failed(client, clock)
    assert "withdrawn" not in error.detail


async def test_an_outage_that_calls_keep_meeting_is_not_waited_out_again(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await failed(client, clock)

    for _ in range(10):
        await asyncio.sleep(4.7)  # an outage is over after five seconds that no call has met it in
        assert (await failed(client, clock))[1] <= 0.3


@pytest.mark.parametrize("response", [StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED, StatusCode.INTERNAL])
async def test_a_service_that_responds_with_an_error_is_not_down(
    network: FakeNetwork, client: ServiceClient, clock: Clock, response: StatusCode
) -> None:
    network.up = False
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    await failed(client, clock)
    network.up = True
    await asyncio.sleep(1)

    network.respond = failing([response] * 2)
    with suppress(GatewayError):
        await call(client, clock)
    network.respond = failing([StatusCode.UNAVAILABLE])

    assert await call(client, clock) == b"response"


async def test_it_is_known_without_a_call_whether_the_service_responds(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    def responds() -> bool:
        return client.responds

    assert responds()

    network.channels[0].drop()
    assert not responds()
    await call(client, clock)
    assert responds()

    # The connection stays, to a proxy perhaps, and calls over it fail: from the first one on, before its retries end.
    network.respond = failing([StatusCode.UNAVAILABLE] * 1000)
    calling = asyncio.create_task(failed(client, clock))
    await asyncio.sleep(0.01)
    assert client.channel_state == "ready"
    assert not responds()
    await calling
    network.respond = failing([])
    await call(client, clock)
    assert responds()


async def test_after_the_saved_retries_each_is_earned_by_five_calls(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    async def respond(_: Seen) -> bytes:
        raise failure(StatusCode.UNAVAILABLE, "Socket closed")

    network.respond = respond
    while len(network.calls) < 1000:
        await asyncio.sleep(FORGOTTEN + 1)  # each call would wait for two seconds
        with suppress(GatewayError):
            await call(client, clock)
    calls = len({seen.at for seen in network.calls})
    assert calls == 1000  # no two attempts at once

    started = len(network.calls)
    for _ in range(50):
        await asyncio.sleep(FORGOTTEN + 1)
        with suppress(GatewayError):
            await call(client, clock)
    assert len(network.calls) - started == 50 * 1.2
    assert SAVED == 100


async def test_a_replaced_channel_is_closed_after_its_last_call(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.respond = first_call(3 * REFRESH, None)
    slow = asyncio.create_task(call(client, clock, 4 * REFRESH))
    await asyncio.sleep(0.1)
    await renewed(client, clock, vault, BOTH)
    assert [channel.closed_at for channel in network.channels] == [None, None]

    await slow
    ended = clock.now
    await asyncio.sleep(1)
    assert [channel.closed_at for channel in network.channels] == [ended, None]


def first_call(seconds: float, error: StatusCode | None) -> Callable[[Seen], Awaitable[bytes]]:
    """A service whose next call takes so long, and may then fail."""
    seen: list[Seen] = []

    async def respond(one: Seen) -> bytes:
        seen.append(one)
        if len(seen) == 1:
            await asyncio.sleep(seconds)
            if error is not None:
                raise failure(error)
        return b"response"

    return respond


async def renewed(client: ServiceClient, clock: Clock, vault: Vault, pins: Pins) -> None:
    """Store pins, and make calls until the live channel has them."""
    vault.pins = pins
    await asyncio.sleep(REFRESH)
    for _ in range(20):
        await call(client, clock)
        await asyncio.sleep(0.1)
    assert f"{pins!r}>>" in repr(client)


async def test_a_removed_pin_ends_the_use_of_its_channel_at_once_though_the_next_does_not_connect(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.hangs, vault.pins = lambda _roots: True, NEW
    await asyncio.sleep(REFRESH)
    await call(client, clock)  # starts the refresh
    await asyncio.sleep(1)
    network.calls.clear()

    error, took = await failed(client, clock, 3)

    assert isinstance(error, errors.DeadlineExceeded)
    assert took == pytest.approx(3, abs=0.01)
    assert network.calls == []
    assert [channel.closed_at is None for channel in network.channels] == [False, True]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "0" * 16),
        (3, ", ".join(one * 16 for one in "012")),
        (4, ", ".join(one * 16 for one in "012") + " and 1 more"),
    ],
)
def test_certificates_are_named_by_sixteen_digits_and_three_of_many(count: int, text: str) -> None:
    assert short(tuple(str(number) * 64 for number in range(count))) == text


async def test_a_successor_that_hangs_delays_no_call_and_is_given_up(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.hangs, vault.pins = lambda _roots: True, BOTH
    await asyncio.sleep(REFRESH)
    started = clock.now
    while clock.now < started + 20:
        before = clock.now
        assert await call(client, clock) == b"response"
        assert clock.now == before
        await asyncio.sleep(0.1)

    assert {seen.channel for seen in network.calls} == {0}
    first, second = network.channels[1:]
    assert first.closed_at == pytest.approx(started + CONNECT_SECONDS, abs=0.3)
    assert second.closed_at is None
    assert CONNECT_SECONDS + RETRY_SECONDS < 20


async def test_a_channel_that_went_idle_connects_at_the_next_call(
    network: FakeNetwork, client: ServiceClient, clock: Clock
) -> None:
    network.channels[0].drop(State.IDLE)
    before = clock.now

    assert await call(client, clock) == b"response"

    assert clock.now - before == pytest.approx(network.handshake)
    assert len(network.channels) == 1


async def test_a_renewal_that_hangs_ends_at_the_call_s_deadline_with_the_cause(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    network.accepts = network.hangs = lambda roots: b"new " in roots
    network.channels[0].drop(State.TRANSIENT_FAILURE)
    vault.pins = BOTH
    clock.now += 10

    error, took = await failed(client, clock, 3)

    assert isinstance(error, errors.ServiceUntrusted)
    assert took == pytest.approx(3 - MARGIN, abs=0.001)


async def test_a_call_that_is_refused_late_does_not_put_older_pins_back(
    network: FakeNetwork, client: ServiceClient, clock: Clock, vault: Vault
) -> None:
    """It began with the oldest pins, and ends while the newest are in use."""

    network.respond = first_call(3 * REFRESH, StatusCode.UNAUTHENTICATED)
    slow = asyncio.create_task(call(client, clock, 4 * REFRESH))
    await asyncio.sleep(0.1)
    await renewed(client, clock, vault, BOTH)
    await renewed(client, clock, vault, ALL)
    opened = len(network.channels)

    assert await slow == b"response"
    await asyncio.sleep(30)

    assert len(network.channels) == opened
    assert network.calls[-1].channel == opened - 1
    assert [channel.closed_at is None for channel in network.channels] == [False] * (opened - 1) + [True]
