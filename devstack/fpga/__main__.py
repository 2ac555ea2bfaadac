"""``python -m devstack.fpga``: serve until a signal. Prints ``ready <address>`` once calls are taken."""

import argparse
import asyncio
import logging
import signal
import sys

from devstack.fpga import options
from devstack.fpga.service import PortInUseError


def main() -> int:
    """Run the service; the exit code is 0 after a signal and 1 when it cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="fpga: %(message)s")
    arguments = options.parse()
    try:
        asyncio.run(_serve(arguments))
    except PortInUseError:
        where = f"port {arguments.port} on {arguments.host}"
        print(f"{where} is in use: stop the program that has it, or choose another with --port", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or 'start'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    running = options.create(arguments)
    try:
        await running.service.start()
        print(f"ready {running.service.address}", flush=True)
        await stop.wait()
        await running.service.stop()
    finally:
        running.close()


if __name__ == "__main__":
    sys.exit(main())
