"""Takes cold starts: fresh processes, one after the other, while nothing else uses the machine."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import Load, Processors, available, pin
from benchmarks.rig import Invalid
from devstack.stack import ROOT

PROGRAM = Path(__file__).with_name("cold_worker.py")
# A round during which other processes used more of the machine than this is rejected, as long as there are others.
CALM = 0.05
# How many rounds are taken at most, for each that is asked for.
TRIES = 3

_SECONDS = 100
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)")
_INDEXED = "-- indexed"


class Start(NamedTuple):
    """A cold start: its moments in milliseconds since the process was started, and the first request's spans."""

    moments: Mapping[str, float]
    spans: Sequence[Sequence[Any]] = ()


@dataclass
class Round:
    """Fresh processes, one of each kind; ``others`` is how much of the machine other processes used meanwhile."""

    bare: float
    plain: Start
    warmed: Start
    probed: Start
    others: float = 0.0


@dataclass(frozen=True)
class Worker:
    """What is started again and again: the app with its settings, on its processors, and the image that it scores."""

    settings: Mapping[str, str]
    image: Path
    processors: Processors = field(default_factory=Processors.split)

    def start(self, *flags: str, warm_up: bool = False, probed: bool = False) -> tuple[Start, str]:
        """Start it once; returns when what happened, and what it wrote to standard error.

        Raises:
            Invalid: it did not score the image.
        """
        order = {"root": str(ROOT), "image": str(self.image), "warm_up": warm_up, "probed": probed}
        began, done = self._run([*flags, "-P", str(PROGRAM), json.dumps(order)])
        if done.returncode:
            raise Invalid(f"The worker ended with code {done.returncode}: {_last_line(done.stderr)}")
        told = json.loads(_last_line(done.stdout))
        if told["status"] != "200":
            raise Invalid(f"The first image was answered by {told['status']} instead of a score.")
        moments = {name: (moment - began) / 1e6 for name, moment in told["moments"].items()}
        spans = [(name, thread, (a - began) / 1e6, (b - began) / 1e6) for name, thread, a, b in told["spans"]]
        return Start(moments, spans), done.stderr

    def bare(self) -> float:
        """How long an interpreter takes that does nothing, from its start to its end, in milliseconds."""
        began, _ = self._run(["-c", "pass"])
        return (time.monotonic_ns() - began) / 1e6

    def _run(self, arguments: Sequence[str]) -> tuple[int, subprocess.CompletedProcess[str]]:
        pin(self.processors.measured)
        try:
            began = time.monotonic_ns()
            process = subprocess.Popen(  # noqa: S603 - this project's own program
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **self.settings},
            )
        finally:
            pin(self.processors.others)
        with process:
            try:
                output, errors = process.communicate(timeout=_SECONDS)
            finally:
                process.kill()
        return began, subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def take(worker: Worker, count: int, load: Load, tries: int = TRIES) -> tuple[list[Round], int]:
    """So many calm rounds, or the calmest where the machine is busy; and how many were rejected."""
    rounds: list[Round] = []
    while len(rounds) < tries * count and sum(each.others <= CALM for each in rounds) < count:
        load.others()
        before, began = _children(), time.monotonic()
        one = Round(worker.bare(), worker.start()[0], worker.start(warm_up=True)[0], worker.start(probed=True)[0])
        # The load counts processes that have ended as other ones.
        ours = (_children() - before) / (time.monotonic() - began) / len(_everywhere())
        one.others = max(0.0, load.others() - ours)
        rounds.append(one)
    kept = sorted(rounds, key=lambda one: one.others)[:count]
    return kept, len(rounds) - len(kept)


def heaviest(worker: Worker, count: int = 10) -> dict[str, list[dict[str, Any]]]:
    """The packages whose imports take longest, in milliseconds of their own modules: until the index, and after it.

    Told by ``-X importtime`` in one more process; that itself makes each import some 30 microseconds dearer.
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
    """A module's package; of the packages that share a namespace, the one that is installed by itself."""
    parts = module.split(".")
    return ".".join(
        parts[:3] if parts[:2] == ["azure", "keyvault"] else parts[:2] if parts[0] == "azure" else parts[:1]
    )


def _children() -> float:
    """Processor time that ended children have used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _everywhere() -> range:
    return range(os.cpu_count() or len(available()))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
