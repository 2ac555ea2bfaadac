"""Asynchronous operations: accepted at once, carried out one after the other for each service.

::

    NotStarted -> Running -> Succeeded | Failed
                  Running -> Cancelled     a fault held it, until a newer operation came or the fault ended

An operation is on disk before the response to its request; its end and the change are one write.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from devstack.control.errors import OperationFailed
from devstack.control.faults import Fault, Mode
from devstack.control.fleet import Fleet, Plan
from devstack.control.loops import LoopThread
from devstack.control.records import (
    CANCELLED,
    CREATE,
    DELETE,
    FAILED,
    RUNNING,
    SUCCEEDED,
    UPDATE,
    OperationRecord,
    ServiceRecord,
)
from devstack.control.store import ControlStore, new_key
from devstack.control.wire import Change
from devstack.fpga import Keys

_log = logging.getLogger("devstack")


class _Cancelled(Exception):
    """The operation is cancelled by a newer one, or with the fault."""


@dataclass(frozen=True)
class _Outcome:
    """The result of an operation: a service as it is now, or the id of a deleted one."""

    service: ServiceRecord | None = None
    without_service: str = ""


class Operations:
    """Executes operations. ``swap`` is the way to replace certificates of services without a setting of their own."""

    def __init__(self, store: ControlStore, fleet: Fleet, data_plane: LoopThread, *, swap: str) -> None:
        self._store = store
        self._fleet = fleet
        self._data_plane = data_plane
        self._swap = swap
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        # By service: set to cancel the operation that a fault holds.
        self._held: dict[str, asyncio.Event] = {}
        # The models that unfinished operations will deploy.
        self._used_models: Counter[str] = Counter()

    def create(self, name: str, change: Change, fault: Fault | None) -> OperationRecord:
        """Start to create a service.

        Raises:
            BadRequest: the name breaks the rules; NameInUse: another service has it.
        """
        tls = bool(change.tls and change.tls.enabled)
        record = self._store.new_service(name=name, model_id=change.model_id, tls=tls)
        return self._begin(CREATE, record, change, fault, saved=record)

    def update(self, record: ServiceRecord, change: Change, fault: Fault | None) -> OperationRecord:
        """Start to update a service."""
        return self._begin(UPDATE, record, change, fault)

    def delete(self, record: ServiceRecord, fault: Fault | None) -> OperationRecord:
        """Start to delete a service."""
        return self._begin(DELETE, record, None, fault)

    async def regenerate(self, record: ServiceRecord, *, primary: bool, secondary: bool) -> ServiceRecord:
        """Replace one or both keys of a service by new ones, which are in use when this returns."""
        changed = replace(
            record,
            primary_key=new_key() if primary else record.primary_key,
            secondary_key=new_key() if secondary else record.secondary_key,
            updated=self._store.now(),
        )
        self._store.save(service=changed)
        await self._put_keys(record.id)
        return changed

    def release(self) -> None:
        """Cancel every operation that a fault holds."""
        for event in self._held.values():
            event.set()

    def uses(self, model_id: str) -> bool:
        """Whether an unfinished operation will deploy a model."""
        return self._used_models[model_id] > 0

    def _begin(
        self,
        kind: str,
        record: ServiceRecord,
        change: Change | None,
        fault: Fault | None,
        saved: ServiceRecord | None = None,
    ) -> OperationRecord:
        operation = self._store.new_operation(kind, record.id)
        self._store.save(operation=operation, service=saved)
        if record.id in self._held:
            self._held[record.id].set()
        task = asyncio.create_task(self._run(operation, change, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    async def _run(self, operation: OperationRecord, change: Change | None, fault: Fault | None) -> None:
        model_id = change.model_id if change else ""
        self._used_models[model_id] += 1
        try:
            async with self._locks[operation.service_id]:
                await self._execute(operation, change, fault)
        except OSError as error:
            _log.error("cannot save the state of operation %s: %s", operation.id, error)
        finally:
            self._used_models[model_id] -= 1

    async def _execute(self, operation: OperationRecord, change: Change | None, fault: Fault | None) -> None:
        running = replace(operation, state=RUNNING)
        self._store.save(operation=running)
        try:
            await self._apply(fault, operation)
            stale = fault is not None and fault.mode is Mode.STALE
            outcome = await (self._deploy(operation, change, stale=stale) if change else self._remove(operation))
        except OperationFailed as failure:
            self._end(running, FAILED, error=str(failure))
        except _Cancelled:
            self._end(running, CANCELLED, error="The operation was cancelled.")
        except Exception:
            _log.exception("operation %s failed", operation.id)
            self._end(running, FAILED, error="The control plane failed; see its log.")
        else:
            self._end(running, SUCCEEDED, outcome=outcome)
            # Keys may have been regenerated meanwhile.
            await self._put_keys(operation.service_id)

    async def _apply(self, fault: Fault | None, operation: OperationRecord) -> None:
        """Raise the fault's end of the operation, or wait and return."""
        if fault is None:
            return
        match fault.mode:
            case Mode.FAIL:
                raise OperationFailed(fault.message)
            case Mode.SLOW:
                await asyncio.sleep(fault.delay)
            case Mode.HANG:
                await self._hold(operation)
                raise _Cancelled

    async def _hold(self, operation: OperationRecord) -> None:
        """Wait until a newer operation, which may already exist, or :meth:`release` cancels this one."""
        newest = self._store.unfinished(operation.service_id)
        if newest is None or newest.id != operation.id:
            return
        event = self._held[operation.service_id] = asyncio.Event()
        try:
            await event.wait()
        finally:
            del self._held[operation.service_id]

    async def _deploy(self, operation: OperationRecord, change: Change, *, stale: bool) -> _Outcome:
        service_id = operation.service_id
        record = self._existing(service_id)
        model = self._store.model(change.model_id)
        if model is None:
            raise OperationFailed(f"There is no model {change.model_id}.")
        plan = Plan.of(change.applied_to(record), model)
        port = record.port
        if await self._data_plane.call(self._fleet.runs(service_id)):
            swap = record.swap or self._swap
            await self._data_plane.call(self._fleet.change(service_id, plan, swap=swap, stale=stale))
        else:
            taken = frozenset(service.port for service in self._store.services())
            port = await self._data_plane.call(self._fleet.start(service_id, plan, port=port, taken=taken))
        # Read again, since it may have changed; nothing below waits.
        changed = change.applied_to(self._existing(service_id))
        return _Outcome(replace(changed, port=port, state=SUCCEEDED, error=None, updated=self._store.now()))

    async def _remove(self, operation: OperationRecord) -> _Outcome:
        await self._data_plane.call(self._fleet.stop(operation.service_id))
        return _Outcome(without_service=operation.service_id)

    def _end(
        self, running: OperationRecord, state: str, *, error: str | None = None, outcome: _Outcome | None = None
    ) -> None:
        outcome = outcome or self._failed(running, error)
        ended = replace(running, state=state, error=error, ended=self._store.now())
        self._store.save(operation=ended, service=outcome.service, without_service=outcome.without_service)
        _log.info("%s of service %s: %s", running.kind, running.service_id, state)

    def _failed(self, running: OperationRecord, error: str | None) -> _Outcome:
        """The result of a failed operation: an unchanged service, or a failed one where it was created."""
        record = self._store.service(running.service_id)
        if running.kind != CREATE or record is None:
            return _Outcome()
        return _Outcome(replace(record, state=FAILED, error=error, updated=self._store.now()))

    def _existing(self, service_id: str) -> ServiceRecord:
        record = self._store.service(service_id)
        if record is None:
            raise OperationFailed("The service has been deleted.")
        return record

    async def _put_keys(self, service_id: str) -> None:
        record = self._store.service(service_id)
        if record:
            keys = Keys(record.primary_key, record.secondary_key)
            await self._data_plane.call(self._fleet.set_keys(service_id, keys))
