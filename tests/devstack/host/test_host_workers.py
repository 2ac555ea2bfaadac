import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.devstack.host.helpers import StartHost, answering_pids, eventually, worker_pids
from tests.devstack.processes import Running


def _notes(file: Path, kind: str | None = None) -> list[dict[str, Any]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [note for note in map(json.loads, lines) if kind in {None, note["kind"]}]


@pytest.fixture(scope="module")
def pair_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair") / "notes"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture(scope="module")
def pair(start_host: StartHost, pair_notes: Path) -> Iterator[Running]:
    """Two workers of the app with the timers. The last test that uses them kills one."""
    with start_host("timers", "--workers", "2", "--grace", "0.2", EVERY="00:00:00.1", NOTES=str(pair_notes)) as host:
        yield host


def test_workers_share_the_port_and_one_of_them_runs_the_timers(pair: Running, pair_notes: Path) -> None:
    pids = worker_pids(pair, 2)
    eventually(lambda: len(_notes(pair_notes, "begin")) >= 2)
    runners = {note["pid"] for note in _notes(pair_notes)}
    assert len(runners) == 1
    assert runners < pids


def test_a_function_is_run_by_hand_by_the_leader_whoever_is_asked(pair: Running, pair_notes: Path) -> None:
    worker_pids(pair, 2)
    (leader,) = {note["pid"] for note in eventually(lambda: _notes(pair_notes))}
    with httpx.Client(base_url=pair.address, headers={"Connection": "close"}) as client:
        for _ in range(20):
            assert client.post("/admin/functions/hourly", json={"input": ""}).status_code == 202
    eventually(lambda: len(_notes(pair_notes, "hourly")) == 20)
    assert {note["pid"] for note in _notes(pair_notes, "hourly")} == {leader}


def test_a_leader_that_dies_is_succeeded(pair: Running, pair_notes: Path) -> None:
    (leader,) = {note["pid"] for note in eventually(lambda: _notes(pair_notes))}
    os.kill(leader, signal.SIGKILL)
    (successor,) = eventually(lambda: {note["pid"] for note in _notes(pair_notes, "begin")} - {leader})
    assert successor in answering_pids(pair)
    assert f"Worker 0 (pid {leader}) was ended by SIGKILL: starting another" in pair.log
    # Its run at the start was the leader's; a successor's is one more, as on a new instance.
    assert {note["pid"] for note in _notes(pair_notes, "daily")} <= {leader, successor}


def test_a_timer_never_overlaps_itself_and_keeps_a_status(start_host: StartHost, notes: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_host("timers", "--grace", "0.2", state=state, EVERY="00:00:00.1", NOTES=str(notes)) as host:
        eventually(lambda: len(_notes(notes, "begin")) >= 2)
        kinds = [note["kind"] for note in _notes(notes) if note["kind"] in {"begin", "end"}]
        assert kinds[:3] == ["begin", "end", "begin"]
        assert len(_notes(notes, "daily")) == 1, "run_on_startup"
        assert _notes(notes, "hourly") == []
        assert "Executed 'Functions.often' (Succeeded" in host.log
    # Monitored are those of a minute and more.
    assert sorted(file.stem for file in (state / "timers").iterdir()) == ["daily", "hourly"]


def test_a_run_that_was_missed_while_the_host_was_down_is_made_up_for(
    start_host: StartHost, notes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "timers"
    folder.mkdir(parents=True)
    missed = {
        "Last": "2024-01-01T00:00:00+00:00",
        "Next": "2024-01-01T01:00:00+00:00",
        "LastUpdated": "2024-01-01T00:00:00+00:00",
    }
    (folder / "hourly.json").write_text(json.dumps(missed))
    with start_host("timers", "--grace", "0.2", state=tmp_path / "state", EVERY="0 0 0 1 1 *", NOTES=str(notes)):
        (note,) = eventually(lambda: _notes(notes, "hourly"))
    assert note["past_due"] is True
    assert note["status"] == missed
