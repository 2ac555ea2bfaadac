"""One worker process: it loads the app in its event loop, serves HTTP and, as the leader, runs the timers."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.acceptance import Accepted, accept
from devstack.host.admin import Admin, RunNow
from devstack.host.application import BODY_LIMIT, BODY_LIMIT_SETTING, Application
from devstack.host.background import Background
from devstack.host.cors import Cors
from devstack.host.errors import HostError
from devstack.host.eventgrid import EventGridWebhook
from devstack.host.functions import TIMER_TRIGGER, WARMUP_TRIGGER, Function, by_trigger
from devstack.host.invocations import Invoker
from devstack.host.keys import load_keys
from devstack.host.links import Link, run_message
from devstack.host.listening import BACKLOG
from devstack.host.settings import HostJson
from devstack.host.signals import Stop
from devstack.host.timers import StatusFile, Timer, Timers, is_monitored, utc_now
from devstack.host.triggers import manual_data

# Kestrel's own: https://learn.microsoft.com/dotnet/api/microsoft.aspnetcore.server.kestrel.core.kestrelserverlimits.
_KEEP_ALIVE = 130


@dataclass(frozen=True)
class Plan:
    """What a worker process is to serve, and how.

    ``state`` is the folder for what the host remembers. Without a ``keys_file``, no key is asked for. ``link`` leads
    to the supervisor, if there is one. Only the ``leader`` runs timers, and functions by hand. What is under way when
    the host stops may take ``grace`` seconds to end.
    """

    app: Path
    state: Path
    host: HostJson = field(default_factory=HostJson)
    cors: Cors | None = None
    keys_file: Path | None = None
    leader: bool = True
    grace: float = 2.0
    link: Link | None = None


class _Server(uvicorn.Server):
    """uvicorn, told to leave the signals alone, and to say when it serves."""

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
        # It reports each request that it cuts off with a stack trace.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


async def serve(plan: Plan, listener: socket.socket, stop: Stop, on_ready: Callable[[Accepted], None]) -> None:
    """Load the app and serve it until ``stop`` is signalled.

    Raises:
        HostError: the app cannot be served.
    """
    accepted = accept(await worker.load_app(plan.app), os.environ, plan.host.route_prefix)
    background, invoker = Background(), Invoker(plan.host.timeout)
    run_here = _runner(background, invoker)
    application = _make_application(plan, accepted, invoker, _run_now(plan, run_here))
    timers = _make_timers(plan, accepted, background, invoker)
    await _warm_up(accepted, invoker)

    def started() -> None:
        if plan.link is not None:
            # uvicorn passes its backlog on as the number of connections to accept at once.
            listener.listen(BACKLOG)
            background.start(_obey(plan.link, accepted, run_here))
        timers.start()
        on_ready(accepted)

    server = _Server(_configure(application, plan), started)
    stop.call(lambda: setattr(server, "should_exit", True))
    await server.serve(sockets=[listener])
    await timers.stop()
    if plan.link is not None:
        plan.link.close()
    await background.close(plan.grace)


def _runner(background: Background, invoker: Invoker) -> RunNow:
    def run(function: Function, text: str) -> None:
        background.start(invoker.run(function, manual_data(function, text)))

    return run


def _run_now(plan: Plan, run_here: RunNow) -> RunNow:
    """How a function is run by hand: here, or by the leader through the supervisor."""
    link = plan.link
    if plan.leader or link is None:
        return run_here
    return lambda function, text: link.tell(run_message(function.name, text))


async def _obey(link: Link, accepted: Accepted, run_here: RunNow) -> None:
    """Run what other workers were asked to run."""
    functions = {function.name: function for function in accepted.functions}
    async for message in link.messages():
        run_here(functions[message["function"]], message["input"])


def _make_application(plan: Plan, accepted: Accepted, invoker: Invoker, run_now: RunNow) -> Application:
    keys = load_keys(plan.keys_file, [each.name for each in accepted.functions]) if plan.keys_file else None
    webhook = EventGridWebhook(accepted.functions, invoker)
    return Application(
        accepted.functions,
        accepted.routes,
        invoker,
        Admin(accepted.functions, run_now, webhook, route_prefix=plan.host.route_prefix, keys=keys),
        custom_headers=plan.host.custom_headers,
        cors=plan.cors,
        keys=keys,
        body_limit=_body_limit(),
    )


def _make_timers(plan: Plan, accepted: Accepted, background: Background, invoker: Invoker) -> Timers:
    if not plan.leader:
        return Timers([])

    def invoke(function: Function, data: Datum) -> Awaitable[Any]:
        # Shielded, so that stopping the timer leaves the run its time to end.
        return asyncio.shield(background.start(invoker.run(function, data)))

    now, folder, timers = utc_now(), plan.state / "timers", []
    for function in by_trigger(accepted.functions, TIMER_TRIGGER):
        schedule = accepted.schedules[function.name]
        file = StatusFile(folder, function) if is_monitored(function, schedule, now) else None
        timers.append(Timer(function, schedule, invoke, file))
    return Timers(timers)


def _configure(application: Application, plan: Plan) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # As the real host, which does not look at X-Forwarded-For and the like.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=plan.grace,  # type: ignore[arg-type] # it is passed to asyncio, which takes fractions
        # A worker that took all waiting connections at once would leave none to its siblings.
        backlog=1 if plan.link is not None else BACKLOG,
    )


async def _warm_up(accepted: Accepted, invoker: Invoker) -> None:
    """Run the warm-up trigger. One that fails is logged, and the start goes on, as in Azure."""
    for function in by_trigger(accepted.functions, WARMUP_TRIGGER):
        await invoker.run(function, manual_data(function, ""))


def _body_limit() -> int:
    text = os.environ.get(BODY_LIMIT_SETTING)
    if text is None:
        return BODY_LIMIT
    if not text.isdecimal():
        raise HostError(f"{BODY_LIMIT_SETTING} must be a number of bytes: correct it, or take it out")
    return int(text)
