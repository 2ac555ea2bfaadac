"""``python -m devstack up``: the whole gateway on loopback."""

import argparse
import asyncio
import contextlib
import math
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack import announcement, sample, stack
from devstack.photos import PhotoError
from devstack.stack import Addresses, Options, Ports
from devstack.state import State, StateUnusable, hold
from devstack.supervisor import StackFailed, Supervisor
from devstack.terminal import NOBODY_READS, complain, discard_output
from devstack.wakeup import woken_by_signals

HELP = "start everything on loopback and score a sample photograph"
DESCRIPTION = "Start the whole gateway on loopback, score a sample photograph, and keep serving until Ctrl-C."


def main(options: argparse.Namespace, signals: Sequence[signal.Signals] = ()) -> int:
    """Run the command; returns the process's exit code. ``signals`` are those that end the stack."""
    try:
        with hold(options.folder) as state:
            completed = asyncio.run(_run(state, options, signals))
        if not completed:
            _say_stopped()
    except (StateUnusable, StackFailed, PhotoError, sample.SampleFailed) as error:
        complain(error)
        return 1
    except OSError as error:
        if error.errno in NOBODY_READS:
            discard_output()
        else:
            complain(f"The stack cannot go on: {error}")
        return 1
    return 0


async def _run(state: State, options: argparse.Namespace, signals: Sequence[signal.Signals]) -> bool:
    """Run the stack; False where a signal ended it."""
    supervisor, loop = Supervisor(), asyncio.get_running_loop()
    heard = 0

    def hear(_number: int, _frame: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            # A third can make nothing faster.
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        if heard <= 2:
            loop.call_soon_threadsafe(supervisor.stop)

    for number in signals:
        signal.signal(number, hear)
    try:
        with woken_by_signals(loop):
            return await supervisor.run(_up(supervisor, state, options))
    finally:
        # All that is left to do takes a moment, and an impatient Ctrl-C is not to spoil it. Blocked and not ignored:
        # Python reports one that is under way while it becomes ignored as a fault.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        heard = 2
        with contextlib.suppress(OSError):
            announcement.withdraw(options.folder)


async def _up(supervisor: Supervisor, state: State, options: argparse.Namespace) -> None:
    start = Options(
        folder=options.folder,
        ports=Ports.starting_at(options.ports_from),
        workers=options.workers,
        engine=options.engine,
        latency_ms=stack.LATENCY_MS if options.latency_ms is None else options.latency_ms,
        enable_auth=options.enable_auth,
        quiet=options.once,
    )
    announcement.withdraw(options.folder)
    stack.check_ports(start.ports, without_host=options.services_only)
    if options.services_only:
        addresses = await stack.start_services(supervisor, state, start)
        announcement.announce(options.folder, addresses)
        _print_addresses(addresses)
        _print_instructions(stack.overrides(addresses, state.ca))
    else:
        upload = sample.load()
        addresses = await stack.start_services(supervisor, state, start)
        addresses = await stack.start_host(supervisor, addresses, state, start)
        announcement.announce(options.folder, addresses)
        key = stack.function_key(start) if start.enable_auth else ""
        await sample.score(addresses.host, upload, key)
        _print_addresses(addresses, key)
    if not options.once:
        print("Ctrl-C ends it.", flush=True)
        # Until a signal does, or a process that ends by itself.
        await asyncio.Event().wait()


def _print_addresses(addresses: Addresses, key: str = "") -> None:
    rows = {
        "Web page": f"{addresses.host}/" if addresses.host else "",
        "Score": f"{addresses.host}/api/score" if addresses.host else "",
        "Health": f"{addresses.host}/api/health/ready" if addresses.host else "",
        "FPGA service (gRPC, TLS)": addresses.fpga,
        "Control plane": addresses.control,
        "Key Vault": addresses.vault,
        "Managed identity": addresses.identity,
        "x-functions-key": key,
    }
    print()
    for name, value in rows.items():
        if value:
            print(f"  {name:<26}{value}")
    print(flush=True)


def _print_instructions(overrides: Mapping[str, str]) -> None:
    print("The services run. In another terminal, in this folder:\n")
    for name, value in overrides.items():
        print(f"  export {name}={shlex.quote(value)}")
    print("  func start\n")
    print("or, without the Azure Functions Core Tools, in place of the last line:\n")
    print("  .venv/bin/python -m devstack.host\n", flush=True)


def add_options(up: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add = up.add_argument
    add("--services-only", action="store_true", help="leave out the Functions host, for `func start`")
    add("--once", action="store_true", help="score the sample and stop")
    add("--workers", type=_workers, default=1, metavar="N", help="worker processes (default: %(default)s)")
    add("--enable-auth", action="store_true", help="ask for function keys, as Azure does")
    add(
        "--engine",
        choices=("model", "simulated"),
        default="model",
        help="what scores: the real model, or a quick dummy (default: %(default)s)",
    )
    add(
        "--latency-ms",
        type=_milliseconds,
        metavar="MS",
        help=f"the simulated engine's time an image (default: {stack.LATENCY_MS})",
    )
    add(
        "--ports-from",
        type=_first_port,
        default=Ports().host,
        metavar="N",
        help="the first of five ports in a row (default: %(default)s); 0 takes free ones",
    )
    add(
        "--state",
        dest="folder",
        type=Path,
        default=stack.FOLDER,
        metavar="DIR",
        help="where certificates, keys, the vault and the services are kept (default: %(default)s)",
    )


def check(up: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what would silently mean nothing.

    Raises:
        SystemExit: with code 2, after a line that says what is wrong.
    """
    if options.latency_ms is not None and options.engine != "simulated":
        up.error("--latency-ms is about the simulated engine: add --engine simulated, or leave it out")
    if not options.services_only:
        return
    for option, given in {
        "--once": options.once,
        "--workers": options.workers != 1,
        "--enable-auth": options.enable_auth,
    }.items():
        if given:
            up.error(f"--services-only leaves out the Functions host, which {option} is about: leave one of them out")


def _workers(text: str) -> int:
    return _whole(text, 1, 64)


def _first_port(text: str) -> int:
    return _whole(text, 0, stack.HIGHEST_PORT - stack.PORTS + 1)


def _whole(text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _milliseconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        value = float(text)
        if math.isfinite(value) and value >= 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a number of milliseconds, 0 or more, not {text!r}")


def _say_stopped() -> None:
    try:
        # A terminal shows the ^C before it.
        print("\nStopped." if sys.stdout and sys.stdout.isatty() else "Stopped.", flush=True)
    except OSError:
        discard_output()  # it was the terminal's end that stopped it
