"""The slot of the live channel: what replaces it, when, and what becomes of the old one, on the test's own clock."""

import asyncio

import pytest

from shared.settings import ServiceSettings
from shared.upstream.channel import CONNECT_SECONDS, Target
from shared.upstream.slot import RETRY_SECONDS, ChannelSlot
from tests.support.clock import Clock
from tests.support.clocked_client import ALL, BOTH, NEW, OLD
from tests.support.fake_network import FakeNetwork, network

__all__ = ["network"]


@pytest.fixture
async def slot(network: FakeNetwork) -> ChannelSlot:
    """A slot whose live channel is connected, with the old pins."""
    assert network.channels == []
    slot = ChannelSlot(Target.of(ServiceSettings("cats", "localhost")))
    assert slot.state == "none"
    assert slot.withdrawn == ()
    assert not slot.has(OLD)
    with slot.channel(OLD) as channel:
        assert await channel.connected(1)
    return slot


def closed(network: FakeNetwork) -> list[bool]:
    return [channel.closed_at is not None for channel in network.channels]


async def test_the_same_pins_have_the_same_channel(slot: ChannelSlot, network: FakeNetwork) -> None:
    assert slot.channel(OLD) is slot.channel(OLD)
    assert await slot.renew(OLD)

    assert slot.has(OLD)
    assert not slot.has(BOTH)
    assert slot.state == "ready"
    assert repr(slot) == f"<ChannelSlot live=<Channel ready, 0 calls, {OLD!r}>>"
    assert len(network.channels) == 1


async def test_added_pins_replace_the_channel_once_theirs_is_connected(
    slot: ChannelSlot, network: FakeNetwork, clock: Clock
) -> None:
    live, start = slot.channel(OLD), clock.now

    assert {slot.channel(BOTH) for _ in range(3)} == {live}
    assert repr(slot).endswith(", replacement>")
    assert await slot.renew(BOTH)

    assert clock.now == pytest.approx(start + network.handshake)
    assert slot.has(BOTH)
    await asyncio.sleep(0.1)
    assert closed(network) == [True, False]
    assert repr(slot).endswith(f"{BOTH!r}>>")


async def test_newer_pins_end_a_replacement_that_is_connecting(slot: ChannelSlot, network: FakeNetwork) -> None:
    network.hangs = lambda roots: roots == BOTH.bundle
    outdated = asyncio.create_task(slot.renew(BOTH))
    await asyncio.sleep(1)

    newest = asyncio.create_task(slot.renew(ALL))
    await asyncio.sleep(network.handshake / 2)
    slot.channel(ALL)
    assert "replacement" in repr(slot)
    assert len(network.channels) == 3, "the end of the first leaves the second alone"

    assert await newest
    assert not await outdated
    await asyncio.sleep(0.1)
    assert closed(network) == [True, True, False]


async def test_a_replacement_that_does_not_connect_is_made_again_after_a_pause(
    slot: ChannelSlot, network: FakeNetwork, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    network.accepts = lambda roots: roots != BOTH.bundle

    assert not await slot.renew(BOTH)
    failed = clock.now
    while len(network.channels) < 3:
        slot.channel(BOTH)
        await asyncio.sleep(0.1)

    assert clock.now - failed == pytest.approx(RETRY_SECONDS, abs=0.2)
    assert slot.has(OLD)
    assert closed(network) == [False, True, True]
    assert "does not connect; the old one stays in use" in caplog.text
    await slot.close()


@pytest.mark.parametrize("connects", [True, False])
async def test_a_removed_pin_replaces_the_channel_whether_the_next_connects_or_not(
    slot: ChannelSlot, network: FakeNetwork, clock: Clock, connects: bool
) -> None:
    network.accepts = lambda roots: connects or roots == OLD.bundle

    assert await slot.renew(NEW) is connects

    assert slot.has(NEW)
    assert slot.withdrawn == ("old",)
    await asyncio.sleep(0.1)
    assert closed(network) == [True, False]
    assert slot.state == ("ready" if connects else "transient_failure")
    assert clock.now < 1000 + CONNECT_SECONDS


async def test_a_connection_made_for_pins_that_were_replaced_meanwhile_is_no_success(
    slot: ChannelSlot, network: FakeNetwork
) -> None:
    network.handshake = 1.0
    renewing = asyncio.create_task(slot.renew(NEW))
    await asyncio.sleep(0.5)
    slot.channel(OLD)

    assert not await renewing
    assert slot.has(OLD)


async def test_a_removed_pin_ends_a_replacement_that_still_trusts_it(slot: ChannelSlot, network: FakeNetwork) -> None:
    network.hangs = lambda roots: roots == BOTH.bundle
    slot.channel(BOTH)
    await asyncio.sleep(1)

    slot.channel(NEW)
    assert "replacement" not in repr(slot)
    network.hangs = lambda _roots: False
    await asyncio.sleep(CONNECT_SECONDS)

    assert slot.has(NEW)
    assert closed(network) == [True, True, False]


async def test_closing_ends_what_is_in_progress_at_once(slot: ChannelSlot, network: FakeNetwork, clock: Clock) -> None:
    network.hangs = lambda _roots: True
    renewing = asyncio.create_task(slot.renew(BOTH))
    await asyncio.sleep(1)
    before = clock.now

    await slot.close()

    assert clock.now == before
    assert closed(network) == [True, True]
    assert not await renewing
    assert slot.state == "none"
    await slot.close()
