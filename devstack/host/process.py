"""The process that runs the app: by itself, or as one of a supervisor's workers."""

import asyncio
import os
import socket
from collections.abc import Callable

from devstack.host import worker
from devstack.host.acceptance import Accepted
from devstack.host.links import Link, hold_lifeline, ready_message
from devstack.host.listing import listing
from devstack.host.options import Setup
from devstack.host.serving import Plan, serve
from devstack.host.signals import Stop


def run(setup: Setup, listener: socket.socket, base: str, stop: Stop, on_ready: Callable[[list[str]], None]) -> None:
    """Serve the app until ``stop`` is signalled. ``on_ready`` gets the list of functions.

    Raises:
        HostError: the app cannot be served.
    """
    if setup.inherited is not None:
        hold_lifeline(setup.inherited.lifeline, stop.patience)
    os.chdir(setup.app)
    try:
        asyncio.run(_run(setup, listener, base, stop, on_ready))
    finally:
        worker.stop()


async def _run(
    setup: Setup, listener: socket.socket, base: str, stop: Stop, on_ready: Callable[[list[str]], None]
) -> None:
    inherited = setup.inherited
    link = await Link.open(socket.socket(fileno=inherited.link)) if inherited else None
    plan = Plan(
        app=setup.app,
        state=setup.state,
        host=setup.host,
        cors=setup.cors,
        keys_file=setup.keys_file,
        grace=setup.grace,
        leader=inherited is None or inherited.index == 0,
        link=link,
    )

    def ready(accepted: Accepted) -> None:
        lines = list(listing(accepted.functions, base, setup.host.route_prefix))
        if link is None:
            on_ready(lines)
        else:
            link.tell(ready_message(lines))

    await serve(plan, listener, stop, ready)
