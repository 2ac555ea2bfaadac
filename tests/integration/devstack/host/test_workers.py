"""Worker processes and timers: who runs them, when, and how all of them end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.devstack.functions_host import StartHost, answering_pids, worker_pids
from tests.support.devstack.processes import ROOT, TIMEOUT_SECONDS, ServerProcess, is_running, wait_until


def _runs(file: Path, kind: str | None = None) -> list[dict[str, Any]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [run for run in map(json.loads, lines) if kind in {None, run["kind"]}]


@pytest.fixture(scope="module")
def pair_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair") / "runs"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def pair(start_host: StartHost, pair_runs: Path) -> Iterator[ServerProcess]:
    """Two workers of the app with timers. The last test that uses them kills one."""
    with start_host("timers", "--workers", "2", "--grace", "0.2", EVERY="00:00:00.1", RUNS=str(pair_runs)) as host:
        yield host


def test_workers_share_the_port_and_one_of_them_runs_the_timers(pair: ServerProcess, pair_runs: Path) -> None:
    pids = worker_pids(pair, 2)
    wait_until(lambda: len(_runs(pair_runs, "begin")) >= 2, "two runs")
    runners = {run["pid"] for run in _runs(pair_runs)}
    assert len(runners) == 1
    assert runners < pids
    with httpx.Client(base_url=pair.address, headers={"Connection": "close"}) as client:
        for _ in range(20):
            assert client.post("/admin/functions/hourly", json={"input": ""}).status_code == 202
    wait_until(lambda: len(_runs(pair_runs, "hourly")) == 20, "20 manual runs")
    assert {run["pid"] for run in _runs(pair_runs, "hourly")} == runners


def test_a_killed_leader_is_replaced(pair: ServerProcess, pair_runs: Path) -> None:
    (leader,) = {run["pid"] for run in wait_until(lambda: _runs(pair_runs), "a run")}
    os.kill(leader, signal.SIGKILL)
    (successor,) = wait_until(lambda: {run["pid"] for run in _runs(pair_runs, "begin")} - {leader}, "a successor")
    assert successor in answering_pids(pair)
    assert f"Worker 0 (pid {leader}) ended (killed by SIGKILL): starting another" in pair.log
    assert {run["pid"] for run in _runs(pair_runs, "daily")} <= {leader, successor}


def test_a_timer_never_overlaps_itself_and_keeps_a_status(start_host: StartHost, runs: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_host("timers", "--grace", "0.2", state=state, EVERY="00:00:00.1", RUNS=str(runs)) as host:
        wait_until(lambda: len(_runs(runs, "begin")) >= 2, "two runs")
        kinds = [run["kind"] for run in _runs(runs) if run["kind"] in {"begin", "end"}]
        assert kinds[:3] == ["begin", "end", "begin"]
        assert len(_runs(runs, "daily")) == 1, "run_on_startup"
        assert _runs(runs, "hourly") == []
        # A run is logged where the function has logged something, or failed.
        wait_until(lambda: "Executed 'Functions.often_logging' (Succeeded" in host.log, "the run that logs")
        assert "INFO shop: restocked" in host.log
        assert "Functions.often'" not in host.log
        wait_until(lambda: "Executed 'Functions.failing' (Failed" in host.log, "the run that fails")
    # Schedules of a minute and more are monitored.
    assert sorted(file.stem for file in (state / "timers").iterdir()) == ["daily", "hourly"]


def test_a_run_that_was_missed_while_the_host_was_down_is_made_up_for(
    start_host: StartHost, runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "timers"
    folder.mkdir(parents=True)
    missed = {
        "Last": "2024-01-01T00:00:00+00:00",
        "Next": "2024-01-01T01:00:00+00:00",
        "LastUpdated": "2024-01-01T00:00:00+00:00",
    }
    (folder / "hourly.json").write_text(json.dumps(missed))
    with start_host("timers", "--grace", "0.2", state=tmp_path / "state", EVERY="0 0 0 1 1 *", RUNS=str(runs)):
        (run,) = wait_until(lambda: _runs(runs, "hourly"), "the run")
    assert run["past_due"] is True
    assert run["status"] == missed


def _start_request(host: ServerProcess, function: str, count: int = 1) -> list[threading.Thread]:
    """Start requests that will never be answered, and wait until each is being handled."""

    def get() -> None:
        with httpx.Client() as client:
            try:
                client.get(f"{host.address}/{function}", timeout=TIMEOUT_SECONDS)
            except httpx.TransportError:
                return

    threads: list[threading.Thread] = []
    for _ in range(count):
        threads.append(threading.Thread(target=get))
        threads[-1].start()
        wait_until(lambda: host.log.count(f"{function} in ") == len(threads), "the request is handled")
    return threads


# Every other test of the host ends it by SIGINT.
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_the_host_silently(start_host: StartHost, workers: str) -> None:
    with start_host("prefixless", "--quiet", "--workers", workers) as host:
        pids = worker_pids(host, int(workers))
        before = host.log
        assert host.stop(signal.SIGTERM) == (0, "")
        assert host.log == before
        assert not any(map(is_running, pids))


def test_a_signal_during_the_import_ends_the_host(tmp_path: Path) -> None:
    importing = tmp_path / "importing"
    # Short sleeps: a signal right before a sleep does not interrupt it.
    source = f"import time; open({str(importing)!r}, 'w').close()\nfor _ in range(60_000): time.sleep(0.01)\n"
    (tmp_path / "function_app.py").write_text(source)
    command = [sys.executable, "-m", "devstack.host", "--app", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(importing.exists, "the import starts")
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, output) == (0, ("", ""))


@pytest.mark.parametrize("function", ["blocked", "stuck"])
def test_a_host_whose_app_hangs_ends(start_host: StartHost, function: str) -> None:
    with start_host("prefixless", "--quiet", "--grace", "0") as host:
        (thread,) = _start_request(host, function)
        assert host.stop(signal.SIGTERM) == (0, "")
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_hanging_workers_end_with_their_supervisor(start_host: StartHost, number: signal.Signals) -> None:
    with start_host("prefixless", "--quiet", "--grace", "0", "--workers", "2") as host:
        pids = worker_pids(host, 2)
        threads = _start_request(host, "blocked", 1 if number == signal.SIGKILL else 2)
        host.stop(number)
        wait_until(lambda: not any(map(is_running, pids)), "the workers end")
    for thread in threads:
        thread.join()
