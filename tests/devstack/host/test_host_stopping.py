import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.devstack.host.helpers import StartHost, eventually, worker_pids
from tests.devstack.processes import PATIENCE, ROOT


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended stays listed until its parent, or init, has asked for it: so says its state, on Linux.
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def _request(address: str) -> threading.Thread:
    """Begin a request that will not be answered."""

    def get() -> None:
        with httpx.Client() as client:
            try:
                client.get(address, timeout=PATIENCE)
            except httpx.TransportError:
                return

    thread = threading.Thread(target=get)
    thread.start()
    time.sleep(0.2)
    return thread


# Ctrl-C is SIGINT, and is how every other test ends its host.
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_the_host_silently(start_host: StartHost, workers: str) -> None:
    with start_host("prefixless", "--quiet", "--workers", workers) as host:
        pids = worker_pids(host, int(workers))
        before = host.log
        assert host.stop(signal.SIGTERM) == (0, "")
        assert host.log == before
        assert not any(map(_is_running, pids))


def test_a_signal_during_the_import_ends_the_host(tmp_path: Path) -> None:
    mark = tmp_path / "importing"
    (tmp_path / "function_app.py").write_text(f"import time; open({str(mark)!r}, 'w').close(); time.sleep(600)")
    command = [sys.executable, "-m", "devstack.host", "--app", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(mark.exists)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, ("", ""))


@pytest.mark.parametrize("function", ["blocked", "stuck"])
def test_a_host_whose_app_hangs_still_ends(start_host: StartHost, function: str) -> None:
    with start_host("prefixless", "--quiet", "--grace", "0") as host:
        thread = _request(f"{host.address}/{function}")
        assert host.stop(signal.SIGTERM) == (0, "")
    thread.join()


def test_workers_that_hang_are_ended_too(start_host: StartHost) -> None:
    with start_host("prefixless", "--quiet", "--grace", "0", "--workers", "2") as host:
        pids = worker_pids(host, 2)
        threads = [_request(f"{host.address}/blocked") for _ in range(2)]
        assert host.stop(signal.SIGTERM) == (0, "")
        assert not any(map(_is_running, pids))
    for thread in threads:
        thread.join()


def test_workers_end_when_their_supervisor_is_killed(start_host: StartHost) -> None:
    with start_host("prefixless", "--quiet", "--grace", "0", "--workers", "2") as host:
        pids = worker_pids(host, 2)
        thread = _request(f"{host.address}/blocked")
        host.stop(signal.SIGKILL)
        eventually(lambda: not any(map(_is_running, pids)))
    thread.join()
