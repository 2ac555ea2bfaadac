"""``python -m devstack up``: the whole gateway on loopback."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack import sample, stack
from devstack.photos import PhotoError
from devstack.stack import Addresses, Options, Ports
from devstack.state import DamagedState, State, prepare
from devstack.supervisor import StackFailed, Supervisor

_SERVICES_ONLY = """
The services run. In another terminal, in this folder:

  func start

It reads local.settings.json as it is. Ctrl-C here ends the services."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code."""
    options = _parse(arguments)
    # A terminal that closes, and a plain `kill`, end the stack as Ctrl-C does; and Ctrl-C does so too where a shell
    # started this in the background with the signal ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        state = prepare(options.folder / "state")
        asyncio.run(_up(state, options))
    except KeyboardInterrupt:
        print("\nStopped.")
    except (DamagedState, StackFailed, PhotoError, sample.SampleFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The state folder {options.folder} cannot be used: {error.strerror}. Name another: --state DIR.")
        return 1
    return 0


async def _up(state: State, options: argparse.Namespace) -> None:
    start = Options(
        ports=Ports.starting_at(options.ports_from),
        workers=options.workers,
        engine=options.engine,
        latency_ms=options.latency_ms,
        enable_auth=options.enable_auth,
        quiet=options.once,
        keys_file=options.folder / "host-keys.json",
    )
    async with Supervisor() as supervisor:
        addresses = await stack.start_services(supervisor, state, options.folder / "logs", start)
        if options.services_only:
            _print_addresses(addresses)
            print(_SERVICES_ONLY, flush=True)
        else:
            addresses = await stack.start_host(supervisor, addresses, state, start)
            key = stack.function_key(start) if start.enable_auth else ""
            await sample.score(addresses.host, key)
            _print_addresses(addresses)
            if key:
                print(f"  Function key (x-functions-key)  {key}\n", flush=True)
        if not options.once:
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor.wait()


def _print_addresses(addresses: Addresses) -> None:
    rows = {
        "Score": f"{addresses.host}/api/score" if addresses.host else "",
        "Health": f"{addresses.host}/api/health/ready" if addresses.host else "",
        "FPGA service (gRPC, TLS)": addresses.fpga,
        "Key Vault": addresses.vault,
        "Managed identity": addresses.identity,
    }
    print()
    for name, address in rows.items():
        if address:
            print(f"  {name:<26}{address}")
    print(flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The gateway's local stack.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start everything on loopback and score a sample photograph")
    up.add_argument("--services-only", action="store_true", help="leave out the Functions host, for `func start`")
    up.add_argument("--once", action="store_true", help="score the sample and stop")
    up.add_argument("--workers", type=_positive, default=1, metavar="N", help="worker processes (default 1)")
    up.add_argument("--enable-auth", action="store_true", help="ask for function keys, as Azure does")
    up.add_argument(
        "--engine",
        choices=("model", "simulated"),
        default="model",
        help="what scores: the real model, or a quick dummy",
    )
    up.add_argument("--latency-ms", type=float, default=1.8, metavar="MS", help="the simulated engine's time an image")
    up.add_argument(
        "--ports-from", type=int, default=7071, metavar="N", help="the first of four ports; 0 takes free ones"
    )
    up.add_argument(
        "--state",
        dest="folder",
        type=Path,
        default=stack.ROOT / ".devstack",
        metavar="DIR",
        help="where certificates, keys and the vault are kept",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
