"""The figures of several worker processes, one of which is killed."""

import signal
import subprocess
import sys
from pathlib import Path

from shared.telemetry.instruments import Points
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.workers import Workers
from tests.conftest import ROOT

WORKER = """
import sys
from pathlib import Path
from shared.telemetry import metrics
from shared.telemetry.snapshot import take
from shared.telemetry.workers import Workers

workers = Workers(Path(sys.argv[1]))
metrics.IMAGES.add(("cats", "decoded"), int(sys.argv[2]))
workers.write(take())
print("written", flush=True)
sys.stdin.read()
"""


def test_a_scrape_adds_up_processes_and_keeps_what_a_killed_one_counted(tmp_path: Path) -> None:
    folder = tmp_path / "instance" / "workers"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), count],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for count in ("1", "10")
    ]
    own: dict[str, Points] = {"scoring.images": {("cats", "decoded"): 100.0}}
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
        workers = Workers(folder)

        def images() -> Points:
            return workers.all(Snapshot(own, at=1)).points["scoring.images"]

        assert images() == {("cats", "decoded"): 111}
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()
        assert [images() for _ in range(2)] == [{("cats", "decoded"): 111}] * 2
        workers.close()
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert Workers(folder).all(Snapshot({}, at=2)).points["scoring.images"] == {("cats", "decoded"): 11}
