"""A channel on a network that the test owns: what it is made of, what its calls carry, how it connects and ends."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from grpc import ChannelConnectivity as State
from grpc import StatusCode
from grpc.aio import AioRpcError

from shared.credentials.pins import ClientCertificate, Pins, Roots
from shared.settings import ServiceSettings, Tls
from shared.telemetry import RequestContext
from shared.upstream.channel import Channel, Target, channel_credentials
from tests.support.clock import Clock
from tests.support.fake_network import FakeNetwork, Seen, network

__all__ = ["network"]

PINS = Pins(b"pins ", ("one",))
PRESENTED = ClientCertificate(b"chain", b"key", "two", dt.datetime(2099, 1, 1, tzinfo=dt.UTC))


def made(address: str = "localhost", pins: Pins | None = PINS, **settings: Any) -> Channel:
    return Channel(Target.of(ServiceSettings("cats", address, **settings)), pins)


async def call(channel: Channel, clock: Clock, key: str | None = "secret", seconds: float = 3, *trace: str) -> bytes:
    with channel:
        context = RequestContext("request", clock.now + seconds, *trace)  # type: ignore[arg-type]
        return await channel.call("/method", b"request", key, context)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("cats.example.com", "dns:///cats.example.com:443"),
        ("10.0.0.4", "dns:///10.0.0.4:443"),
        ("::1", "dns:///[::1]:443"),
        ("10.0.0.4, 10.0.0.5", "ipv4:10.0.0.4:443,10.0.0.5:443"),
    ],
)
def test_the_target_of_an_address(network: FakeNetwork, address: str, target: str) -> None:
    made(address)

    [channel] = network.channels
    assert channel.target == target
    assert ("round_robin" in channel.options.get("grpc.service_config", "")) is ("," in address)


def test_what_a_channel_is_made_of(network: FakeNetwork) -> None:
    made()
    made(tls_name="cats.internal", authority="cats.authority")
    made(pins=Pins(b"pins ", ("one",), presents=PRESENTED))
    made(pins=None, tls=Tls.INSECURE)

    plain, named, mutual, insecure = network.channels
    assert plain.roots == b"pins "
    assert mutual.roots == (b"pins ", b"key", b"chain")
    assert insecure.roots is None
    added = {"grpc.ssl_target_name_override": "cats.internal", "grpc.default_authority": "cats.authority"}
    assert named.options == {**plain.options, **added}
    assert insecure.options == plain.options


def test_the_options_that_were_measured(network: FakeNetwork) -> None:
    made()

    [channel] = network.channels
    assert channel.options == {
        "grpc.max_send_message_length": 64 * 1024 * 1024,
        "grpc.max_receive_message_length": 4 * 1024 * 1024,
        "grpc.keepalive_time_ms": 1_500,
        "grpc.keepalive_timeout_ms": 1_000,
        "grpc.http2.ping_timeout_ms": 1_000,
        "grpc.keepalive_permit_without_calls": 0,
        "grpc.client_idle_timeout_ms": 180_000,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 500,
        "grpc.min_reconnect_backoff_ms": 5_000,
        "grpc.dns_min_time_between_resolutions_ms": 500,
        "grpc.enable_retries": 0,
        "grpc.use_local_subchannel_pool": 1,
    }


@pytest.mark.usefixtures("network")
def test_a_channel_with_tls_is_never_made_without_roots() -> None:
    with pytest.raises(RuntimeError, match="without pins"):
        made(pins=None)
    with pytest.raises(RuntimeError, match="gRPC would take the system's"):
        channel_credentials(Roots(b""))


async def test_what_a_call_carries(network: FakeNetwork, clock: Clock) -> None:
    bare, full = made(), made(auth_metadata="x-key", call_metadata=(("x-fixed", "1"),))

    await call(bare, clock, None)
    await call(full, clock, "secret", 3, "parent", "state")
    await call(full, clock, None, 0.0001)

    first, second, late = network.calls
    assert first.method == "/method"
    assert first.timeout == pytest.approx(3)
    assert first.metadata == ()
    carried = ("x-fixed", "1"), ("x-key", "secret"), ("traceparent", "parent"), ("tracestate", "state")
    assert second.metadata == carried
    assert late.timeout == 0.001
    assert network.channels[1].opened == ["/method"], "gRPC's callable is kept"


async def test_a_key_is_never_sent_without_tls(network: FakeNetwork, clock: Clock) -> None:
    channel = made(pins=None, tls=Tls.INSECURE)

    with pytest.raises(RuntimeError, match="never be sent without TLS"):
        await call(channel, clock)
    assert network.calls == []
    assert await call(channel, clock, None) == b"response"


async def test_a_connection_that_hangs_is_given_up_in_time(network: FakeNetwork, clock: Clock) -> None:
    network.hangs = lambda _roots: True
    channel, start = made(), clock.now

    assert not await channel.connected(2)
    assert clock.now == start + 2
    assert not await channel.connected(-1)
    assert clock.now == start + 2


async def test_failed_attempts_end_the_wait_only_where_that_is_asked_for(network: FakeNetwork, clock: Clock) -> None:
    network.up = False
    channel, start = made(), clock.now

    assert not await channel.connected(5)
    assert clock.now == start + network.handshake
    later = asyncio.create_task(channel.connected(5, through_failures=True))
    await asyncio.sleep(1)
    network.up = True
    assert await later
    assert clock.now < start + 1.3
    assert channel.state == "ready"


async def test_a_closed_channel_is_not_connected_and_its_calls_are_unavailable(
    network: FakeNetwork, clock: Clock
) -> None:
    network.hangs = lambda _roots: True
    channel = made()
    connecting = asyncio.create_task(channel.connected(5))
    await asyncio.sleep(1)
    await channel.close()

    assert not await connecting
    assert not await channel.connected(5)
    with pytest.raises(AioRpcError, match="the channel was closed") as caught:
        await call(channel, clock)
    assert caught.value.code() is StatusCode.UNAVAILABLE


async def test_a_cancellation_of_grpc_is_a_closed_channel_and_one_of_the_caller_stays_one(
    network: FakeNetwork, clock: Clock
) -> None:
    async def cancelled(_: Seen) -> bytes:
        raise asyncio.CancelledError

    async def hang(_: Seen) -> bytes:
        await asyncio.sleep(1e6)
        return b""

    channel = made()
    network.respond = cancelled
    with pytest.raises(AioRpcError, match="the channel was closed"):
        await call(channel, clock)

    network.respond = hang
    waiting = asyncio.create_task(call(channel, clock))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_drained_channel_is_closed_after_its_last_call(network: FakeNetwork, clock: Clock) -> None:
    async def slow(seen: Seen) -> bytes:
        await asyncio.sleep(seen.timeout / 2)
        return b"response"

    network.respond = slow
    channel, start = made(), clock.now
    calls = [asyncio.create_task(call(channel, clock, seconds=seconds)) for seconds in (20, 40)]
    await asyncio.sleep(1)
    assert repr(channel) == "<Channel ready, 2 calls, <Pins one>>"

    await channel.drain()

    assert [await one for one in calls] == [b"response"] * 2
    assert clock.now == pytest.approx(start + 20, abs=0.1)
    assert network.channels[0].closed_at == clock.now
    assert repr(channel) == "<Channel shutdown, 0 calls, <Pins one>>"


async def test_a_channel_without_calls_is_drained_at_once(network: FakeNetwork, clock: Clock) -> None:
    channel = made()
    await call(channel, clock)
    before = clock.now

    await channel.drain()

    assert network.channels[0].closed_at == before


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(("call_seconds", "wait_seconds"), [(5, 9), (9, 3)])
async def test_draining_ends_a_second_after_the_last_deadline_or_wait(
    clock: Clock, caplog: pytest.LogCaptureFixture, call_seconds: float, wait_seconds: float
) -> None:
    channel, start = made(), clock.now
    assert await channel.connected(wait_seconds)
    await call(channel, clock, seconds=call_seconds)
    with channel:  # as a call that gRPC does not end
        await channel.drain()

    assert clock.now == pytest.approx(start + 9 + 1, abs=0.1)
    assert channel.state == "shutdown"
    assert "closed with 1 calls still in progress" in caplog.text


def test_a_state_has_grpc_s_name(network: FakeNetwork) -> None:
    channel = made()

    for state in State:
        network.channels[0].state = state
        assert channel.state == state.name.lower()
