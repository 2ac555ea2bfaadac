"""Channels that live long, and are replaced without a call noticing."""

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from devstack.authority import Authority, Issued
from devstack.fpga import KeyPair, Service
from devstack.fpga.faults import Faults, FaultSwitch
from shared.fpga.channels import Channel, ChannelSlot, Endpoint
from shared.scoring.tensors import RequestTemplate
from shared.settings import ServiceSettings, Tls
from shared.telemetry import Call
from shared.trust.certificates import Pins, read_pins
from tests.shared.fpga.conftest import KEYS, StartService

REQUEST = RequestTemplate(model="", signature="", input_name="images").encoded([b"\xff\xd8\xff a picture"])


def pins(*certificates: Issued) -> Pins:
    text = b"".join(certificate.certificate for certificate in certificates).decode()
    return read_pins(text, "pins", dt.datetime.now(dt.UTC))


def call(seconds: float = 10, traceparent: str = "", tracestate: str = "") -> Call:
    return Call("request", time.monotonic() + seconds, traceparent, tracestate)


def at(service: Service, tls: Tls = Tls.REQUIRED) -> Endpoint:
    return Endpoint.of(ServiceSettings("cats", "localhost", service.port, tls))


async def predict(slot: ChannelSlot, trusted: Pins | None, key: str | None = KEYS.primary) -> bytes:
    with slot.lease(trusted) as channel:
        return await channel.predict(REQUEST, key, call())


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in the background."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("cats.example.com", "dns:///cats.example.com:443"),
        ("10.0.0.4", "dns:///10.0.0.4:443"),
        ("::1", "dns:///[::1]:443"),
        ("10.0.0.4, 10.0.0.5", "ipv4:10.0.0.4:443,10.0.0.5:443"),
    ],
)
def test_where_an_address_leads(address: str, target: str) -> None:
    assert Endpoint.of(ServiceSettings("cats", address)).target == target


async def test_one_channel_serves_all_calls(start: StartService, issued: Issued) -> None:
    service = await start()
    slot = ChannelSlot(at(service))

    answers = [await predict(slot, pins(issued)) for _ in range(5)]

    assert len(set(answers)) == 1
    assert len({seen.peer for seen in service.recorder.calls}) == 1
    assert slot.state == "ready"
    await slot.close()


async def test_new_pins_get_a_new_channel_and_the_old_one_ends_after_its_last_call(
    start: StartService, issued: Issued, authority: Authority
) -> None:
    faults = FaultSwitch()
    service = await start(faults=faults)
    slot = ChannelSlot(at(service))
    await predict(slot, pins(issued))
    faults.set(Faults(delay_ms=300))
    slow = asyncio.create_task(predict(slot, pins(issued)))
    await until(lambda: len(service.recorder.calls) == 2)
    faults.set(Faults())
    other = authority.issue()
    service.set_certificate(KeyPair(other.chain, other.key))

    # The old channel is lent until the new one is connected: nobody waits for it.
    both = pins(issued, other)
    while len({seen.peer for seen in service.recorder.calls}) == 1:
        await predict(slot, both)

    assert await slow
    assert repr(slot).count("successor") == 0
    assert (await predict(slot, both)) == await slow
    await slot.close()


async def test_new_pins_that_do_not_connect_leave_the_old_channel_at_work(start: StartService, issued: Issued) -> None:
    service = await start()
    slot = ChannelSlot(at(service))
    await predict(slot, pins(issued))
    wrong = pins(Authority.create().issue())

    assert not await slot.renew(wrong)
    assert await predict(slot, wrong)

    assert len({seen.peer for seen in service.recorder.calls}) == 1
    await slot.close()


async def test_the_pins_that_were_named_last_are_those_that_come(
    start: StartService, issued: Issued, authority: Authority
) -> None:
    service = await start()
    slot = ChannelSlot(at(service))
    await predict(slot, pins(issued))
    outdated, newest = pins(Authority.create().issue()), pins(issued, authority.issue())
    both = asyncio.gather(slot.renew(outdated), slot.renew(newest))

    assert list(await both) == [False, True]
    assert slot.is_for(newest)
    await slot.close()


async def test_a_channel_reconnects_after_the_service_was_away(start: StartService, issued: Issued) -> None:
    service = await start()
    slot = ChannelSlot(at(service))
    await predict(slot, pins(issued))

    await service.stop(0)
    with pytest.raises(AioRpcError) as caught:
        await predict(slot, pins(issued))
    assert caught.value.code() is StatusCode.UNAVAILABLE
    await service.start()
    with slot.lease(pins(issued)) as live:
        assert not await live.connected(5)
        assert await live.connected(5, patiently=True)

    assert await predict(slot, pins(issued))
    await slot.close()


async def test_draining_ends_at_its_limit(start: StartService, issued: Issued) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))
    channel = Channel(at(service), pins(issued))

    async def hang() -> None:
        with channel:
            await channel.predict(REQUEST, KEYS.primary, call())

    hanging = asyncio.create_task(hang())
    await until(lambda: service.recorder.calls)

    await channel.drain(0.05)

    with pytest.raises((AioRpcError, asyncio.CancelledError)):
        await hanging


async def test_a_key_never_travels_without_tls(start: StartService) -> None:
    service = await start(tls=False)
    slot = ChannelSlot(at(service, Tls.INSECURE))

    with pytest.raises(RuntimeError, match="never travel without TLS"):
        await predict(slot, None)
    assert not service.recorder.calls

    assert await predict(slot, None, key=None)
    assert "authorization" not in service.recorder.calls[0].metadata
    await slot.close()


async def test_the_trace_and_the_deadline_travel_with_the_call(start: StartService, issued: Issued) -> None:
    service = await start()
    slot = ChannelSlot(at(service))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    with slot.lease(pins(issued)) as channel:
        await channel.predict(REQUEST, KEYS.primary, call(3, traceparent=parent, tracestate="a=b"))

    seen = service.recorder.calls[0]
    assert (seen.metadata["traceparent"], seen.metadata["tracestate"]) == (parent, "a=b")
    assert seen.key == "primary"
    assert seen.timeout is not None
    assert 2 < seen.timeout <= 3
    await slot.close()


async def test_closing_ends_what_is_under_way(start: StartService, issued: Issued) -> None:
    service = await start()
    slot = ChannelSlot(at(service))
    await predict(slot, pins(issued))
    renewing = asyncio.create_task(slot.renew(pins(issued, Authority.create().issue())))
    await asyncio.sleep(0)

    await slot.close()

    assert not await renewing
    assert slot.state == "none"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("newest", "spoken"), [(ssl.TLSVersion.TLSv1_1, []), (ssl.TLSVersion.TLSv1_2, ["TLSv1.2"])], ids=["1.1", "1.2"]
)
async def test_tls_is_spoken_from_1_2_on(
    issued: Issued, tmp_path: Path, newest: ssl.TLSVersion, spoken: list[str]
) -> None:
    (tmp_path / "leaf.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "leaf.key")
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL itself would refuse the old version
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    seen: list[str] = []

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").version())
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        channel = Channel(Endpoint.of(ServiceSettings("cats", "localhost", port)), pins(issued))
        await channel.connected(0.5)
        await channel.close()

    assert seen[:1] == spoken
