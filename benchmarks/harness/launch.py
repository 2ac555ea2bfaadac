"""Runs a server, whatever its program, on given processors: ``python -m benchmarks.harness.launch OPTIONS -- COMMAND``.

Prints ``ready http://127.0.0.1:PORT`` once the command's server answers, and ends it on SIGTERM. The local stack's
supervisor starts it, in a session of its own, which the server shares and with which it ends.
"""

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from benchmarks.harness.machine import pin

# How long a server may take to answer, and to end after SIGTERM, in seconds.
START_SECONDS, STOP_SECONDS = 50.0, 5.0
_PAUSE = 0.05
_LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the server, wait, end it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness.launch")
    add = parser.add_argument
    add("--processors", required=True, help="numbers with commas")
    add("--port", type=int, required=True, help="where the server will listen")
    add("--ready-path", help="answers 200 when the server is ready; a connection is enough where this is left out")
    add("command", nargs="+")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pin({int(number) for number in options.processors.split(",")})
    server = None
    try:
        # Its output goes to the log: this process's standard output is for the supervisor.
        server = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, stdout=sys.stderr)  # noqa: S603 - ours
        if not _becomes_ready(server, options.port, options.ready_path):
            print(f"{options.command[0]} did not answer within {START_SECONDS:g} s", file=sys.stderr)
            return 1
        print(f"ready http://{_LOOPBACK}:{options.port}", flush=True)
        return server.wait() or 1
    except KeyboardInterrupt:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if server is not None:
            _end(server)


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _becomes_ready(server: subprocess.Popen[bytes], port: int, path: str | None) -> bool:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and server.poll() is None:
        if _answers(port, path):
            return True
        time.sleep(_PAUSE)
    return False


def _answers(port: int, path: str | None) -> bool:
    try:
        socket.create_connection((_LOOPBACK, port), 5).close()
        url = f"http://{_LOOPBACK}:{port}{path}"
        return path is None or httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except (OSError, httpx.HTTPError):
        return False


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
