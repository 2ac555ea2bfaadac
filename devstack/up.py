"""``python -m devstack up``: the whole gateway on loopback."""

import argparse
import asyncio
import contextlib
import errno
import io
import math
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack import sample, stack
from devstack.photos import PhotoError
from devstack.stack import Addresses, Options, Ports
from devstack.state import State, StateUnusable, hold
from devstack.supervisor import StackFailed, Supervisor

# What printing raises when the pipe's reader, or the terminal, is gone.
_NOBODY_READS = (errno.EPIPE, errno.EIO)


def main(arguments: Sequence[str] | None = None, signals: Sequence[signal.Signals] = ()) -> int:
    """Run a command; returns the process's exit code. ``signals`` are those that end the stack."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parse(arguments)
    if options is None:
        return 0
    try:
        with hold(options.folder) as state:
            completed = asyncio.run(_run(state, options, signals))
        if not completed:
            _say_stopped()
    except (StateUnusable, StackFailed, PhotoError, sample.SampleFailed) as error:
        with contextlib.suppress(OSError):
            print(error, file=sys.stderr, flush=True)
        return 1
    except OSError as error:
        if error.errno in _NOBODY_READS:
            _discard_output()
        else:
            print(f"The stack cannot go on: {error}", file=sys.stderr)
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
        return await supervisor.run(_up(supervisor, state, options))
    finally:
        # All that is left to do takes a moment, and an impatient Ctrl-C is not to spoil it. Blocked and not ignored:
        # Python reports one that is under way while it becomes ignored as a fault.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        heard = 2


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
    stack.check_ports(start.ports, without_host=options.services_only)
    if options.services_only:
        addresses = await stack.start_services(supervisor, state, start)
        _print_addresses(addresses)
        _print_instructions(stack.overrides(addresses, state.ca))
    else:
        upload = sample.load()
        addresses = await stack.start_services(supervisor, state, start)
        addresses = await stack.start_host(supervisor, addresses, state, start)
        key = stack.function_key(start) if start.enable_auth else ""
        await sample.score(addresses.host, upload, key)
        _print_addresses(addresses, key)
    if not options.once:
        print("Ctrl-C ends it.", flush=True)
        # Until a signal does, or a process that ends by itself.
        await asyncio.Event().wait()


def _print_addresses(addresses: Addresses, key: str = "") -> None:
    rows = {
        "Score": f"{addresses.host}/api/score" if addresses.host else "",
        "Health": f"{addresses.host}/api/health/ready" if addresses.host else "",
        "FPGA service (gRPC, TLS)": addresses.fpga,
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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    """Read the command line; without a command, print the help, and return None.

    Raises:
        SystemExit: with code 2, after a line that says what is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The gateway's local stack.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    up = commands.add_parser("up", help="start everything on loopback and score a sample photograph")
    _add_options(up)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return None
    _check(up, options)
    options.folder = options.folder.expanduser().absolute()
    return options


def _add_options(up: argparse.ArgumentParser) -> None:
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
        help="the first of four ports in a row (default: %(default)s); 0 takes free ones",
    )
    add(
        "--state",
        dest="folder",
        type=Path,
        default=stack.FOLDER,
        metavar="DIR",
        help="where certificates, keys and the vault are kept (default: %(default)s)",
    )


def _check(up: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what would silently mean nothing."""
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
    return _whole(text, 0, stack.HIGHEST_PORT - 3)


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
        _discard_output()  # it was the terminal's end that stopped it


def _discard_output() -> None:
    """Let the interpreter's last flush, of what could not be written, succeed."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
