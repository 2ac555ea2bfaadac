"""How the service starts, stops, and fails when it is asked to."""

import asyncio

import grpc
import numpy as np
import pytest

from devstack.authority import Authority
from devstack.fpga import (
    Endpoint,
    Faults,
    FaultSwitch,
    Identity,
    KeyPair,
    KeyRing,
    Keys,
    Model,
    PortInUseError,
    Service,
    SimulatedEngine,
)
from tests.devstack.fpga.conftest import KEYS, Connect, StartService
from tests.devstack.fpga.wire import (
    eventually,
    recovered,
    refused,
    scores,
)

# Start and stop


async def test_a_port_in_use_is_told(start: StartService) -> None:
    taken = await start(tls=False)
    engine = SimulatedEngine(0)
    second = Service(Model("imagenet", 1, (1000,)), engine, endpoint=Endpoint(port=taken.port))
    with pytest.raises(PortInUseError, match=f"port {taken.port} on 127.0.0.1 is in use"):
        await second.start()
    engine.close()


async def test_a_service_keeps_its_port_when_it_starts_again(start: StartService, connect: Connect) -> None:
    service = await start()
    port = service.port
    await service.stop(0)
    assert "stopped" in repr(service)
    async with refused():
        await connect(service).predict()
    assert await service.start() == port
    assert repr(service) == f"<Service imagenet 127.0.0.1:{port} TLS listening>"
    assert scores(await connect(service).predict()).shape == (1, 1000)


async def test_services_live_beside_each_other_and_may_share_an_engine(
    start: StartService, connect: Connect, authority: Authority
) -> None:
    engine = SimulatedEngine(0)
    other = authority.issue()
    first = await start(engine)
    second = await start(
        engine, keys=KeyRing(Keys("other", "another")), identity=Identity(KeyPair(other.chain, other.key))
    )
    await connect(first).predict()
    await connect(second, "other").predict()
    await first.stop(0)
    await connect(second, "another").predict()
    assert [call.key for call in second.recorder.calls] == ["primary", "secondary"]
    engine.close()


# Faults


async def test_calls_fail_until_the_fault_is_over(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    service.set_faults(Faults(fail_next=1))
    async with refused() as outcome:
        await client.predict()
    assert outcome.code == grpc.StatusCode.UNAVAILABLE
    await client.predict()


async def test_a_call_that_hangs_ends_with_the_callers_deadline(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))
    client = connect(service)
    async with refused() as outcome:
        await client.predict(deadline=0.2)
    assert outcome.code == grpc.StatusCode.DEADLINE_EXCEEDED
    service.set_faults(Faults())
    await client.predict()


async def test_a_call_that_hangs_does_not_keep_the_service_from_stopping(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))
    call = asyncio.create_task(connect(service).predict())
    await eventually(lambda: service.recorder.calls)
    await service.stop(grace=0)
    async with refused() as outcome:
        await call
    assert (outcome.code, outcome.details) == (grpc.StatusCode.UNAVAILABLE, "the service is stopping")


async def test_answers_are_spoiled_on_the_wire(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    service.set_faults(Faults(answer="missing_output"))
    assert dict((await client.predict()).outputs) == {}
    service.set_faults(Faults(answer="wrong_shape"))
    assert scores(await client.predict()).shape == (999,)
    service.set_faults(Faults(answer="nan"))
    assert np.isnan(scores(await client.predict())).all()


async def test_dropped_connections_end_their_calls_and_can_be_opened_again(
    start: StartService, connect: Connect
) -> None:
    service = await start()
    client = connect(service)
    await client.predict()
    service.set_faults(Faults(drop_next=1))
    async with refused() as outcome:
        await client.predict()
    assert outcome.code == grpc.StatusCode.UNAVAILABLE
    assert "Socket closed" in outcome.details
    assert scores(await recovered(client)).shape == (1, 1000)
    before, dropped, after = (call.peer for call in service.recorder.calls)
    assert before == dropped != after


async def test_connections_of_one_service_alone_are_dropped(start: StartService, connect: Connect) -> None:
    first, second = await start(), await start(tls=False)
    clients = [connect(first), connect(first, KEYS.secondary), connect(second, tls=False)]
    for client in clients:
        await client.predict()
    assert first.drop_connections() == 2
    await clients[2].predict()
    assert len({call.peer for call in second.recorder.calls}) == 1


async def test_a_call_in_work_is_finished_before_the_service_stops(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(delay_ms=100)))
    call = asyncio.create_task(connect(service).predict())
    await eventually(lambda: service.recorder.calls)
    await service.stop(grace=5)
    assert scores(await call).shape == (1, 1000)
