"""The running services, all in one event loop."""

import asyncio
import logging
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from devstack.control.engines import EnginePool
from devstack.control.errors import OperationFailed
from devstack.control.records import ModelRecord, ServiceRecord
from devstack.fpga import Endpoint, Faults, FaultSwitch, Identity, KeyPair, KeyRing, Keys, Model, Service
from devstack.sockets import PortUnavailable

_log = logging.getLogger("devstack")

HOST = "127.0.0.1"

# Seconds for the calls in progress when a service stops.
_GRACE = 0.5

# How many ports are tried, from the first on.
_TRIED_PORTS = 100


@dataclass(frozen=True)
class Plan:
    """The configuration of a running service; without ``pair`` it has no TLS, and calls need no key."""

    model: ModelRecord
    keys: Keys
    pair: KeyPair | None

    @classmethod
    def of(cls, record: ServiceRecord, model: ModelRecord) -> "Plan":
        """The configuration for a record.

        Raises:
            OperationFailed: its certificate, private key or keys cannot be used.
        """
        try:
            pair = KeyPair(record.chain.encode(), record.key.encode()) if record.tls else None
            return cls(model, Keys(record.primary_key, record.secondary_key), pair)
        except ValueError as error:
            raise OperationFailed(f"The service cannot be deployed: {error}.") from None


def must_restart(old: Plan, new: Plan, *, swap: str) -> bool:
    """Whether a change needs a restart; otherwise connections stay open."""
    if old.model != new.model or (old.pair is None) != (new.pair is None):
        return True
    return old.pair != new.pair and swap == "restart"


@dataclass
class _Running:
    service: Service
    plan: Plan
    faults: FaultSwitch


class Fleet:
    """The services by their ids. New ones get ports from ``first_port`` on; with 0, any free one."""

    def __init__(self, engines: EnginePool, first_port: int) -> None:
        self._engines = engines
        self._first_port = first_port
        self._running: dict[str, _Running] = {}

    async def start(self, service_id: str, plan: Plan, *, port: int, taken: frozenset[int] = frozenset()) -> int:
        """Start a service and return its port: the given one, or for 0 a free one that is not in ``taken``.

        Raises:
            OperationFailed: it cannot be started.
        """
        last: OperationFailed | None = None
        for candidate in self._ports(port, taken):
            try:
                return await self._start(service_id, plan, candidate, FaultSwitch())
            except PortUnavailable:
                last = OperationFailed(f"port {candidate} on {HOST} is in use")
        raise last or OperationFailed("there is no free port")

    async def change(self, service_id: str, plan: Plan, *, swap: str, stale: bool) -> None:
        """Change a running service; with ``stale`` it keeps its old certificate.

        Raises:
            OperationFailed: it cannot be changed, and continues as before.
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
        """Stop a service, if it runs."""
        running = self._running.pop(service_id, None)
        if running:
            await running.service.stop(_GRACE)
            self._engines.release(running.plan.model.id)

    async def runs(self, service_id: str) -> bool:
        return service_id in self._running

    async def set_keys(self, service_id: str, keys: Keys) -> None:
        """Replace the keys of a service, from its next call on."""
        running = self._running.get(service_id)
        if running is None:
            return
        running.plan = Plan(running.plan.model, keys, running.plan.pair)
        if running.plan.pair:
            running.service.set_keys(keys)

    async def set_faults(self, service_id: str, faults: Faults) -> None:
        """Replace the injected faults of the data plane; ``Faults()`` ends all."""
        running = self._running.get(service_id)
        if running:
            running.faults.set(faults)

    async def describe(self, service_id: str) -> dict[str, Any]:
        """The actual state of a service, which may differ from that in the API."""
        running = self._running.get(service_id)
        if running is None:
            return {"running": False, "fingerprint": None, "calls": 0, "faults": Faults()}
        pair = running.plan.pair
        return {
            "running": True,
            "fingerprint": pair.fingerprint if pair else None,
            "calls": len(running.service.recorder.calls),
            "faults": running.faults.current,
        }

    async def close(self) -> None:
        """Stop all services at the same time."""
        await asyncio.gather(*(self.stop(service_id) for service_id in list(self._running)))
        self._engines.close()

    def _ports(self, port: int, taken: frozenset[int]) -> list[int]:
        if port or not self._first_port:
            return [port]
        free = (candidate for candidate in count(self._first_port) if candidate not in taken)
        return [candidate for candidate in islice(free, _TRIED_PORTS) if candidate <= 65535]

    async def _start(self, service_id: str, plan: Plan, port: int, faults: FaultSwitch) -> int:
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
            faults=faults,
        )
        try:
            chosen = await service.start()
        except BaseException:
            self._engines.release(plan.model.id)
            raise
        self._running[service_id] = _Running(service, plan, faults)
        return chosen

    async def _restart(self, service_id: str, running: _Running, plan: Plan) -> None:
        port, old = running.service.port, running.plan
        # Kept during the change: a model that stays the same is not loaded again, and the old one can be restored.
        await self._engines.acquire(old.model)
        try:
            await self.stop(service_id)
            try:
                await self._start(service_id, plan, port, running.faults)
            except (OperationFailed, PortUnavailable) as error:
                await self._start(service_id, old, port, running.faults)
                raise OperationFailed(str(error)) from None
        finally:
            self._engines.release(old.model.id)
