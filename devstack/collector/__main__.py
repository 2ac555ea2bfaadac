"""Run the collector: ``python -m devstack.collector --port N``. The ready line ends with its address."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from devstack import arguments
from devstack.errors import CommandError


def main(given: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # until the server handles them itself
    parser = argparse.ArgumentParser(prog="python -m devstack.collector", description="A small collector on loopback.")
    parser.add_argument("--port", type=arguments.port, metavar="N", required=True, help="0 takes a free one")
    options = parser.parse_args(given)
    from devstack.collector.app import CollectorApp  # noqa: PLC0415 - takes long
    from devstack.rest.serving import HOST, serve  # noqa: PLC0415 - as above

    try:
        serve(
            lambda _stopping: CollectorApp().asgi(),
            name="collector",
            port=options.port,
            address=lambda port: f"http://{HOST}:{port}",
        )
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
