"""``python -m devstack.host``: run a function app on this machine, as ``func start`` does."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from devstack import sockets
from devstack.host import logs
from devstack.host.errors import HostError
from devstack.host.options import BACKLOG, Setup, parse_arguments, read_setup
from devstack.host.settings import apply_values
from devstack.host.signals import STOP_SIGNALS, Stop
from devstack.host.supervisor import Supervisor

type OnReady = Callable[[list[str]], None]


def main(arguments: list[str]) -> int:
    """Run the host; returns the exit code."""
    options = parse_arguments(arguments)
    stop = Stop()
    stop.install(ignore_interrupt=options.inherit is not None)
    # Standard output gets the ready line alone; what the app prints goes to the log.
    output, sys.stdout = sys.stdout, sys.stderr

    def on_ready(functions: list[str], base: str) -> None:
        print(*functions, sep="\n", file=sys.stderr, flush=True)
        print(f"ready {base}", file=output, flush=True)

    try:
        setup = read_setup(options)
        stop.patience = setup.patience
        logs.configure(setup.log_level)
        apply_values(setup.local.values, os.environ)
        with _listener(setup) as listener:
            base = _base_address(setup.address, listener.getsockname()[1])
            # As the Core Tools set it.
            os.environ.setdefault("WEBSITE_HOSTNAME", base.removeprefix("http://"))
            _run(setup, arguments, listener, base, stop, lambda functions: on_ready(functions, base))
    except HostError as error:
        if str(error):
            print(f"host: {error}", file=sys.stderr)
        return 1
    return 0


def _listener(setup: Setup) -> socket.socket:
    if setup.inherited:
        return socket.socket(fileno=setup.inherited.listener)
    try:
        return sockets.listen(setup.address, setup.port, BACKLOG)
    except sockets.PortUnavailable as error:
        raise HostError(f"{error}: stop the program that uses it, or choose another --port or --address") from None


def _base_address(address: str, port: int) -> str:
    """The URL at which users reach the host."""
    host = "localhost" if address == "127.0.0.1" else f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"


def _run(setup: Setup, arguments: list[str], listener: socket.socket, base: str, stop: Stop, on_ready: OnReady) -> None:
    if setup.inherited is None and setup.workers > 1:
        asyncio.run(_supervise(setup, arguments, listener, on_ready))
        return
    # Late: a supervisor needs neither the worker library nor the server.
    from devstack.host import process  # noqa: PLC0415 - see the comment

    process.run(setup, listener, base, stop, on_ready)


async def _supervise(setup: Setup, arguments: list[str], listener: socket.socket, on_ready: OnReady) -> None:
    command = [sys.executable, "-m", "devstack.host", *arguments, "--inherit"]
    supervisor = Supervisor(command, listener, setup.workers, setup.supervisor_patience)
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run(on_ready)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
