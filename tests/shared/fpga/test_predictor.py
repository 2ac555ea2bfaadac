"""One service as the gateway uses it: what happens when it refuses a key or shows another certificate."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable

import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import KeyPair, Keys, Service
from devstack.fpga.faults import Faults, FaultSwitch
from protos.serving_pb2 import PredictResponse
from shared import errors
from shared.fpga.predictor import Predictor
from shared.scoring.tensors import RequestTemplate
from shared.settings import ServiceSettings, Tls
from shared.telemetry import Call
from shared.trust.certificates import read_pins
from shared.trust.credentials import CredentialCache, Credentials
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
        return Credentials(self.keys.primary, self.keys.secondary, pins, self.now)


Connect = Callable[..., Predictor]


@pytest.fixture
def vault(issued: Issued) -> Vault:
    return Vault(KEYS, issued.certificate)


@pytest.fixture
async def connect(vault: Vault) -> AsyncIterator[Connect]:
    made: list[Predictor] = []

    def predictor(service: Service, tls: Tls = Tls.REQUIRED) -> Predictor:
        settings = ServiceSettings("cats", "localhost", service.port, tls)
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


async def test_a_service_that_is_down_is_named_and_found_again(start: StartService, connect: Connect) -> None:
    service = await start()
    predictor = connect(service)
    await predictor.predict(REQUEST, call())

    await service.stop(0)
    with pytest.raises(errors.ServiceUnreachable):
        await predictor.predict(REQUEST, call())
    await service.start()

    async with asyncio.timeout(5):
        while True:
            try:
                await predictor.predict(REQUEST, call())
                break
            except errors.ServiceUnreachable:
                await asyncio.sleep(0.05)


async def test_the_deadline_is_kept(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))
    began = time.monotonic()

    with pytest.raises(errors.DeadlineExceeded):
        await connect(service).predict(REQUEST, call(0.3))

    assert time.monotonic() - began >= 0.3


async def test_an_answer_of_failure_is_passed_on_by_its_cause_and_not_tried_again(
    start: StartService, connect: Connect
) -> None:
    service = await start(faults=FaultSwitch(Faults(fail_next=1, fail_with="INTERNAL")))

    with pytest.raises(errors.ServiceFailed):
        await connect(service).predict(REQUEST, call())

    assert len(service.recorder.calls) == 1
