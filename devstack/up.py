"""``python -m devstack up``: the whole gateway on loopback."""

import argparse
import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack import announcement, golden, sample, stack, telemetry
from devstack.arguments import milliseconds, whole_number
from devstack.errors import CommandError
from devstack.stack import Addresses, Options, Ports
from devstack.state import SERVICE, State, hold
from devstack.supervisor import Supervisor
from devstack.terminal import CLOSED, discard_output, print_error
from devstack.wakeup import woken_by_signals

HELP = "start everything on loopback and score a sample photograph"
DESCRIPTION = "Start the whole gateway on loopback, score a sample photograph, and keep serving until Ctrl-C."


def main(options: argparse.Namespace, signals: Sequence[signal.Signals] = ()) -> int:
    """Run the command; returns the process's exit code. ``signals`` are those that end the stack."""
    try:
        with hold(options.folder) as state:
            completed = asyncio.run(_run(state, options, signals))
        if not completed:
            _print_stopped()
    except CommandError as error:
        print_error(error)
        return 1
    except OSError as error:
        if error.errno in CLOSED:
            discard_output()
        else:
            print_error(f"The stack cannot continue: {error}")
        return 1
    return 0


async def _run(state: State, options: argparse.Namespace, signals: Sequence[signal.Signals]) -> bool:
    """Run the stack; False where a signal ended it."""
    supervisor, loop = Supervisor(), asyncio.get_running_loop()
    received = 0

    def receive(_number: int, _frame: object) -> None:
        nonlocal received
        received += 1
        if received == 2:
            # A third makes nothing faster.
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        if received <= 2:
            loop.call_soon_threadsafe(supervisor.stop)

    for number in signals:
        signal.signal(number, receive)
    try:
        with woken_by_signals(loop):
            return await supervisor.run(_up(supervisor, state, options))
    finally:
        # The rest takes a moment, and another Ctrl-C must not interrupt it. Blocked and not ignored: Python reports a
        # signal that arrives while it becomes ignored as an error. This thread must be the only one: nothing that is
        # imported here may start threads, as numpy does.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        received = 2
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
        triton=options.triton,
        worker_process=options.worker_process,
        telemetry=options.telemetry,
    )
    announcement.withdraw(options.folder)
    stack.check_ports(start.ports, without_host=options.services_only)
    photographs = stack.golden_settings(start)
    if photographs:
        golden.prepare(start.golden)
    if options.services_only:
        addresses = await stack.start_services(supervisor, state, start)
        announcement.announce(options.folder, addresses)
        _print_addresses(addresses)
        overrides = {**stack.overrides(addresses, state.ca), **photographs}
        _print_instructions(overrides, _relative(state.identity_key))
    else:
        upload = sample.load()
        addresses = await stack.start_services(supervisor, state, start)
        addresses = await stack.start_host(supervisor, addresses, state, start)
        announcement.announce(options.folder, addresses)
        key = stack.function_key(start) if start.enable_auth else ""
        trace = telemetry.traceparent() if start.telemetry else ""
        await sample.score(addresses.host, upload, key, trace)
        if trace:
            print(
                sample.printable(await telemetry.show(addresses.telemetry, trace, start.logs / "control.log")), end=""
            )
        matching = await golden.result(addresses.host, SERVICE) if photographs else ""
        keys_file = start.keys_file if key else None
        _print_addresses(addresses, key, sample.copy_to(options.folder / "photos", upload), matching, keys_file)
    if not options.once:
        print("Ctrl-C ends it.", flush=True)
        # Until a signal, or a process that ends by itself, cancels this.
        await asyncio.Event().wait()


def _print_addresses(
    addresses: Addresses, key: str = "", photo: Path | None = None, matching: str = "", keys_file: Path | None = None
) -> None:
    rows = {
        "Web page": f"{addresses.host}/" if addresses.host else "",
        "Operations page": f"{addresses.host}/operations" if addresses.host else "",
        "Score (POST)": f"{addresses.host}/api/score" if addresses.host else "",
        "Health": f"{addresses.host}/api/health/ready" if addresses.host else "",
        "FPGA service (gRPC, TLS)": addresses.fpga,
        "Triton (gRPC)": addresses.triton,
        "Traces and metrics": addresses.telemetry,
        "Control plane": addresses.control,
        "Key Vault": addresses.vault,
        "Managed identity": addresses.identity,
        "x-functions-key": key,
        "Key of operations": f"'master' in {_relative(keys_file)}" if keys_file else "",
        "Sample photograph": _relative(photo) if photo else "",
        "Golden photographs": f"{matching} match" if matching else "",
    }
    print()
    for name, value in rows.items():
        if value:
            print(f"  {name:<26}{value}")
    print(flush=True)


def _relative(path: Path) -> str:
    """The path from the current folder, if it is below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _print_instructions(overrides: Mapping[str, str], identity_key: str) -> None:
    print("The services run. In another terminal, in this folder:\n")
    print(f'  export IDENTITY_HEADER="$(cat {shlex.quote(identity_key)})"')
    for name, value in overrides.items():
        print(f"  export {name}={shlex.quote(value)}")
    print("  func start\n")
    print("or, without the Azure Functions Core Tools, in place of the last line:\n")
    print("  .venv/bin/python -m devstack.host\n", flush=True)


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = up.add_argument
    add("--services-only", action="store_true", help="leave out the Functions host, for `func start`")
    add("--triton", action="store_true", help="start a real Triton too, with two services before it: Linux x86-64")
    add("--telemetry", action="store_true", help="start a small OpenTelemetry collector, and show what it gets")
    add("--once", action="store_true", help="score the sample and stop")
    count = whole_number(1, 64)
    add("--workers", type=count, default=1, metavar="N", help="worker processes (default: %(default)s)")
    add("--worker-process", action="store_true", help="run the package in a process of its own, as Azure does")
    add("--enable-auth", action="store_true", help="enforce function keys, as Azure does")
    add(
        "--engine",
        choices=("model", "simulated"),
        default="model",
        help="what scores: the real model, or a quick dummy (default: %(default)s)",
    )
    add(
        "--latency-ms",
        type=milliseconds,
        metavar="MS",
        help=f"the simulated engine's time for one image (default: {stack.LATENCY_MS})",
    )
    add(
        "--ports-from",
        type=whole_number(0, stack.HIGHEST_PORT - stack.PORTS + 1),
        default=Ports().host,
        metavar="N",
        help="the first of five ports in a row (default: %(default)s); 0 takes free ones",
    )
    add_folder(up, "where certificates, keys, the vault and the services are kept (default: %(default)s)")


def add_folder(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the option ``--state``."""
    parser.add_argument("--state", dest="folder", type=Path, default=stack.FOLDER, metavar="DIR", help=text)


def check(up: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that would have no effect.

    Raises:
        SystemExit: with code 2, after a line that names the error.
    """
    if options.latency_ms is not None and options.engine != "simulated":
        up.error("--latency-ms is about the simulated engine: add --engine simulated, or leave it out")
    if options.worker_process and options.workers != 1:
        up.error("--worker-process starts one worker, as an instance in Azure: leave out --workers")
    about_host = {
        "--once": options.once,
        "--workers": options.workers != 1,
        "--enable-auth": options.enable_auth,
        "--worker-process": options.worker_process,
    }
    for option, given in about_host.items():
        if options.services_only and given:
            up.error(f"--services-only leaves out the Functions host, which {option} is about: leave one of them out")


def _print_stopped() -> None:
    try:
        # A terminal shows ^C before it.
        print("\nStopped." if sys.stdout and sys.stdout.isatty() else "Stopped.", flush=True)
    except OSError:
        discard_output()  # the terminal was closed, and that ended the stack
