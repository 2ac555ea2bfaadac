"""Run a local control plane: ``python -m devstack.control --port N --folder DIR ...`` (``--help`` tells the rest).

All services that the folder remembers are served again, on their ports, before the ready line.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack.control.errors import DamagedState
from devstack.control.store import ControlStore
from devstack.tokens import TENANT, read_signing_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    # Until the server listens for these itself: Ctrl-C while the libraries load is no error either.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    options = _parser().parse_args(arguments)
    # Late, so that the line above covers the second that they take to load.
    from devstack.control.running import run  # noqa: PLC0415 - see the comment
    from devstack.serving import StartError  # noqa: PLC0415 - see the comment

    try:
        run(options, _open(options.folder), read_signing_key(options.signing_key))
    except (StartError, DamagedState, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _open(folder: Path) -> ControlStore:
    try:
        return ControlStore(folder)
    except OSError as error:
        raise ValueError(
            f"cannot use {error.filename or folder} for the control plane: {error.strerror}; "
            "pass a --folder you can write"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.control",
        description="A local control plane (Model Management) and the FPGA services that it deploys.",
    )
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="where services and models are kept; made if missing")
    add("--port", type=_port, metavar="N", required=True, help="TLS port on the loopback address; 0 takes a free one")
    add("--certificate", type=Path, required=True, help="PEM chain to serve TLS with, leaf first")
    add("--key", type=Path, required=True, help="PEM private key of the leaf")
    add("--signing-key", type=Path, required=True, help="raw key (32 bytes or more) that access tokens are signed with")
    add("--tenant", default=TENANT, help="tenant whose tokens are accepted (default: %(default)s)")
    add("--audience", default="https://management.azure.com/", help="what tokens must be for (default: %(default)s)")
    add("--subscription", default="00000000-0000-0000-0000-000000000000", help="of the account (default: %(default)s)")
    add("--group", default="scoring-gateway", help="resource group of the account (default: %(default)s)")
    add("--account", default="local", help="name of the account (default: %(default)s)")
    add(
        "--data-ports",
        type=_port,
        default=0,
        metavar="FIRST",
        help="new services get the free ports from this one on; 0 lets the system choose (default: %(default)s)",
    )
    add("--engine", choices=("model", "simulated"), default="model", help="what scores (default: %(default)s)")
    add("--latency-ms", type=float, default=1.8, help="simulated: time for one image (default: %(default)s)")
    add(
        "--swap",
        choices=("hot", "restart"),
        default="hot",
        help="how an update exchanges a certificate: under the open connections, or with a restart that drops them all "
        "(default: %(default)s)",
    )
    add("--page-size", type=_count, default=50, metavar="N", help="entries in one answer of a list (default: 50)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


if __name__ == "__main__":
    sys.exit(main())
