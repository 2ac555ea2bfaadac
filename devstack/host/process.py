"""The process that runs the app, alone or as a supervisor's worker: it loads the app and serves HTTP and timers."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import uvicorn
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.acceptance import Accepted, accept
from devstack.host.admin import Admin, RunNow
from devstack.host.application import BODY_LIMIT, BODY_LIMIT_SETTING, Application
from devstack.host.background import Background
from devstack.host.errors import HostError
from devstack.host.eventgrid import EventGridWebhook
from devstack.host.functions import HTTP_TRIGGER, TIMER_TRIGGER, WARMUP_TRIGGER, Function, by_trigger
from devstack.host.invocations import Invoke, Invoker
from devstack.host.keys import load_keys
from devstack.host.links import Link, ready_message, run_message
from devstack.host.messages import RpcFunctionMetadata
from devstack.host.options import BACKLOG, Setup
from devstack.host.signals import Stop, end_hard
from devstack.host.timers import StatusFile, Timer, is_monitored, utc_now
from devstack.host.triggers import manual_data
from devstack.tethered import end_when_closed
from shared.origins import is_loopback

# Kestrel's own: https://learn.microsoft.com/dotnet/api/microsoft.aspnetcore.server.kestrel.core.kestrelserverlimits.
_KEEP_ALIVE = 130


def run(setup: Setup, listener: socket.socket, base: str, stop: Stop, on_ready: Callable[[list[str]], None]) -> None:
    """Serve the app at the URL ``base`` until ``stop`` is signalled. ``on_ready`` gets the list of functions.

    Raises:
        HostError: the app cannot be served.
    """
    if setup.inherited is not None:
        end_when_closed(setup.inherited.lifeline, stop.patience, end_hard)
    os.chdir(setup.app)
    try:
        asyncio.run(_serve(setup, listener, base, stop, on_ready))
    finally:
        worker.stop()


async def _serve(
    setup: Setup, listener: socket.socket, base: str, stop: Stop, on_ready: Callable[[list[str]], None]
) -> None:
    link = await Link.open(socket.socket(fileno=setup.inherited.link)) if setup.inherited else None
    async with _worker(setup) as (found, invoke):
        accepted = accept(found, os.environ, setup.host.route_prefix)
        background, invoker = Background(), Invoker(setup.host.timeout, invoke)
        run_here = _runner(background, invoker)
        application = _make_application(setup, accepted, invoker, _run_now(setup, link, run_here))
        timers = _make_timers(setup, accepted, background, invoker)
        tasks: list[asyncio.Task[None]] = []
        await _warm_up(accepted, invoker)

        def on_started() -> None:
            lines = list(_listing(accepted.functions, base, setup.host.route_prefix))
            tasks.extend(background.start(timer.run()) for timer in timers)
            if link is None:
                on_ready(lines)
                return
            # uvicorn uses its backlog also as the number of connections to accept at once.
            listener.listen(BACKLOG)
            background.start(_run_messages(link, accepted, run_here))
            link.send(ready_message(lines))

        server = _Server(_configure(application, setup), on_started)
        stop.call(lambda: setattr(server, "should_exit", True))
        await server.serve(sockets=[listener])
        for task in tasks:
            task.cancel()
        if link is not None:
            link.close()
        await background.close(setup.grace)


@contextlib.asynccontextmanager
async def _worker(setup: Setup) -> AsyncIterator[tuple[Sequence[RpcFunctionMetadata], Invoke]]:
    """What runs the app, in this process or in one of its own: the functions that it found, and how to invoke them."""
    if not setup.worker_process:
        yield await worker.load_app(setup.app), worker.invoke
        return
    from devstack.host.remote import RemoteWorker  # noqa: PLC0415 - grpc and protobuf, which this process needs for nothing else

    remote = RemoteWorker(setup.app)
    found = await remote.start()
    try:
        yield found, remote.invoke
    finally:
        await remote.close()


class _Server(uvicorn.Server):
    """uvicorn, without signal handlers of its own, and with a callback when it serves."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It logs each request that it cuts off with a stack trace.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def _configure(application: Application, setup: Setup) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Like the real host, which ignores X-Forwarded-For and the like.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=setup.grace,  # type: ignore[arg-type] # passed to asyncio, which takes fractions
        # A worker that accepted all waiting connections at once would leave none to the others.
        backlog=BACKLOG if setup.inherited is None else 1,
    )


def _runner(background: Background, invoker: Invoker) -> RunNow:
    def start(function: Function, text: str) -> None:
        background.start(invoker.run(function, manual_data(function, text)))

    return start


def _run_now(setup: Setup, link: Link | None, run_here: RunNow) -> RunNow:
    """How a function is run by hand: here, or by the leader through the supervisor."""
    if setup.leads or link is None:
        return run_here
    return lambda function, text: link.send(run_message(function.name, text))


async def _run_messages(link: Link, accepted: Accepted, run_here: RunNow) -> None:
    """Run the functions that other workers were asked to run."""
    functions = {function.name: function for function in accepted.functions}
    async for message in link.messages():
        run_here(functions[message["function"]], message["input"])


def _make_application(setup: Setup, accepted: Accepted, invoker: Invoker, run_now: RunNow) -> Application:
    functions = accepted.functions
    keys = load_keys(setup.keys_file, [function.name for function in functions]) if setup.keys_file else None
    webhook = EventGridWebhook(functions, invoker)
    return Application(
        functions,
        accepted.routes,
        invoker,
        Admin(functions, run_now, webhook, route_prefix=setup.host.route_prefix, keys=keys),
        custom_headers=setup.host.custom_headers,
        cors=setup.cors,
        keys=keys,
        body_limit=_body_limit(),
        loopback_only=is_loopback(f"[{setup.address}]" if ":" in setup.address else setup.address),
    )


def _body_limit() -> int:
    text = os.environ.get(BODY_LIMIT_SETTING)
    if text is None:
        return BODY_LIMIT
    if not text.isdecimal():
        raise HostError(f"{BODY_LIMIT_SETTING} must be a number of bytes: correct it, or remove it")
    return int(text)


def _make_timers(setup: Setup, accepted: Accepted, background: Background, invoker: Invoker) -> list[Timer]:
    def invoke(function: Function, data: Datum) -> Awaitable[Any]:
        # Shielded: a run under way has time to end when its timer stops.
        return asyncio.shield(background.start(invoker.run(function, data, only_notable=True)))

    now, timers = utc_now(), []
    for function in by_trigger(accepted.functions, TIMER_TRIGGER) if setup.leads else ():
        schedule = accepted.schedules[function.name]
        monitored = is_monitored(function, schedule, now)
        file = StatusFile(setup.state / "timers" / f"{function.name}.json") if monitored else None
        timers.append(Timer(function, schedule, invoke, file))
    return timers


async def _warm_up(accepted: Accepted, invoker: Invoker) -> None:
    """Run the warm-up trigger. A failure is logged, and the start continues, as in Azure."""
    for function in by_trigger(accepted.functions, WARMUP_TRIGGER):
        await invoker.run(function, manual_data(function, ""))


def _listing(functions: Iterable[Function], base: str, route_prefix: str) -> Iterator[str]:
    """The lines that list the functions, in the form of ``func start``: methods and address, or the trigger."""
    yield "Functions:"
    width = max((len(function.name) for function in functions), default=0)
    for function in functions:
        target = str(function.trigger["type"])
        if function.trigger_type == HTTP_TRIGGER:
            methods = f"[{','.join(function.methods)}] " if function.methods else ""
            path = "/".join(part for part in (route_prefix, function.route.lstrip("/")) if part)
            target = f"{methods}{base}/{path}"
        yield f"    {function.name + ':':<{width + 1}} {target}"
