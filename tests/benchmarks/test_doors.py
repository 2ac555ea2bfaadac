"""The benchmark of the doors runs, and prints what it promises; how quick things are is not for tests to say."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def row(name: str, printed: str) -> list[float]:
    """The numbers in the one line that begins with a name, in the table's form."""
    [line] = [line for line in printed.splitlines() if re.match(rf"{re.escape(name)} +[0-9.]+ +[0-9.]+$", line)]
    return [float(number) for number in re.findall(r"[0-9.]+", line[len(name) :])]


def test_what_the_doors_add_is_told_by_medians_of_one_run() -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks.doors", "--count", "4"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert not ended.stderr
    assert ended.returncode == 0
    score, tensor, direct = (
        row(name, ended.stdout) for name in ("POST /api/score", "Open Inference, FP32", "direct Predict, FP32")
    )
    for name in ("TensorFlow Serving, JSON", "Open Inference, binary"):
        added = re.search(rf"^{name} adds (-?[0-9.]+) ms", ended.stdout, re.MULTILINE)
        assert added
        assert float(added[1]) == pytest.approx(row(name, ended.stdout)[0] - score[0], abs=0.002)
    ratio = re.search(r"takes ([0-9.]+) times as long", ended.stdout)
    assert ratio
    assert float(ratio[1]) == pytest.approx(tensor[0] / direct[0], abs=0.02)
