"""Long-lived channels, and their replacement without interruption."""

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from devstack.authority import Authority, Issued
from devstack.fpga import Endpoint, KeyPair, Service
from devstack.fpga.faults import Faults
from shared.credentials.pins import Pins, read_pins
from shared.settings import ServiceSettings, Tls
from shared.telemetry import RequestContext
from shared.upstream.channel import Channel, Target
from shared.upstream.codecs import Selector
from shared.upstream.codecs.tensorflow import PREDICT, TensorFlowCodec
from shared.upstream.slot import ChannelSlot
from tests.support.devstack.processes import wait_until_async
from tests.support.inference_service import KEYS, StartService

REQUEST = TensorFlowCodec(ServiceSettings("cats", "localhost")).requests(Selector()).encoded([b"\xff\xd8\xff an image"])


def pins(*certificates: Issued) -> Pins:
    text = b"".join(certificate.certificate for certificate in certificates).decode()
    return read_pins(text, "pins", dt.datetime.now(dt.UTC))


def context(seconds: float = 10, traceparent: str = "", tracestate: str = "") -> RequestContext:
    return RequestContext("request", time.monotonic() + seconds, traceparent, tracestate)


def at(service: Service, tls: Tls = Tls.REQUIRED) -> Target:
    return Target.of(ServiceSettings("cats", "localhost", service.port, tls))


@pytest.fixture
async def slot(service: Service) -> AsyncIterator[ChannelSlot]:
    slot = ChannelSlot(at(service))
    yield slot
    await slot.close()


async def predict(slot: ChannelSlot, trusted: Pins | None, key: str | None = KEYS.primary) -> bytes:
    with slot.channel(trusted) as channel:
        return await channel.call(PREDICT, REQUEST, key, context())


async def test_all_calls_use_one_channel(service: Service, slot: ChannelSlot, issued: Issued) -> None:
    responses = [await predict(slot, pins(issued)) for _ in range(5)]

    assert len(set(responses)) == 1
    assert len({seen.peer for seen in service.recorder.calls}) == 1
    assert slot.state == "ready"


async def test_two_addresses_share_the_calls(start: StartService, issued: Issued) -> None:
    first = await start()
    second = await start(endpoint=Endpoint(host="127.0.0.2", port=first.port))
    settings = ServiceSettings("cats", "127.0.0.1,127.0.0.2", first.port, tls_name="localhost")
    slot = ChannelSlot(Target.of(settings))
    async with asyncio.timeout(10):
        while not second.recorder.calls:  # the second connection may be made a moment later
            await predict(slot, pins(issued))
    before = len(first.recorder.calls), len(second.recorder.calls)

    for _ in range(20):
        await predict(slot, pins(issued))

    assert (len(first.recorder.calls), len(second.recorder.calls)) == (before[0] + 10, before[1] + 10)
    await second.stop(0)
    with slot.channel(pins(issued)) as channel:
        await asyncio.sleep(0.2)
        assert await channel.connected(5, through_failures=True)
    await predict(slot, pins(issued))
    assert len(first.recorder.calls) == before[0] + 11
    await slot.close()


async def test_new_pins_get_a_new_channel_and_the_old_one_is_drained(
    service: Service, slot: ChannelSlot, issued: Issued, authority: Authority
) -> None:
    await predict(slot, pins(issued))
    service.set_faults(Faults(delay_ms=300))
    slow = asyncio.create_task(predict(slot, pins(issued)))
    await wait_until_async(lambda: len(service.recorder.calls) == 2, "the second call has arrived")
    service.set_faults(Faults())
    other = authority.issue()
    service.set_certificate(KeyPair(other.chain, other.key))

    # The old channel is used until the new one is connected, so no call waits.
    both = pins(issued, other)
    while len({seen.peer for seen in service.recorder.calls}) == 1:
        await predict(slot, both)

    assert await slow
    assert repr(slot).count("replacement") == 0
    assert (await predict(slot, both)) == await slow


async def test_the_old_channel_is_used_if_that_with_an_added_pin_does_not_connect(
    service: Service, slot: ChannelSlot, issued: Issued, authority: Authority
) -> None:
    await predict(slot, pins(issued))
    third = authority.issue()
    service.set_certificate(KeyPair(third.chain, third.key))
    added = pins(issued, authority.issue())

    assert not await slot.renew(added)
    assert await predict(slot, added)

    assert len({seen.peer for seen in service.recorder.calls}) == 1


async def test_a_removed_pin_is_not_trusted_any_more(
    service: Service, slot: ChannelSlot, issued: Issued, authority: Authority
) -> None:
    """Of whoever has its stolen key: neither the open connection nor a new one gets the gateway's key."""
    await predict(slot, pins(issued))
    service.set_faults(Faults(delay_ms=300))
    in_progress = asyncio.create_task(predict(slot, pins(issued)))
    await wait_until_async(lambda: len(service.recorder.calls) == 2, "the second call has arrived")

    remaining = pins(authority.issue())
    for _ in range(2):
        with pytest.raises(AioRpcError) as caught:
            await predict(slot, remaining)
        assert caught.value.code() is StatusCode.UNAVAILABLE

    assert len(service.recorder.calls) == 2
    assert await in_progress
    assert slot.withdrawn == pins(issued).fingerprints


async def test_a_removed_pin_costs_no_request_if_the_service_presents_another(
    service: Service, slot: ChannelSlot, issued: Issued, authority: Authority
) -> None:
    other = authority.issue()
    service.set_certificate(KeyPair(other.chain, other.key))
    await predict(slot, pins(issued, other))

    assert await asyncio.gather(*(predict(slot, pins(other)) for _ in range(20)))

    assert len({seen.peer for seen in service.recorder.calls}) == 2


async def test_the_latest_of_two_replacements_is_used(slot: ChannelSlot, issued: Issued, authority: Authority) -> None:
    await predict(slot, pins(issued))
    outdated, newest = pins(issued, Authority.create().issue()), pins(issued, authority.issue(), authority.issue())
    both = asyncio.gather(slot.renew(outdated), slot.renew(newest))

    assert (await both)[1]
    assert slot.has(newest)


async def test_a_channel_reconnects_after_a_restart(service: Service, slot: ChannelSlot, issued: Issued) -> None:
    await predict(slot, pins(issued))

    await service.stop(0)
    with pytest.raises(AioRpcError) as caught:
        await predict(slot, pins(issued))
    assert caught.value.code() is StatusCode.UNAVAILABLE
    await service.start()
    with slot.channel(pins(issued)) as live:
        assert not await live.connected(5)
        assert await live.connected(5, through_failures=True)

    assert await predict(slot, pins(issued))


async def test_a_replaced_channel_lives_as_long_as_its_oldest_call_s_deadline(service: Service, issued: Issued) -> None:
    service.set_faults(Faults(hang=True))
    channel = Channel(at(service), pins(issued))

    async def hang(seconds: float) -> None:
        with channel:
            await channel.call(PREDICT, REQUEST, KEYS.primary, context(seconds))

    hanging = [asyncio.create_task(hang(seconds)) for seconds in (1.0, 0.3)]
    await wait_until_async(lambda: len(service.recorder.calls) == 2, "the calls have arrived")
    await channel.drain()

    assert channel.state == "shutdown"
    for call in hanging:  # each ended by its own deadline, not by the channel
        with pytest.raises(AioRpcError) as caught:
            await call
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED


async def test_a_channel_that_is_closed_reports_its_calls_as_unavailable(service: Service, issued: Issued) -> None:
    """gRPC itself would cancel the task, as nobody asked."""
    service.set_faults(Faults(hang=True))
    channel = Channel(at(service), pins(issued))
    calls = [asyncio.create_task(channel.call(PREDICT, REQUEST, KEYS.primary, context())) for _ in range(2)]
    await wait_until_async(lambda: len(service.recorder.calls) == 2, "the calls have arrived")

    calls[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[1]
    await channel.close()

    with pytest.raises(AioRpcError, match="the channel was closed") as caught:
        await calls[0]
    assert caught.value.code() is StatusCode.UNAVAILABLE


async def test_a_key_is_never_sent_without_tls(start: StartService) -> None:
    service = await start(tls=False)
    slot = ChannelSlot(at(service, Tls.INSECURE))

    with pytest.raises(RuntimeError, match="never be sent without TLS"):
        await predict(slot, None)
    assert not service.recorder.calls

    assert await predict(slot, None, key=None)
    assert "authorization" not in service.recorder.calls[0].metadata
    await slot.close()


async def test_the_trace_and_the_deadline_are_sent_with_the_call(
    service: Service, slot: ChannelSlot, issued: Issued
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    with slot.channel(pins(issued)) as channel:
        await channel.call(PREDICT, REQUEST, KEYS.primary, context(3, traceparent=parent, tracestate="a=b"))

    seen = service.recorder.calls[0]
    assert (seen.metadata["traceparent"], seen.metadata["tracestate"]) == (parent, "a=b")
    assert seen.key == "primary"
    assert seen.timeout is not None
    assert 2 < seen.timeout <= 3


async def test_closing_ends_a_replacement_in_progress(slot: ChannelSlot, issued: Issued) -> None:
    await predict(slot, pins(issued))
    renewing = asyncio.create_task(slot.renew(pins(issued, Authority.create().issue())))
    await asyncio.sleep(0)

    await slot.close()

    assert not await renewing
    assert slot.state == "none"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("maximum", "connected_with"),
    [(ssl.TLSVersion.TLSv1_1, []), (ssl.TLSVersion.TLSv1_2, ["TLSv1.2"])],
    ids=["1.1", "1.2"],
)
async def test_tls_1_2_is_the_minimum(
    issued: Issued, tmp_path: Path, maximum: ssl.TLSVersion, connected_with: list[str]
) -> None:
    (tmp_path / "leaf.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "leaf.key")
    context.set_ciphers("ALL:@SECLEVEL=0")  # otherwise OpenSSL itself rejects the old version
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = maximum
    context.set_alpn_protocols(["h2"])
    seen: list[str] = []

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").version())
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        channel = Channel(Target.of(ServiceSettings("cats", "localhost", port)), pins(issued))
        await channel.connected(0.5)
        await channel.close()

    assert seen[:1] == connected_with
