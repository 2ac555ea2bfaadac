"""Runs one contestant on its processor: ``python -m benchmarks.launch [OPTIONS] -- COMMAND ...``.

Prints ``ready http://127.0.0.1:PORT`` once the command's server answers, and ends it at a signal. It is started by the
local stack's supervisor, whose child and session it is; what it starts is in the same session, and ends with it.
"""

import argparse
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from benchmarks.machine import pin

# How long a server may take to answer, and how long to end when it is told to, in seconds.
START_SECONDS, STOP_SECONDS = 50.0, 5.0
_PAUSE = 0.05
_LOOPBACK = "127.0.0.1"


class _Stopped(BaseException):
    """A signal asked to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, wait, end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launch")
    add = parser.add_argument
    add("--processors", required=True, help="numbers with commas")
    add("--port", type=int, required=True, help="where the server will listen")
    add("--ready-path", help="what answers 200 when the server is ready; without it a connection is enough")
    add("command", nargs="+")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    pin({int(number) for number in options.processors.split(",")})
    server = None
    try:
        # Its output is for its log: this process's standard output says one thing only.
        server = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, stdout=sys.stderr)  # noqa: S603 - ours
        if not _wait(server, options.port, options.ready_path):
            print(f"{options.command[0]} did not answer within {START_SECONDS:g} s", file=sys.stderr)
            return 1
        print(f"ready http://{_LOOPBACK}:{options.port}", flush=True)
        return server.wait() or 1
    except _Stopped:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if server is not None:
            _end(server)


def free_port() -> int:
    """A port of loopback that nothing listens on: taken for a moment, so that it was nobody's."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _wait(server: subprocess.Popen[bytes], port: int, path: str | None) -> bool:
    """Whether the server answers before its time is over, or it ends."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        if _answers(port, path):
            return True
        time.sleep(_PAUSE)
    return False


def _answers(port: int, path: str | None) -> bool:
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=5)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
