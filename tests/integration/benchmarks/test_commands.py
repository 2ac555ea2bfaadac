"""The commands of their own run, and print their figures, which are not tested themselves."""

import os
import re
import subprocess
import sys

import pytest

from benchmarks.endurance.requests import PROBLEMS
from benchmarks.harness.paths import ROOT

TIMEOUT = 110


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def output(name: str, *arguments: str) -> str:
    done = run(name, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def numbers(line: str) -> list[float]:
    """The numbers at a line's end, after its name."""
    return [float(number) for number in re.findall(r" (-?\d+\.?\d*)(?= |$)", line[24:])]


def row(name: str, printed: str) -> list[float]:
    """The numbers in the one line that begins with a name and ends with a number."""
    [line] = [line for line in printed.splitlines() if re.match(rf"{re.escape(name)} .* [0-9.]+$", line)]
    return numbers(line)


def test_the_share_is_the_difference_of_two_medians_and_is_broken_down() -> None:
    shares, parts = output("native.breakdown", "--count", "20").split("microseconds, observed")

    native, direct, [share, cpu] = (
        row(name, shares) for name in ("native invocation", "direct Predict", "the gateway's share")
    )
    assert "20 calls of each kind" in shares
    assert share == pytest.approx(native[0] - direct[0], abs=0.002)
    assert cpu == pytest.approx(native[2] - direct[2], abs=0.002)
    assert 0 < direct[0] <= direct[1]
    assert 0 < native[0] <= native[1]
    for line in parts.splitlines()[1:]:
        middle, most = numbers(line)
        assert 0 < middle <= most, line


def test_endpoints_are_compared_by_medians_of_one_run() -> None:
    printed = output("protocol_endpoints", "--count", "4")

    score, tensor, direct = (
        row(name, printed) for name in ("POST /api/score", "Open Inference, FP32", "direct Predict, FP32")
    )
    for name in ("TensorFlow Serving, JSON", "Open Inference, binary"):
        added = re.search(rf"^{name} adds (-?[0-9.]+) ms", printed, re.MULTILINE)
        assert added
        assert float(added[1]) == pytest.approx(row(name, printed)[0] - score[0], abs=0.002)
    ratio = re.search(r"takes ([0-9.]+) times as long", printed)
    assert ratio
    assert float(ratio[1]) == pytest.approx(tensor[0] / direct[0], abs=0.02)


def test_the_footprint_is_printed_after_every_kind_of_problem() -> None:
    printed = output("endurance", "--count", "1", "--warm-up", "20")

    lines = [line for line in printed.splitlines() if line.startswith("1 times ")]
    assert [line.split()[2] for line in lines] == ["a", *(request.slug for request in PROBLEMS)]
    assert {len(numbers(line)) for line in lines} == {4}
    grown = r"^since .* MB \(\w+ 5\), [+-]\d+ files, [+-]\d+ sockets, [+-]\d+ threads$"
    assert len(re.findall(grown, printed, re.MULTILINE)) == 2


def test_a_round_of_disturbances_is_a_row_and_loses_no_request() -> None:
    # So few requests warm nothing up: whether the process has grown since is another question.
    done = run("endurance.hour", "--rounds", "2", "--seconds", "0", "--only", "model", "--in-process")

    rows = [re.split(r"  +", line.strip()) for line in done.stdout.splitlines()[1:3]]
    assert [(row[0], row[2], len(row)) for row in rows] == [("warm-up", "0", 10), ("2", "0", 10)], done
    assert min(int(row[1]) for row in rows) > 0
    assert (done.returncode == 1) == ("**Not as it should be:**" in done.stdout) == ("does not prove" in done.stderr)


def test_a_photograph_s_memory_and_pauses_are_printed_for_both_forms() -> None:
    lines = output("photographs.memory", "jpeg").splitlines()[1:]

    assert [line.split()[0::2][:2] for line in lines] == [["jpeg", "encoded"], ["jpeg", "tensor"]]
    for line in lines:
        megabytes, milliseconds, longest, usual = map(float, line.split()[3:])
        assert megabytes >= 0
        assert milliseconds > 0
        assert 0 <= usual <= longest


def test_formats_are_scored_in_both_forms() -> None:
    lines = output("photographs.scores_by_format", "BMP").splitlines()

    assert [line.split()[:2] for line in lines[2:]] == [["BMP", "encoded"], ["BMP", "tensor"]]


def test_a_simulation_prints_its_tables() -> None:
    printed = output("scale", "pins", "--dry-run")

    assert [line for line in printed.splitlines() if line.startswith("pins")] == ["pins-last", "pins-late"]


def test_an_invalid_argument_is_refused() -> None:
    done = run("native.breakdown", "--count", "none")

    assert done.returncode == 2
    assert "must be a whole number, 2 or more, not 'none'" in done.stderr


def test_the_simulation_is_checked_on_gateways_before_a_service() -> None:
    printed = output("scale.check", "admission", "--quick")

    name, _, head, _, row, *_, caption, _ = printed.splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert name == "check-admission"
    assert cells["deadline"] == "1 s"
    measured = [int(cell.removesuffix(" %")) for cell in row.split(" | ")[5:10:2]]
    assert all(0 <= percent <= 200 for percent in measured)
    assert measured[0] > 0
    assert caption.startswith("*Measured on ")
