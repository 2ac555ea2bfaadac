"""One service as the gateway uses it: what happens when it refuses a key or shows another certificate."""

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
from devstack.fpga.faults import Faults, FaultSwitch
from protos.serving_pb2 import PredictResponse
from shared import errors
from shared.fpga.predictor import Predictor
from shared.fpga.retries import PATIENCE
from shared.scoring.tensors import RequestTemplate
from shared.settings import ServiceSettings, Tls
from shared.telemetry import Call
from shared.trust.certificates import read_pins
from shared.trust.credentials import CredentialCache, Credentials
from tests.devstack.processes import Running
from tests.shared.fpga.conftest import KEYS, StartService

REQUEST = RequestTemplate(model="", signature="", input_name="images").encoded([b"\xff\xd8\xff a picture"])


class Vault:
    """What Key Vault holds now; each read takes a moment, as a real one does."""

    def __init__(self, keys: Keys, pins: bytes) -> None:
        self.keys = keys
        self.pins = pins
        self.reads = 0
        self.now = 100.0
        self.cache = CredentialCache(self.read, refresh_seconds=1000, clock=lambda: self.now)

    async def read(self) -> Credentials:
        self.reads += 1
        await asyncio.sleep(0.001)
        pins = read_pins(self.pins.decode(), "pins", dt.datetime.now(dt.UTC))
        return Credentials((self.keys.primary, self.keys.secondary), pins, self.now)


Connect = Callable[..., Predictor]


@pytest.fixture
def vault(issued: Issued) -> Vault:
    return Vault(KEYS, issued.certificate)


@pytest.fixture
async def connect(vault: Vault) -> AsyncIterator[Connect]:
    made: list[Predictor] = []

    def predictor(service: Service, tls: Tls = Tls.REQUIRED, address: str = "localhost") -> Predictor:
        settings = ServiceSettings("cats", address, service.port, tls)
        made.append(Predictor(settings, vault.cache if tls is Tls.REQUIRED else None))
        return made[-1]

    yield predictor
    for one in made:
        await one.close()


def call(seconds: float = 5) -> Call:
    return Call("request", time.monotonic() + seconds)


def keys_seen(service: Service) -> list[str]:
    return [seen.key for seen in service.recorder.calls]


async def test_a_call_is_answered(start: StartService, connect: Connect, vault: Vault) -> None:
    service = await start()
    predictor = connect(service)

    answers = [await predictor.predict(REQUEST, call()) for _ in range(3)]

    assert len(PredictResponse.FromString(answers[0]).outputs["output_alias"].float_val) == 10
    assert keys_seen(service) == ["primary"] * 3
    assert vault.reads == 1
    assert predictor.channel_state == "ready"


async def test_a_service_without_tls_gets_no_key_and_needs_no_vault(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    service = await start(tls=False)

    await connect(service, Tls.INSECURE).predict(REQUEST, call())

    assert keys_seen(service) == ["none"]
    assert vault.reads == 0


async def test_a_refused_primary_key_is_followed_by_the_secondary_which_then_stays(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    service = await start()
    predictor = connect(service)
    vault.keys = Keys("not-the-primary", KEYS.secondary)

    for _ in range(3):
        await predictor.predict(REQUEST, call())

    assert keys_seen(service) == ["wrong", "secondary", "secondary", "secondary"]
    assert vault.reads == 1


async def test_when_both_keys_are_refused_a_fresh_snapshot_decides(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    service.set_keys(Keys("new-primary", "new-secondary"))
    vault.keys = Keys("new-primary", "new-secondary")
    vault.now += 10

    await predictor.predict(REQUEST, call())

    assert keys_seen(service) == ["primary", "wrong", "wrong", "primary"]
    assert vault.reads == 2


async def test_keys_that_are_all_refused_are_an_error_without_a_storm(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    service = await start()
    predictor = connect(service)
    vault.keys = Keys("wrong-primary", "wrong-secondary")

    for _ in range(3):
        with pytest.raises(errors.KeysRefused) as caught:
            await predictor.predict(REQUEST, call())

    assert "wrong-" not in str(caught.value)
    assert vault.reads == 1  # the snapshot was just read: another read so soon would bring nothing


async def test_a_new_certificate_is_followed_by_fresh_pins(
    start: StartService, connect: Connect, vault: Vault, authority: Authority
) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    other = authority.issue()
    vault.pins = other.certificate
    vault.now += 10
    service.set_certificate(KeyPair(other.chain, other.key))
    service.drop_connections()
    async with asyncio.timeout(5):
        while predictor.channel_state == "ready":  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    await predictor.predict(REQUEST, call())

    assert vault.reads == 2
    assert len({seen.peer for seen in service.recorder.calls}) == 2


async def test_an_untrusted_certificate_that_fresh_pins_do_not_cover_either_is_named(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    service = await start()
    vault.pins = Authority.create().pem

    with pytest.raises(errors.ServiceUntrusted):
        await connect(service).predict(REQUEST, call())


async def test_a_certificate_that_changes_with_its_pins_while_the_service_restarts_costs_no_request(
    start: StartService, connect: Connect, vault: Vault, authority: Authority
) -> None:
    """No order that the gateway asks for: the pins should have been there a while before."""
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    other = authority.issue()
    await service.stop(0)
    vault.pins, vault.now = other.certificate, vault.now + 10
    service.set_certificate(KeyPair(other.chain, other.key))

    waiting = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    await asyncio.sleep(0.3)
    await service.start()

    assert all(await asyncio.gather(*waiting))


async def test_pins_that_come_a_moment_late_cost_no_request(
    start: StartService, connect: Connect, vault: Vault, authority: Authority
) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    other = authority.issue()
    service.set_certificate(KeyPair(other.chain, other.key))
    service.drop_connections()

    # The snapshot was read this moment: another read has to wait.
    waiting = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    await asyncio.sleep(0.3)
    vault.pins, vault.now = other.certificate, vault.now + 1

    assert all(await asyncio.gather(*waiting))
    assert vault.reads == 2


async def test_a_service_that_was_long_untrusted_is_trusted_as_soon_as_the_pins_are(
    start: StartService, connect: Connect, vault: Vault, issued: Issued
) -> None:
    service = await start()
    vault.pins = Authority.create().pem
    # By a name, gRPC may tell of another of its addresses, that nobody answers there.
    predictor = connect(service, address="127.0.0.1")
    with pytest.raises(errors.ServiceUntrusted):
        await predictor.predict(REQUEST, call())
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(errors.ServiceUntrusted):
            await predictor.predict(REQUEST, call())
    # Only the first of the trouble was waited out: twenty times that would be forty seconds.
    assert time.monotonic() - began < PATIENCE

    vault.pins, vault.now = issued.certificate, vault.now + 1

    assert await predictor.predict(REQUEST, call())


async def test_health_is_the_services_own_word(start: StartService, connect: Connect) -> None:
    faults = FaultSwitch()
    service = await start(faults=faults)
    predictor = connect(service)

    assert await predictor.health(call()) == "serving"
    faults.set(Faults(not_serving=True))
    assert await predictor.health(call()) == "not_serving"


async def test_connecting_ahead_leaves_the_first_request_nothing_to_wait_for(
    start: StartService, connect: Connect, vault: Vault
) -> None:
    predictor = connect(await start())

    await predictor.connect()

    assert predictor.channel_state == "ready"
    assert vault.reads == 1
    first = call()
    await predictor.predict(REQUEST, first)
    assert "wait;dur=0.00" in first.timings.server_timing()


async def test_a_service_that_restarts_is_waited_for(start: StartService, connect: Connect) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    await service.stop(0)

    waiting = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    await asyncio.sleep(0.5)
    await service.start()

    assert all(await asyncio.gather(*waiting))


async def test_what_waits_for_a_service_that_restarts_does_not_count_as_overload(
    start: StartService, vault: Vault
) -> None:
    service = await start()
    predictor = Predictor(ServiceSettings("cats", "localhost", service.port, deadline_seconds=2), vault.cache)
    for _ in range(2):
        await predictor.predict(REQUEST, call())
    await service.stop(0)

    waiting = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    await asyncio.sleep(0.5)
    await service.start()
    await asyncio.gather(*waiting)

    assert "of 64.0 places" in repr(predictor.admission)
    await predictor.close()


async def test_a_service_that_stays_away_is_named_and_then_at_once(start: StartService, connect: Connect) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())
    await service.stop(0)

    with pytest.raises(errors.ServiceUnreachable):
        await predictor.predict(REQUEST, call())
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(errors.ServiceUnreachable):
            await predictor.predict(REQUEST, call())
    # Twenty times the patience with one outage would be forty seconds.
    assert time.monotonic() - began < PATIENCE

    await service.start()
    async with asyncio.timeout(1):
        while True:
            try:
                await predictor.predict(REQUEST, call())
                break
            except errors.ServiceUnreachable:
                await asyncio.sleep(0.01)


async def test_a_connection_that_breaks_in_mid_call_costs_no_request(start: StartService, connect: Connect) -> None:
    faults = FaultSwitch(Faults(delay_ms=200))
    service = await start(faults=faults)
    predictor = connect(service)
    under_way = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    async with asyncio.timeout(5):
        while len(service.recorder.calls) < 10:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    faults.set(Faults())

    assert service.drop_connections() == 1

    assert all(await asyncio.gather(*under_way))


async def test_a_service_that_stops_in_mid_call_and_comes_back_costs_no_request(
    start: StartService, connect: Connect
) -> None:
    """It cancels what it was asked, and says so."""
    faults = FaultSwitch(Faults(delay_ms=200))
    service = await start(faults=faults)
    predictor = connect(service)
    under_way = [asyncio.create_task(predictor.predict(REQUEST, call())) for _ in range(10)]
    async with asyncio.timeout(5):
        while len(service.recorder.calls) < 10:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    faults.set(Faults())

    await service.stop(0)
    await service.start()

    assert all(await asyncio.gather(*under_way))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_a_passing_unavailability_is_tried_again(start: StartService, connect: Connect, code: str) -> None:
    service = await start(faults=FaultSwitch(Faults(fail_next=3, fail_with=code)))

    assert await connect(service).predict(REQUEST, call())

    assert len(service.recorder.calls) == 4


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INTERNAL", errors.ServiceFailed),
        ("UNKNOWN", errors.ServiceFailed),
        ("RESOURCE_EXHAUSTED", errors.ServiceBusy),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("INVALID_ARGUMENT", errors.ServiceRejected),
        ("PERMISSION_DENIED", errors.KeysRefused),
    ],
)
async def test_nothing_else_is_tried_again(
    start: StartService, connect: Connect, code: str, kind: type[errors.GatewayError]
) -> None:
    service = await start(faults=FaultSwitch(Faults(fail_next=1, fail_with=code)))

    with pytest.raises(kind):
        await connect(service).predict(REQUEST, call())

    assert len(service.recorder.calls) == 1


async def test_the_deadline_is_kept_by_retries_too(start: StartService, connect: Connect) -> None:
    service = await start()
    predictor = connect(service)
    await service.stop(0)
    began = time.monotonic()

    with pytest.raises(errors.ServiceUnreachable):
        await predictor.predict(REQUEST, call(0.3))

    assert time.monotonic() - began < PATIENCE


async def test_a_long_way_to_the_service_is_no_reason_not_to_arrive(start: StartService, vault: Vault) -> None:
    """A handshake takes three round trips: half a second to the other side of the world."""
    service = await start()
    async with far_away(service.port, 0.08) as port:
        predictor = Predictor(ServiceSettings("cats", "localhost", port), vault.cache)

        assert await predictor.predict(REQUEST, call())

        await predictor.close()


async def test_a_frozen_service_is_noticed_by_its_connection(
    authority: Authority, vault: Vault, tmp_path: Path
) -> None:
    """A process that is stopped accepts connections and bytes, and says nothing."""
    issued = authority.issue()
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    (tmp_path / "keys.json").write_text(json.dumps({"primaryKey": KEYS.primary, "secondaryKey": KEYS.secondary}))
    vault.pins = issued.certificate
    arguments = ["--certificate", "chain.pem", "--key", "leaf.key", "--keys", "keys.json"]
    arguments = [str(tmp_path / one) if "." in one else one for one in arguments]
    running = Running("devstack.fpga", "--engine", "simulated", *arguments, log=tmp_path / "log")
    with running as service:
        port = int(service.address.rpartition(":")[2])
        predictor = Predictor(ServiceSettings("cats", "localhost", port), vault.cache)
        await predictor.predict(REQUEST, call())
        service.process.send_signal(signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(predictor.predict(REQUEST, call(20)))
            # Without keepalive's ping timeout it would take a minute.
            async with asyncio.timeout(10):
                while predictor.channel_state == "ready":  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
        finally:
            service.process.send_signal(signal.SIGCONT)
        # Back at work, it gets a new connection, and the call its answer.
        assert await waiting
        await predictor.close()


@asynccontextmanager
async def far_away(port: int, seconds: float) -> AsyncIterator[int]:
    """A port that leads to another one, and keeps every byte for a while, each way."""
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
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        pipes.extend((asyncio.create_task(pipe(reader, there_writer)), asyncio.create_task(pipe(there_reader, writer))))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*pipes)


async def test_the_deadline_is_kept(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))
    began = time.monotonic()

    with pytest.raises(errors.DeadlineExceeded):
        await connect(service).predict(REQUEST, call(0.3))

    assert 0.3 <= time.monotonic() - began < PATIENCE
