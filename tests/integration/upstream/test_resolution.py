"""A host name whose address moves, with a DNS server of the test's own."""

import asyncio
import ipaddress
import struct
import time
from collections.abc import AsyncIterator
from typing import cast

import pytest
from grpc.aio import AioRpcError

from devstack.authority import Issued
from devstack.fpga import Endpoint
from shared.telemetry import RequestContext
from shared.upstream.channel import Target
from shared.upstream.codecs.tensorflow import PREDICT
from shared.upstream.slot import ChannelSlot
from tests.integration.upstream.test_channels import REQUEST, pins
from tests.support.inference_service import KEYS, StartService

# Seconds; with gRPC's default it takes 30.
SOON = 5.0


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with ``address`` (RFC 1035), for no time to be kept."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self.questions = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        self.questions += 1
        end = data.index(b"\0", 12) + 5
        question, (kind,) = data[12:end], struct.unpack("!H", data[end - 4 : end - 2])
        packed = ipaddress.ip_address(self.address).packed
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + packed] if kind == 1 else []
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
        self._transport.sendto(head + question + b"".join(records), sender)


@pytest.fixture
async def names() -> AsyncIterator[tuple[NameServer, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    yield server, transport.get_extra_info("sockname")[1]
    transport.close()


async def test_a_name_whose_address_moves_is_resolved_again_soon(
    start: StartService, issued: Issued, names: tuple[NameServer, int]
) -> None:
    server, port = names
    old = await start()
    new = await start(endpoint=Endpoint(host="127.0.0.2", port=old.port))
    slot = ChannelSlot(Target(f"dns://127.0.0.1:{port}/cats.test:{old.port}", tls=True, server_name="localhost"))

    async def predict() -> None:
        with slot.channel(pins(issued)) as channel:
            await channel.connected(1, through_failures=True)
            await channel.call(PREDICT, REQUEST, KEYS.primary, RequestContext("request", time.monotonic() + 2))

    await predict()
    server.address = "127.0.0.2"
    await old.stop(0)
    moved, failed = time.monotonic(), 0
    while not new.recorder.calls:
        assert time.monotonic() < moved + SOON, f"not resolved again after {failed} failed calls"
        try:
            await predict()
        except AioRpcError:
            failed += 1
            await asyncio.sleep(0.1)
    await slot.close()

    assert len(old.recorder.calls) == 1
