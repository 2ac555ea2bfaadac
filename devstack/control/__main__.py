"""Run a local control plane: ``python -m devstack.control --port N --folder DIR ...`` (``--help`` lists the options).

All services in the folder are served again, on their ports, before the ready line.
"""

import argparse
import sys
from collections.abc import Sequence

from devstack.arguments import milliseconds, port, whole_number
from devstack.control.store import ControlStore
from devstack.rest.command import open_state, run, server_parser
from devstack.tokens import read_signing_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    description = "A local control plane (Model Management) and the FPGA services that it deploys."
    parser = server_parser("devstack.control", description)
    add = parser.add_argument
    add("--audience", default="https://management.azure.com/", help="of the tokens (default: %(default)s)")
    add("--subscription", default="00000000-0000-0000-0000-000000000000", help="of the account (default: %(default)s)")
    add("--group", default="scoring-gateway", help="resource group of the account (default: %(default)s)")
    add("--account", default="local", help="name of the account (default: %(default)s)")
    add(
        "--data-ports",
        type=port,
        default=0,
        metavar="FIRST",
        help="new services get the free ports from this one on; 0 lets the system choose (default: %(default)s)",
    )
    add("--engine", choices=("model", "simulated"), default="model", help="what scores (default: %(default)s)")
    add("--latency-ms", type=milliseconds, default=1.8, help="simulated: time for one image (default: %(default)s)")
    add(
        "--swap",
        choices=("hot", "restart"),
        default="hot",
        help="how an update exchanges a certificate: under the open connections, or with a restart that drops them all "
        "(default: %(default)s)",
    )
    count = whole_number(1)
    add("--page-size", type=count, default=50, metavar="N", help="entries in one answer of a list (default: 50)")
    return run(parser, arguments, _serve)


def _serve(options: argparse.Namespace) -> None:
    from devstack.control.running import serve  # noqa: PLC0415 - takes long: see run()

    serve(options, open_state(ControlStore, options.folder, "control plane"), read_signing_key(options.signing_key))


if __name__ == "__main__":
    sys.exit(main())
