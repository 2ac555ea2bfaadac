"""Threads whose work never ends do not keep a process alive, nor does work that waits for one of them."""

import subprocess
import sys

from tests.conftest import ROOT

HANGS = """
import socket
from shared.threads import DaemonExecutor

executor = DaemonExecutor(2, "hanging")
server = socket.create_server(("127.0.0.1", 0))
for _ in range(4):
    executor.submit(lambda: socket.create_connection(server.getsockname()).recv(1))
executor.submit(print, "never")
server.accept(), server.accept()
executor.shutdown(wait=True)
"""


def test_a_process_ends_while_its_threads_wait_for_a_server_that_never_responds() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], cwd=ROOT, timeout=30, capture_output=True, check=True)

    assert ended.stdout == ended.stderr == b""
