"""``python -m functions_worker --host ADDRESS --port PORT --workerId ID --requestId ID``: serve the host."""

import argparse
import asyncio
import contextlib

from .packages import Packages

with contextlib.suppress(ImportError):
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def main() -> None:
    """Run the worker. The host's other arguments say the same once more."""
    parser = argparse.ArgumentParser(prog="python -m functions_worker")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--workerId", required=True, dest="worker_id")
    parser.add_argument("--requestId", required=True, dest="request_id")
    options, _ = parser.parse_known_args()
    packages = Packages()
    packages.prefer_own()
    from .stream import Worker  # noqa: PLC0415 - it imports the worker's grpc, and not the app's

    worker = Worker(f"{options.host}:{options.port}", options.worker_id, options.request_id, packages)
    asyncio.run(worker.serve())


if __name__ == "__main__":
    main()
