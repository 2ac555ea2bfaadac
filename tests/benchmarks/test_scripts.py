"""The benchmarks run, and print what they promise; how quick things are is not for tests to say."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.refusals import REFUSALS
from shared import errors
from tests.conftest import ROOT

# What no request meets that the benchmark could send: Key Vault, the identity or the settings as a whole are wrong.
ELSEWHERE = {
    "control-plane-refused",
    "control-plane-unreachable",
    "identity-unavailable",
    "internal-error",
    "misconfigured",
    "not-rotated",
    "overloaded",
    "rotation-busy",
    "vault-forbidden",
    "vault-throttled",
    "vault-unreachable",
}
PATIENCE = 100


class Scripts:
    """Programs started side by side, since most of their time is waiting for others to start."""

    def __init__(self) -> None:
        self._share = start("gateway_share", "--count", "20")
        self._endurance = start("endurance", "--count", "1", "--in-process", "1", "--warm-up", "20")

    def share(self) -> str:
        return output(self._share)

    def endurance(self) -> str:
        return output(self._endurance)

    def end(self) -> None:
        for process in (self._share, self._endurance):
            process.kill()
            process.communicate()


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    printed, complaint = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complaint) == (0, ""), printed
    return printed


@pytest.fixture(scope="module")
def scripts() -> Iterator[Scripts]:
    made = Scripts()
    yield made
    made.end()


def numbers(line: str) -> list[float]:
    """The numbers at a line's end, behind its name."""
    return [float(number) for number in re.findall(r" (-?\d+\.?\d*)(?= |$)", line[30:])]


def row(name: str, printed: str) -> list[float]:
    """The numbers in the one line that begins with a name."""
    [line] = [line for line in printed.splitlines() if line.startswith(name)]
    return numbers(line)


def test_the_share_is_the_difference_of_two_medians_and_is_told_part_by_part(scripts: Scripts) -> None:
    told, parts = scripts.share().split("microseconds, probed")

    native, direct, [share, cpu] = row("native", told), row("direct", told), row("the gateway's share", told)
    assert "20 pairs: the calmest 1 of 2 batches" in told
    assert share == pytest.approx(native[0] - direct[0], abs=0.002)
    assert cpu == pytest.approx(native[2] - direct[2], abs=0.002)
    assert 0 < direct[0] <= direct[1]
    assert 0 < native[0] <= native[1]
    for line in parts.splitlines()[1:]:
        middle, most = numbers(line)
        assert 0 < middle <= most, line


def test_what_is_held_is_told_after_every_kind_of_refusal(scripts: Scripts) -> None:
    over_http, in_process = scripts.endurance().split("In this process")

    for printed, columns in ((over_http, 4), (in_process, 5)):
        lines = [line for line in printed.splitlines() if line.startswith("1 times ")]
        assert [line.split()[2] for line in lines] == ["a", *(refusal.slug for refusal in REFUSALS)]
        assert {len(numbers(line)) for line in lines} == {columns}
    grown = r"^since .* MB \(\w+ 5\), [+-]\d+ files, [+-]\d+ sockets, [+-]\d+ threads$"
    assert len(re.findall(grown, over_http, re.MULTILINE)) == 2
    assert row("the gateway was closed", in_process)[4] == row("nothing yet", in_process)[4]


def test_every_problem_has_a_request_that_meets_it() -> None:
    kinds = {kind.slug for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "slug")}

    assert {refusal.slug for refusal in REFUSALS} == kinds - ELSEWHERE


def test_an_argument_that_makes_no_sense_is_refused() -> None:
    process = start("gateway_share", "--count", "none")

    _, complaint = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert "must be a whole number, 2 or more, not 'none'" in complaint
