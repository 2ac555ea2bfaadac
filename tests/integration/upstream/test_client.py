"""The client of one service: refused keys, changed certificates, outages and deadlines."""

import asyncio
import datetime as dt
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import KeyPair, Keys, Service
from devstack.fpga.faults import Faults
from protos.serving_pb2 import PredictResponse
from shared import errors
from shared.credentials.cache import OVERDUE, CredentialCache, Credentials
from shared.credentials.pins import read_pins
from shared.settings import ServiceSettings, Tls
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs import Selector
from shared.upstream.codecs.tensorflow import PREDICT, TensorFlowCodec
from shared.upstream.retry import PATIENCE
from shared.upstream.service import Upstream
from tests.support.devstack.processes import ServerProcess, wait_until_async
from tests.support.inference_service import KEYS, StartService

SETTINGS = ServiceSettings("cats", "localhost")
REFRESH = 1000.0
REQUEST = TensorFlowCodec(SETTINGS).requests(Selector()).encoded([b"\xff\xd8\xff an image"])


class FakeVault:
    """The content of Key Vault; each read takes a millisecond."""

    def __init__(self, keys: Keys, pins: bytes) -> None:
        self.keys = keys
        self.pins = pins
        self.reads = 0
        self.now = 100.0
        self.cache = CredentialCache(self.read, refresh_seconds=REFRESH, clock=lambda: self.now)

    async def read(self) -> Credentials:
        self.reads += 1
        await asyncio.sleep(0.001)
        pins = read_pins(self.pins.decode(), "pins", dt.datetime.now(dt.UTC))
        return Credentials((self.keys.primary, self.keys.secondary), pins, self.now)


Connect = Callable[..., ServiceClient]


@pytest.fixture
def vault(issued: Issued) -> FakeVault:
    return FakeVault(KEYS, issued.certificate)


@pytest.fixture
async def connect(vault: FakeVault) -> AsyncIterator[Connect]:
    clients: list[ServiceClient] = []

    def client(port: int, tls: Tls = Tls.REQUIRED, address: str = "localhost") -> ServiceClient:
        settings = ServiceSettings("cats", address, port, tls)
        clients.append(ServiceClient(settings, vault.cache if tls is Tls.REQUIRED else None))
        return clients[-1]

    yield client
    for one in clients:
        await one.close()


@pytest.fixture
def client(connect: Connect, service: Service) -> ServiceClient:
    """A client of the service."""
    return connect(service.port)


def context(seconds: float = 5) -> RequestContext:
    return RequestContext("request", time.monotonic() + seconds)


async def predict(client: ServiceClient, seconds: float = 5) -> bytes:
    return await client.call(PREDICT, REQUEST, context(seconds))


def upstream_of(client: ServiceClient) -> Upstream:
    return Upstream(SETTINGS, client, TensorFlowCodec(SETTINGS), Admission(64, 10))


def keys_seen(service: Service) -> list[str]:
    return [seen.key for seen in service.recorder.calls]


def renew(service: Service, authority: Authority) -> bytes:
    """Give the service another certificate, and return that."""
    issued = authority.issue()
    service.set_certificate(KeyPair(issued.chain, issued.key))
    return issued.certificate


async def assert_later_calls_fail_immediately(client: ServiceClient, kind: type[errors.GatewayError]) -> None:
    with pytest.raises(kind):
        await predict(client)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(kind):
            await predict(client)
    # Only the first call waited: twenty waits would take forty seconds.
    assert time.monotonic() - began < PATIENCE


async def test_calls_use_the_primary_key_and_one_snapshot(
    service: Service, client: ServiceClient, vault: FakeVault
) -> None:
    responses = [await predict(client) for _ in range(3)]

    assert len(PredictResponse.FromString(responses[0]).outputs["output_alias"].float_val) == 10
    assert keys_seen(service) == ["primary"] * 3
    assert vault.reads == 1
    assert client.channel_state == "ready"


async def test_a_service_without_tls_receives_no_key_and_requires_no_vault(
    start: StartService, connect: Connect, vault: FakeVault
) -> None:
    plain = await start(tls=False)

    await predict(connect(plain.port, Tls.INSECURE))

    assert keys_seen(plain) == ["none"]
    assert vault.reads == 0


async def test_after_a_refused_primary_key_the_secondary_is_used(
    service: Service, client: ServiceClient, vault: FakeVault
) -> None:
    vault.keys = Keys("not-the-primary", KEYS.secondary)

    for _ in range(3):
        await predict(client)

    assert keys_seen(service) == ["wrong", "secondary", "secondary", "secondary"]
    assert vault.reads == 1


async def test_requests_for_status_and_metadata_use_the_same_keys(service: Service, client: ServiceClient) -> None:
    service.set_keys(Keys("replaced", KEYS.secondary))
    codec = TensorFlowCodec(SETTINGS)

    versions = codec.versions(await client.call(*codec.status(Selector()), context()))
    signatures = codec.signatures(await client.call(*codec.metadata(Selector()), context()))
    with pytest.raises(errors.ServiceRejected) as caught:
        await client.call(*codec.status(Selector(version=9)), context())

    assert [one.version for one in versions] == [1]
    assert signatures.output_shape("", "output_alias") is not None
    assert caught.value.code == "NOT_FOUND"
    assert keys_seen(service) == ["wrong", "secondary", "secondary", "secondary"]


async def test_if_both_keys_are_refused_a_new_snapshot_is_read(
    service: Service, client: ServiceClient, vault: FakeVault
) -> None:
    await predict(client)
    service.set_keys(Keys("new-primary", "new-secondary"))
    vault.keys = Keys("new-primary", "new-secondary")
    vault.now += 10

    await predict(client)

    assert keys_seen(service) == ["primary", "wrong", "wrong", "primary"]
    assert vault.reads == 2


async def test_refused_keys_are_an_error_and_reads_are_rate_limited(client: ServiceClient, vault: FakeVault) -> None:
    vault.keys = Keys("wrong-primary", "wrong-secondary")

    for _ in range(3):
        with pytest.raises(errors.KeysRefused) as caught:
            await predict(client)

    assert "wrong-" not in str(caught.value)
    assert vault.reads == 1  # the snapshot was just read, so it is not read again


async def test_after_a_change_of_the_certificate_the_pins_are_read_again(
    service: Service, client: ServiceClient, vault: FakeVault, authority: Authority
) -> None:
    await predict(client)
    vault.pins, vault.now = renew(service, authority), vault.now + 10
    service.drop_connections()
    await wait_until_async(lambda: client.channel_state != "ready", "the connection is lost")

    await predict(client)

    assert vault.reads == 2
    assert len({seen.peer for seen in service.recorder.calls}) == 2


async def test_a_removed_pin_is_withdrawn_within_the_refresh_interval(
    service: Service, connect: Connect, vault: FakeVault
) -> None:
    """The old endpoint still answers, and its connection is open."""
    client = connect(service.port, address="127.0.0.1")
    await predict(client)
    vault.pins, vault.now = Authority.create().pem, vault.now + REFRESH
    await predict(client)  # starts the refresh in the background
    await wait_until_async(lambda: repr(vault.cache) == "<CredentialCache fresh>", "the pins are read again")
    before = len(service.recorder.calls)

    with pytest.raises(errors.ServiceUntrusted, match=r"Trust was withdrawn from [0-9a-f]{16}: it is no longer pinned"):
        await predict(client)
    with pytest.raises(errors.ServiceUntrusted, match="Trust was withdrawn"):  # as the health routes ask
        await upstream_of(client).reported_status(context())

    assert len(service.recorder.calls) == before


async def test_an_idle_instance_reads_its_credentials_before_the_first_request(
    service: Service, client: ServiceClient, vault: FakeVault
) -> None:
    await predict(client)
    vault.pins, vault.now = Authority.create().pem, vault.now + OVERDUE * REFRESH

    with pytest.raises(errors.ServiceUntrusted):
        await predict(client)

    assert keys_seen(service) == ["primary"]


@pytest.mark.parametrize("certificate", ["the same", "another"])
async def test_calls_wait_for_a_restart_of_the_service(
    service: Service, client: ServiceClient, vault: FakeVault, authority: Authority, certificate: str
) -> None:
    await predict(client)
    await service.stop(0)
    if certificate == "another":  # not the recommended order: its pin should be stored before the restart
        vault.pins, vault.now = renew(service, authority), vault.now + 10

    waiting = [asyncio.create_task(predict(client)) for _ in range(10)]
    await asyncio.sleep(0.5)
    await service.start()

    assert all(await asyncio.gather(*waiting))


async def test_requests_wait_for_pins_that_are_stored_after_the_certificate(
    service: Service, client: ServiceClient, vault: FakeVault, authority: Authority
) -> None:
    await predict(client)
    renewed = renew(service, authority)
    service.drop_connections()

    # The snapshot was just read, so the next read is delayed.
    waiting = [asyncio.create_task(predict(client)) for _ in range(10)]
    await asyncio.sleep(0.3)
    vault.pins, vault.now = renewed, vault.now + 1

    assert all(await asyncio.gather(*waiting))
    assert vault.reads == 2


async def test_a_long_untrusted_service_is_used_as_soon_as_it_is_pinned(
    service: Service, connect: Connect, vault: FakeVault, issued: Issued
) -> None:
    vault.pins = Authority.create().pem
    # With a name, gRPC may report the failure of another address of it.
    client = connect(service.port, address="127.0.0.1")
    await assert_later_calls_fail_immediately(client, errors.ServiceUntrusted)

    vault.pins, vault.now = issued.certificate, vault.now + 1

    assert await predict(client)


async def test_the_reported_status_is_that_of_the_service(service: Service, client: ServiceClient) -> None:
    upstream = upstream_of(client)

    assert await upstream.reported_status(context()) == "serving"
    service.set_faults(Faults(not_serving=True))
    assert await upstream.reported_status(context()) == "not_serving"


async def test_after_a_warm_up_the_first_request_does_not_wait(client: ServiceClient, vault: FakeVault) -> None:
    await upstream_of(client).reported_status(context())

    assert client.channel_state == "ready"
    assert vault.reads == 1
    first = context()
    await client.call(PREDICT, REQUEST, first)
    assert "wait;dur=0.00" in first.timings.server_timing()


async def test_waiting_for_a_restart_does_not_reduce_the_admission_limit(
    service: Service, client: ServiceClient
) -> None:
    admission = Admission(64, deadline=2)
    for _ in range(2):
        await client.call(PREDICT, REQUEST, context(), admission=admission)
    await service.stop(0)

    waiting = [asyncio.create_task(client.call(PREDICT, REQUEST, context(), admission=admission)) for _ in range(10)]
    await asyncio.sleep(0.5)
    await service.start()
    await asyncio.gather(*waiting)

    assert "of 64.0 images" in repr(admission)


async def test_in_a_long_outage_calls_fail_immediately(service: Service, client: ServiceClient) -> None:
    await predict(client)
    await service.stop(0)

    await assert_later_calls_fail_immediately(client, errors.ServiceUnreachable)

    await service.start()
    async with asyncio.timeout(1):
        while True:
            try:
                await predict(client)
                break
            except errors.ServiceUnreachable:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("interruption", ["broken connection", "restart"])
async def test_calls_in_progress_survive_an_interruption(
    service: Service, client: ServiceClient, interruption: str
) -> None:
    service.set_faults(Faults(delay_ms=200))
    in_progress = [asyncio.create_task(predict(client)) for _ in range(10)]
    await wait_until_async(lambda: len(service.recorder.calls) == 10, "all calls have arrived")
    service.set_faults(Faults())

    if interruption == "restart":
        await service.stop(0)  # ends the calls in progress with CANCELLED
        await service.start()
    else:
        assert service.drop_connections() == 1

    assert all(await asyncio.gather(*in_progress))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_transient_unavailability_is_retried(service: Service, client: ServiceClient, code: str) -> None:
    service.set_faults(Faults(fail_next=3, fail_with=code))

    assert await predict(client)

    assert len(service.recorder.calls) == 4


@pytest.mark.parametrize(
    "code", ["INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", "PERMISSION_DENIED"]
)
async def test_other_errors_are_not_retried(service: Service, client: ServiceClient, code: str) -> None:
    """The error of each status is tested in test_causes.py."""
    service.set_faults(Faults(fail_next=1, fail_with=code))

    with pytest.raises(errors.GatewayError):
        await predict(client)

    assert len(service.recorder.calls) == 1


async def test_retries_end_before_the_deadline(service: Service, client: ServiceClient) -> None:
    await service.stop(0)
    began = time.monotonic()

    with pytest.raises(errors.ServiceUnreachable):
        await predict(client, 0.3)

    assert time.monotonic() - began < PATIENCE


async def test_a_connection_with_high_latency_succeeds(service: Service, connect: Connect) -> None:
    """A handshake takes three round trips, or half a second between continents."""
    async with delayed(service.port, 0.08) as port:
        client = connect(port)

        assert await predict(client)

        await client.close()


async def test_a_frozen_service_is_detected_by_keepalive(connect: Connect, issued: Issued, tmp_path: Path) -> None:
    """A stopped process accepts connections and bytes, but does not respond."""
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    (tmp_path / "keys.json").write_text(json.dumps({"primaryKey": KEYS.primary, "secondaryKey": KEYS.secondary}))
    arguments = ["--certificate", "chain.pem", "--key", "leaf.key", "--keys", "keys.json"]
    arguments = [str(tmp_path / one) if "." in one else one for one in arguments]
    running = ServerProcess("devstack.fpga", "--engine", "simulated", *arguments, log=tmp_path / "log")
    with running as service:
        client = connect(int(service.address.rpartition(":")[2]))
        await predict(client)
        service.process.send_signal(signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(predict(client, 20))
            # Without the ping timeout, this would take a minute.
            await wait_until_async(lambda: client.channel_state != "ready", "the connection is lost")
        finally:
            service.process.send_signal(signal.SIGCONT)
        # After the process continues, the call succeeds on a new connection.
        assert await waiting


@asynccontextmanager
async def delayed(port: int, seconds: float) -> AsyncIterator[int]:
    """A port that forwards to another one, and delays the data in both directions."""
    pipes: list[asyncio.Task[None]] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(seconds, writer.write, data)
        await asyncio.sleep(seconds)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        pipes.extend(map(asyncio.create_task, (pipe(reader, upstream_writer), pipe(upstream_reader, writer))))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*pipes)
