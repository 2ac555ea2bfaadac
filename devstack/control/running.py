"""Makes, starts and stops the parts of a control plane."""

import argparse
import contextlib
import signal

from starlette.types import ASGIApp

from devstack.control.admin import Admin
from devstack.control.app import Account, ControlApp, make_gate
from devstack.control.engines import EnginePool, model_engines, simulated_engines
from devstack.control.errors import OperationFailed
from devstack.control.fleet import Fleet, Plan
from devstack.control.loops import LoopThread
from devstack.control.operations import Operations
from devstack.control.records import FAILED, ServiceRecord
from devstack.control.store import ControlStore
from devstack.errors import CommandError
from devstack.rest.serving import HOST, tls_context
from devstack.rest.serving import serve as serve_http


def serve(options: argparse.Namespace, store: ControlStore, signing_key: bytes) -> None:
    """Serve until SIGINT or SIGTERM. The services start before the ready line.

    Raises:
        CommandError: a port is in use, or a service cannot be started.
    """
    tls = tls_context(options.certificate, options.key)
    with contextlib.closing(LoopThread("data-plane")) as data_plane:
        simulated = options.engine == "simulated"
        make = simulated_engines(options.latency_ms) if simulated else model_engines(store.model_folder)
        fleet = Fleet(EnginePool(make), options.data_ports)
        try:
            data_plane.run(_start_all(fleet, store))
            serve_http(
                lambda _stopping: _application(options, store, fleet, data_plane, signing_key),
                name="control",
                port=options.port,
                address=lambda port: f"https://{HOST}:{port}",
                tls=tls,
            )
        finally:
            # It ends already: another Ctrl-C, or a supervisor's signal after one, must not interrupt that.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            data_plane.run(fleet.close())


async def _start_all(fleet: Fleet, store: ControlStore) -> None:
    for record in store.services():
        if record.state != FAILED:
            port = await _start(fleet, store, record)
            if port != record.port:
                store.keep_port(record.id, port)


async def _start(fleet: Fleet, store: ControlStore, record: ServiceRecord) -> int:
    model = store.model(record.model_id)
    if model is None:
        raise CommandError(
            f"service {record.name} cannot start: its model {record.model_id} is missing; delete the folder"
        )
    taken = frozenset(service.port for service in store.services())
    try:
        return await fleet.start(record.id, Plan.of(record, model), port=record.port, taken=taken)
    except OperationFailed as failure:
        remedy = "stop the program that uses its port, or correct its entry in control.json"
        cause = str(failure).rstrip(".")
        raise CommandError(f"{cause}: service {record.name} cannot start; {remedy}") from None


def _application(
    options: argparse.Namespace, store: ControlStore, fleet: Fleet, data_plane: LoopThread, signing_key: bytes
) -> ASGIApp:
    operations = Operations(store, fleet, data_plane, swap=options.swap)
    admin = Admin(store, operations, fleet, data_plane, swap=options.swap)
    gate = make_gate(signing_key, options.audience, options.tenant)
    account = Account(options.subscription, options.group, options.account)
    return ControlApp(store, operations, admin, gate, account, options.page_size).asgi()
