"""Keys and certificates over a real connection, and their exchange while the service runs."""

import asyncio
import hashlib
import logging
import ssl
from pathlib import Path

import grpc
import pytest

from devstack.authority import Authority, fingerprint
from devstack.fpga import (
    Identity,
    KeyPair,
    KeyRing,
    Keys,
    Model,
    Service,
    SimulatedEngine,
)
from devstack.fpga.files import Watched
from protos import health_pb2
from tests.devstack.fpga.conftest import KEYS, Connect, StartService
from tests.devstack.fpga.wire import (
    CHECK,
    METADATA,
    PREDICT,
    STATUS,
    WATCH,
    Client,
    handshake,
    refused,
    scores,
)

EVERY_METHOD = [PREDICT, METADATA, STATUS, CHECK]


def served(port: int, authority: Authority) -> str:
    """The fingerprint of the certificate that a new connection is shown."""
    return hashlib.sha256(handshake(port, authority.pem)[0]).hexdigest()


# Keys


@pytest.mark.parametrize("key", [KEYS.primary, KEYS.secondary])
async def test_either_key_opens_the_service(start: StartService, connect: Connect, key: str) -> None:
    assert scores(await connect(await start(), key).predict()).shape == (1, 1000)


@pytest.mark.parametrize("method", EVERY_METHOD)
@pytest.mark.parametrize("key", [None, "", "wrong", f"Bearer {KEYS.primary}", KEYS.primary.upper()])
async def test_over_tls_every_method_needs_a_key(
    start: StartService, connect: Connect, method: str, key: str | None
) -> None:
    client = connect(await start(), key)
    async with refused() as outcome:
        await client.raw(method, b"")
    assert outcome.code == grpc.StatusCode.UNAUTHENTICATED
    assert KEYS.primary not in outcome.details


async def test_a_watch_needs_a_key_too(start: StartService, connect: Connect) -> None:
    watch = connect(await start(), None).stream(WATCH, health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse)
    async with refused() as outcome:
        await watch.read()
    assert outcome.code == grpc.StatusCode.UNAUTHENTICATED


async def test_without_tls_no_key_is_needed_and_any_is_ignored(start: StartService, connect: Connect) -> None:
    service = await start(tls=False)
    for key in (None, "anything"):
        assert scores(await connect(service, key, tls=False).predict()).shape == (1, 1000)
    assert [call.key for call in service.recorder.calls] == ["none", "unchecked"]


async def test_exchanged_keys_hold_for_an_open_connection(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    await client.predict()
    service.set_keys(Keys("the-third", KEYS.secondary))
    async with refused() as outcome:
        await client.predict()
    assert outcome.code == grpc.StatusCode.UNAUTHENTICATED
    client.key = "the-third"
    await client.predict()
    assert [call.key for call in service.recorder.calls] == ["primary", "wrong", "primary"]


def test_keys_and_a_certificate_go_together(pair: KeyPair) -> None:
    engine = SimulatedEngine(0)
    for rest in ({"keys": KeyRing(KEYS)}, {"identity": Identity(pair)}):
        with pytest.raises(ValueError, match="keys go with TLS"):
            Service(Model("imagenet", 1, (1000,)), engine, **rest)
    engine.close()


async def test_a_plain_service_has_nothing_to_exchange(start: StartService, pair: KeyPair) -> None:
    service = await start(tls=False)
    with pytest.raises(ValueError, match="takes no keys"):
        service.set_keys(KEYS)
    with pytest.raises(ValueError, match="has no TLS"):
        service.set_certificate(pair)


# Certificates


async def test_the_certificate_is_shown_over_tls_12_and_13_with_http2(
    start: StartService, authority: Authority, pair: KeyPair
) -> None:
    port = (await start()).port
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        certificate, spoken, protocol = await asyncio.to_thread(
            handshake, port, authority.pem, minimum_version=version, maximum_version=version
        )
        assert (hashlib.sha256(certificate).hexdigest(), spoken, protocol) == (pair.fingerprint, name, "h2")


async def test_a_client_that_does_not_trust_the_certificate_finds_the_service_unavailable(
    start: StartService,
) -> None:
    client = Client((await start()).address, Authority.create("another").pem, KEYS.primary)
    async with refused() as outcome:
        await client.predict()
    await client.close()
    assert outcome.code == grpc.StatusCode.UNAVAILABLE


async def test_an_exchanged_certificate_is_shown_to_new_connections_while_open_ones_live_on(
    start: StartService, connect: Connect, authority: Authority
) -> None:
    service = await start()
    client = connect(service)
    await client.predict()
    renewed = authority.issue()
    service.set_certificate(KeyPair(renewed.chain, renewed.key))
    await client.predict()
    assert await asyncio.to_thread(served, service.port, authority) == fingerprint(renewed.certificate)
    await client.predict()
    await connect(service).predict()
    peers = [call.peer for call in service.recorder.calls]
    assert len(set(peers[:3])) == 1, "the open connection was opened again"
    assert peers[3] != peers[0]


async def test_a_certificate_can_be_exchanged_again_and_again(start: StartService, authority: Authority) -> None:
    service = await start()
    for _ in range(3):
        renewed = authority.issue()
        service.set_certificate(KeyPair(renewed.chain, renewed.key))
        for _ in range(2):
            assert await asyncio.to_thread(served, service.port, authority) == fingerprint(renewed.certificate)


async def test_certificate_files_are_read_at_the_next_handshake_once_both_are_whole(
    start: StartService, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = authority.issue(), authority.issue()
    chain, key = tmp_path / "chain.pem", tmp_path / "leaf.key"
    chain.write_bytes(first.chain)
    key.write_bytes(first.key)
    watched = Watched((chain, key), KeyPair)
    service = await start(identity=Identity(watched.read(), watched.poll))

    async def shown() -> str:
        return await asyncio.to_thread(served, service.port, authority)

    caplog.set_level(logging.WARNING, "devstack")
    assert await shown() == fingerprint(first.certificate)
    chain.write_bytes(second.chain[:300])
    assert await shown() == fingerprint(first.certificate)
    chain.write_bytes(second.chain)
    assert await shown() == fingerprint(first.certificate)
    key.write_bytes(second.key)
    assert await shown() == fingerprint(second.certificate)
    assert [record.message.split("(")[1].split(")")[0] for record in caplog.records] == [
        "the certificate is not PEM",
        "the private key belongs to another certificate",
    ]
