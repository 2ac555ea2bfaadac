"""Processors and processes, as Linux reports them."""

import os
import subprocess
import sys

import pytest

from benchmarks.harness.machine import CpuLoad, Footprint, Processors, available, cpu_seconds, pinned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinities and /proc are Linux's")

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_pinning_ends_with_its_context_and_does_not_change_the_split() -> None:
    split, before = Processors.split(), available()

    with pinned(split.others):
        code = "import os; print(sorted(os.sched_getaffinity(0)))"
        started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert Processors.split() == split

    assert started.stdout == f"{sorted(split.others)}\n"
    assert available() == before
    assert len(split.measured) == 1
    assert not split.measured & split.others or split.measured == split.others


def test_a_family_is_a_process_with_all_its_descendants() -> None:
    # One that computes nothing itself: its child does, in a session of its own, until its input ends.
    burn = f"import sys\n{BURN}print('burnt', flush=True)\nsys.stdin.read()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], start_new_session=True)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], text=True, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "burnt\n"
        assert cpu_seconds([parent.pid]) >= 0.25
        parent.communicate()


def test_ended_children_count_as_this_process() -> None:
    before = cpu_seconds([os.getpid()])

    subprocess.run([sys.executable, "-c", BURN], check=True)

    assert cpu_seconds([os.getpid()]) - before >= 0.25
    assert 0 <= CpuLoad().others() <= 1


def test_a_footprint_counts_open_files() -> None:
    before = Footprint.of(os.getpid())

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert Footprint.of(os.getpid()).files == before.files + 1
        child.kill()

    assert before.resident_mb > 10
