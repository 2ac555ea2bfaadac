"""The running services: started, changed and stopped as they are told, all in one event loop."""

import asyncio
import logging
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm

from devstack.control.engines import EnginePool
from devstack.control.errors import OperationFailed
from devstack.control.records import ModelRecord, ServiceRecord
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
)

_log = logging.getLogger("devstack")

HOST = "127.0.0.1"

# Calls in work when a service stops may last so long, in seconds.
_GRACE = 0.5

# How many ports are tried from the first on, when other programs hold some.
_TRIED_PORTS = 100


@dataclass(frozen=True)
class Plan:
    """What a service runs with; ``pair`` is None where it has no TLS, and then no call needs a key."""

    model: ModelRecord
    keys: Keys
    pair: KeyPair | None

    @classmethod
    def of(cls, record: ServiceRecord, model: ModelRecord) -> "Plan":
        """The plan of a record.

        Raises:
            OperationFailed: its certificate, private key or keys cannot be used.
        """
        try:
            pair = KeyPair(record.chain.encode(), record.key.encode()) if record.tls else None
            return cls(model, Keys(record.primary_key, record.secondary_key), pair)
        except (ValueError, TypeError) as error:
            raise OperationFailed(f"The service cannot be deployed: {error}.") from None
        except UnsupportedAlgorithm:
            raise OperationFailed("The service cannot be deployed: its private key is of an unknown kind.") from None


def must_restart(old: Plan, new: Plan, *, swap: str) -> bool:
    """Whether a change ends the running server; otherwise it is made under the open connections."""
    if old.model != new.model or (old.pair is None) != (new.pair is None):
        return True
    return old.pair != new.pair and swap == "restart"


@dataclass
class _Running:
    service: Service
    plan: Plan
    faults: Faults
    switch: FaultSwitch


class Fleet:
    """The services by their ids. ``first_port`` is where ports for new ones are looked for; 0: anywhere."""

    def __init__(self, engines: EnginePool, first_port: int) -> None:
        self._engines = engines
        self._first_port = first_port
        self._running: dict[str, _Running] = {}

    async def start(self, service_id: str, plan: Plan, *, port: int, taken: frozenset[int] = frozenset()) -> int:
        """Start a service and return its port: the given one, or for 0 a free one that is not ``taken``.

        Raises:
            OperationFailed: it cannot be started.
        """
        last: OperationFailed | None = None
        for candidate in self._ports(port, taken):
            try:
                return await self._start(service_id, plan, candidate, FaultSwitch())
            except PortInUseError:
                last = OperationFailed(f"port {candidate} on {HOST} is in use")
        raise last or OperationFailed("there is no free port")

    async def change(self, service_id: str, plan: Plan, *, swap: str, stale: bool) -> None:
        """Make a running service follow another plan; with ``stale`` it goes on with its old certificate.

        Raises:
            OperationFailed: it cannot; the service goes on as it was.
        """
        running = self._running[service_id]
        if stale and running.plan.pair and plan.pair:
            plan = Plan(plan.model, plan.keys, running.plan.pair)
        if must_restart(running.plan, plan, swap=swap):
            await self._restart(service_id, running, plan)
            return
        if plan.pair and plan.pair != running.plan.pair:
            running.service.set_certificate(plan.pair)
        if plan.pair:
            running.service.set_keys(plan.keys)
        running.plan = plan

    async def stop(self, service_id: str) -> None:
        """Stop a service; nothing happens when it does not run."""
        running = self._running.pop(service_id, None)
        if running:
            await running.service.stop(_GRACE)
            self._engines.release(running.plan.model.id)

    async def runs(self, service_id: str) -> bool:
        return service_id in self._running

    async def set_keys(self, service_id: str, keys: Keys) -> None:
        """Exchange the keys of a service, from its next call on."""
        running = self._running.get(service_id)
        if running is None:
            return
        running.plan = Plan(running.plan.model, keys, running.plan.pair)
        if running.plan.pair:
            running.service.set_keys(keys)

    async def set_faults(self, service_id: str, faults: Faults) -> None:
        """Put faults of the data plane in force; ``Faults()`` ends them."""
        running = self._running.get(service_id)
        if running:
            running.faults = faults
            running.switch.set(faults)

    async def describe(self, service_id: str) -> dict[str, Any]:
        """What a service really serves, whatever the control plane says about it."""
        running = self._running.get(service_id)
        if running is None:
            return {"running": False, "fingerprint": None, "calls": 0, "faults": Faults()}
        pair = running.plan.pair
        return {
            "running": True,
            "fingerprint": pair.fingerprint if pair else None,
            "calls": len(running.service.recorder.calls),
            "faults": running.faults,
        }

    async def close(self) -> None:
        """Stop all services at the same time."""
        await asyncio.gather(*(self.stop(service_id) for service_id in list(self._running)))
        self._engines.close()

    def _ports(self, port: int, taken: frozenset[int]) -> list[int]:
        if port or not self._first_port:
            return [port]
        free = (each for each in count(self._first_port) if each not in taken)
        return [each for each in islice(free, _TRIED_PORTS) if each <= 65535]

    async def _start(self, service_id: str, plan: Plan, port: int, switch: FaultSwitch) -> int:
        try:
            engine = await self._engines.acquire(plan.model)
        except (ValueError, OSError) as error:
            _log.error("the model %s cannot be loaded: %s", plan.model.id, error)
            raise OperationFailed(f"The model {plan.model.name} cannot be loaded.") from None
        service = Service(
            Model(plan.model.name, plan.model.version, engine.output_shape),
            engine,
            keys=KeyRing(plan.keys) if plan.pair else None,
            identity=Identity(plan.pair) if plan.pair else None,
            endpoint=Endpoint(HOST, port),
            faults=switch,
        )
        try:
            chosen = await service.start()
        except BaseException:
            self._engines.release(plan.model.id)
            raise
        self._running[service_id] = _Running(service, plan, Faults(), switch)
        return chosen

    async def _restart(self, service_id: str, running: _Running, plan: Plan) -> None:
        port, old = running.service.port, running.plan
        # Held over the change, so that a model both plans share is not loaded again, and the old one can come back.
        await self._engines.acquire(old.model)
        try:
            await self.stop(service_id)
            try:
                await self._start(service_id, plan, port, running.switch)
            except (OperationFailed, PortInUseError) as error:
                await self._start(service_id, old, port, running.switch)
                raise OperationFailed(str(error)) from None
            finally:
                if service_id in self._running:
                    self._running[service_id].faults = running.faults
        finally:
            self._engines.release(old.model.id)
