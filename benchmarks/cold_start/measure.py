"""What the first client of a new instance waits for, part by part: from the start of a process to the first score.

Each sample is a fresh process (:mod:`benchmarks.cold_start.worker`), of several kinds by turns: one as it is, one whose
warm-up trigger runs first, one whose first request comes later, one whose functions are observed, and one for which
Key Vault is slow.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.images import jpeg
from benchmarks.harness.internals import FIRST_REQUEST_PARTS
from benchmarks.harness.machine import CpuLoad, Processors, pinned
from benchmarks.harness.noise import ATTEMPTS, Measured, least_disturbed
from benchmarks.harness.paths import ROOT
from benchmarks.harness.testbed import Testbed, run
from devstack import fault

PROGRAM = Path(__file__).with_name("worker.py")
COUNT, QUICK_COUNT = 4, 1
IMAGE_BYTES = 20_000
# Seconds after the app is indexed, where the first request does not come at once.
LATER = 0.5
# Seconds that a slow Key Vault takes for a secret.
VAULT_SECONDS = 0.15

# The parts of a start, each up to a moment: what it is, and whose code runs.
STEPS = (
    ("begun", "interpreter", "Python"),
    ("library", "the worker library's import", "Microsoft"),
    ("importing", "the worker library's init: azure.functions and its bindings", "Microsoft"),
    ("imported", "the app's import (function_app)", "gateway"),
    ("indexed", "the app indexed", "Microsoft"),
    ("answered", "the first request", "gateway"),
)
# What no gateway could do without: Microsoft's worker library, and the packages that a first score uses.
PACKAGES = (
    *("azure_functions_runtime", "azure.functions", "azure.identity", "azure.keyvault.secrets"),
    *("cryptography.x509", "google.protobuf.message", "grpc.aio", "numpy"),
)
_IMPORTED = "import asyncio, time, %s; print(time.monotonic_ns(), flush=True); import os; os._exit(0)"
# Shorter imports in the first request are left out, in milliseconds.
_LEAST_IMPORT = 2.0

_TIMEOUT = 100
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)")
_INDEXED = "-- indexed"


class Start(NamedTuple):
    """A start's moments, in milliseconds since the process was started; the spans of its first request, likewise.

    ``cpu`` is the processor time until the first score, in milliseconds.
    """

    moments: Mapping[str, float]
    spans: Sequence[tuple[str, str, float, float]] = ()
    cpu: float = 0.0


class Round(NamedTuple):
    """Fresh processes, one of each kind.

    ``bare`` is an interpreter that does nothing, and ``packages`` one that only imports, in milliseconds.
    """

    bare: float
    packages: float
    plain: Start
    warmed: Start
    later: Start
    observed: Start
    slow_vault: Start


class Worker(NamedTuple):
    """The process that is started again and again: its app settings, and the image that it scores.

    Its first start writes the .pyc files, beside the image: the package of ``make dist`` has them.
    """

    settings: Mapping[str, str]
    image: Path

    def start(
        self, *flags: str, warm_up: bool = False, later: float = 0.0, observed: bool = False
    ) -> tuple[Start, str]:
        """Start it once, with the first request so many seconds later; returns its moments, and its standard error.

        Raises:
            BenchmarkFailed: it did not score the image.
        """
        order = {"root": str(ROOT), "image": str(self.image), "warm_up": warm_up, "later": later, "observed": observed}
        began, done = self._run(*flags, "-P", str(PROGRAM), json.dumps(order))
        if done.returncode:
            raise BenchmarkFailed(f"The worker ended with code {done.returncode}: {_last_line(done.stderr)}")
        found = json.loads(_last_line(done.stdout))
        if found["status"] != "200":
            raise BenchmarkFailed(f"The first image was answered by {found['status']} instead of a score.")
        moments = {name: (moment - began) / 1e6 for name, moment in found["moments"].items()}
        spans = [(name, thread, (a - began) / 1e6, (b - began) / 1e6) for name, thread, a, b in found["spans"]]
        return Start(moments, spans, found["cpu"] / 1e6), done.stderr

    def bare(self) -> float:
        """The time of an interpreter that does nothing, from its start to its end, in milliseconds."""
        began, _ = self._run("-c", "pass")
        return (time.monotonic_ns() - began) / 1e6

    def packages(self) -> float:
        """The time from an interpreter's start until it has imported ``PACKAGES``, in milliseconds."""
        began, done = self._run("-c", _IMPORTED % ", ".join(PACKAGES))
        return (int(_last_line(done.stdout)) - began) / 1e6

    def _run(self, *arguments: str) -> tuple[int, subprocess.CompletedProcess[str]]:
        """Run an interpreter on the processor for measured programs; returns also the moment before its start."""
        command = [sys.executable, *arguments]
        # Wherever the measuring machine's environment has .pyc files written, if it does.
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.image.with_name("bytecode"))}
        settings = {**os.environ, **self.settings, **bytecode}
        with pinned(Processors.split().measured):
            began = time.monotonic_ns()
            # This project's own program, which ends by itself.
            return began, subprocess.run(  # noqa: S603
                command, input="", capture_output=True, text=True, env=settings, timeout=_TIMEOUT, check=False
            )


def measure(quick: bool) -> dict[str, Any]:
    """Take the samples.

    Raises:
        BenchmarkFailed: a worker did not score. StackFailed: the local stack did not start.
    """
    with pinned(Processors.split().others):
        return run(lambda testbed: _measure(testbed, quick=quick))


async def _measure(testbed: Testbed, *, quick: bool) -> dict[str, Any]:
    addresses = await testbed.start_services()
    settings = testbed.settings(addresses)
    image = testbed.options.folder / "image.jpg"
    image.write_bytes(jpeg(IMAGE_BYTES))
    worker, load = Worker(settings, image), CpuLoad(testbed.supervisor.pids().values())
    worker.start()
    worker.packages()
    imports = heaviest_imports(worker)

    def take() -> Measured[Round]:
        load.others()
        starts = (
            worker.start()[0],
            worker.start(warm_up=True)[0],
            worker.start(later=LATER)[0],
            worker.start(observed=True)[0],
        )
        fault.set_fault(addresses, testbed.state, fault.VAULT, {"mode": "slow", "delay": VAULT_SECONDS})
        slow = worker.start()[0]
        fault.set_fault(addresses, testbed.state, fault.VAULT, None)
        return Measured(Round(worker.bare(), worker.packages(), *starts, slow), load.others())

    rounds, rejected = least_disturbed(take, QUICK_COUNT if quick else COUNT, 1 if quick else ATTEMPTS)
    others = max(one.others for one in rounds)
    return {**summary([one.value for one in rounds]), "others": others, "imports": imports, "rejected": rejected}


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """The medians, in milliseconds."""
    bare, packages, plain, warmed, later, observed, slow_vault = zip(*rounds, strict=True)
    return {
        "ratios": {
            "cold_indexed_ms": _at(plain, "indexed"),
            "cold_first_score_ms": _at(plain, "answered"),
            "cold_slow_vault_ms": _at(slow_vault, "answered"),
        },
        "samples": len(rounds),
        "bare_ms": round(median(bare), 1),
        "packages_ms": round(median(packages), 1),
        "steps": _steps(plain),
        "first_request": _first_request(observed),
        "observed_first_score_ms": _at(observed, "answered"),
        "warmed": {
            "indexed_ms": _at(warmed, "indexed"),
            "warm_up_ms": _between(warmed, "warming", "warmed"),
            "first_request_ms": _between(warmed, "requested", "answered"),
        },
        "later_first_request_ms": _between(later, "requested", "answered"),
        "worst": {
            "cold_indexed_ms": round(max(one.moments["indexed"] for one in plain), 1),
            "cold_first_score_ms": round(max(one.moments["answered"] for one in plain), 1),
        },
    }


def _steps(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """Each part from the median moment at which the one before it ended, so that they add up."""
    steps, previous = [], 0.0
    for moment, name, code in STEPS:
        until = _at(starts, moment)
        steps.append({"name": name, "code": code, "milliseconds": round(until - previous, 1), "until": until})
        previous = until
    return steps


def _first_request(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """The parts of the first request: the medians of their begins and ends, in milliseconds since the request's begin.

    Of parts that run several times at once, as the reads of secrets, from the first begin to the last end.
    """
    found: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for start in starts:
        by_name, requested = defaultdict(list), start.moments["requested"]
        for name, thread, begin, end in start.spans:
            by_name[name].append((begin - requested, end - requested, thread))
        for name, spans in by_name.items():
            begins, ends, threads = zip(*spans, strict=True)
            found[name].append((min(begins), max(ends), threads[0]))
    parts = []
    for name, spans in found.items():
        begin, end = round(median(span[0] for span in spans), 1), round(median(span[1] for span in spans), 1)
        thread = "event loop" if spans[0][2] == "MainThread" else "thread"
        chosen = name in FIRST_REQUEST_PARTS.values() or end - begin >= _LEAST_IMPORT
        if chosen and 2 * len(spans) >= len(starts):
            parts.append({"name": name, "thread": thread, "begin": begin, "end": end})
    return sorted(parts, key=lambda part: float(part["begin"]))


def _at(starts: Sequence[Start], moment: str) -> float:
    return round(median(start.moments[moment] for start in starts), 1)


def _between(starts: Sequence[Start], first: str, second: str) -> float:
    return round(median(start.moments[second] - start.moments[first] for start in starts), 1)


def heaviest_imports(worker: Worker, count: int = 10) -> dict[str, list[dict[str, Any]]]:
    """The packages whose imports take longest, in milliseconds of their own modules: until the index, and after it.

    From ``-X importtime`` in one process, which makes each import some 30 microseconds slower.
    """
    _, errors = worker.start("-X", "importtime")
    before, _, after = errors.partition(_INDEXED)
    return {"until_indexed": _packages(before)[:count], "first_request": _packages(after)[:count]}


def _packages(lines: str) -> list[dict[str, Any]]:
    totals: dict[str, list[float]] = defaultdict(list)
    for microseconds, _, module in _IMPORT.findall(lines):
        totals[_package(module)].append(int(microseconds) / 1000)
    ranked = sorted(totals.items(), key=lambda item: -sum(item[1]))
    return [{"package": name, "modules": len(own), "milliseconds": round(sum(own), 1)} for name, own in ranked]


def _package(module: str) -> str:
    """A module's package; within a namespace package, the one that is installed by itself."""
    parts = module.split(".")
    levels = 3 if parts[:2] == ["azure", "keyvault"] else 2 if parts[0] == "azure" else 1
    return ".".join(parts[:levels])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
