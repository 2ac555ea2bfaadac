"""What a benchmark knows of processors and of processes, where /proc and affinities tell."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.machine import Processors, available, family_seconds, pin
from tests.conftest import ROOT

linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="affinities are Linux's")


@pytest.fixture
def unpinned() -> Iterator[None]:
    before = available()
    yield
    pin(before)


@linux
@pytest.mark.usefixtures("unpinned")
def test_the_split_stays_as_it_was_when_the_process_is_pinned_to_a_part_of_it() -> None:
    split = Processors.split()

    pin(split.others)

    assert available() == split.others
    assert Processors.split() == split
    assert len(split.measured) == 1
    assert not split.measured & split.others or split.measured == split.others


@linux
def test_what_is_launched_runs_on_the_processors_that_it_was_given() -> None:
    number = max(available())
    told = "import os; print(sorted(os.sched_getaffinity(0)))"
    code = f"from benchmarks.machine import pin; pin({{{number}}}); {told}"

    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout == f"[{number}]\n"


@linux
def test_a_family_is_a_process_with_all_that_it_has_started() -> None:
    # One that computes nothing itself: its child does, in a session of its own, until its input ends.
    burn = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\nsys.stdin.read()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], start_new_session=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "burnt\n"
        assert family_seconds(parent.pid) >= 0.25
        parent.communicate()
