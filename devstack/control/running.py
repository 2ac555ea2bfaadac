"""The parts of a control plane put together, and their start and end in the right order."""

import argparse
import signal
import time
from collections.abc import Callable

from starlette.types import ASGIApp

from devstack.control.admin import Admin
from devstack.control.app import Account, ControlApp, Gate
from devstack.control.engines import EnginePool, model_engines, simulated_engines
from devstack.control.errors import OperationFailed
from devstack.control.fleet import Fleet, Plan
from devstack.control.loops import LoopThread
from devstack.control.operations import Operations
from devstack.control.records import FAILED, ModelRecord, ServiceRecord
from devstack.control.store import ControlStore
from devstack.fpga import Engine
from devstack.serving import HOST, StartError, serve, tls_context


def run(options: argparse.Namespace, store: ControlStore, signing_key: bytes) -> None:
    """Serve until SIGINT or SIGTERM: the services first, so that the ready line means all of them.

    Raises:
        StartError: a port is in use, or something that a service needs cannot be used.
        ValueError: an option makes no sense.
    """
    if options.latency_ms < 0:
        raise ValueError(f"--latency-ms is {options.latency_ms}; it must not be negative")
    tls = tls_context(options.certificate, options.key)
    with LoopThread("data-plane") as data_plane:
        fleet = data_plane.run(_fleet(_maker(options, store), options.data_ports))
        try:
            data_plane.run(_start_all(fleet, store))
            serve(
                lambda _stopping: _application(options, store, fleet, data_plane, signing_key),
                name="control",
                port=options.port,
                address=lambda port: f"https://{HOST}:{port}",
                tls=tls,
            )
        finally:
            # It is ending: another Ctrl-C, or a supervisor's signal after one, changes nothing about that.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            data_plane.run(fleet.close())


def _maker(options: argparse.Namespace, store: ControlStore) -> Callable[[ModelRecord], Engine]:
    if options.engine == "simulated":
        return simulated_engines(options.latency_ms)
    return model_engines(store.model_folder)


async def _fleet(make: Callable[[ModelRecord], Engine], first_port: int) -> Fleet:
    return Fleet(EnginePool(make), first_port)


async def _start_all(fleet: Fleet, store: ControlStore) -> None:
    for record in store.services():
        if record.state != FAILED:
            port = await _start(fleet, store, record)
            if port != record.port:
                store.keep_port(record.id, port)


async def _start(fleet: Fleet, store: ControlStore, record: ServiceRecord) -> int:
    model = store.model(record.model_id)
    if model is None:
        raise StartError(f"service {record.name} cannot start: its model {record.model_id} is gone; delete the folder")
    taken = frozenset(each.port for each in store.services())
    try:
        return await fleet.start(record.id, Plan.of(record, model), port=record.port, taken=taken)
    except OperationFailed as failure:
        remedy = "stop the program that holds its port, or correct its entry in control.json"
        raise StartError(f"{_bare(failure)}: service {record.name} cannot start; {remedy}") from None


def _bare(failure: OperationFailed) -> str:
    return str(failure).rstrip(".")


def _application(
    options: argparse.Namespace, store: ControlStore, fleet: Fleet, data_plane: LoopThread, signing_key: bytes
) -> ASGIApp:
    operations = Operations(store, fleet, data_plane, swap=options.swap)
    admin = Admin(store, operations, fleet, data_plane, swap=options.swap)
    gate = Gate(signing_key, time.time, options.audience, options.tenant)
    account = Account(options.subscription, options.group, options.account)
    return ControlApp(store, operations, admin, gate, account, options.page_size).asgi()
