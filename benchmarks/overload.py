"""What becomes of requests when twice as many come as can be scored: ``python -m benchmarks.overload``.

The gateway in the local Functions host, with one worker on a processor of its own, before a service that scores one
image at a time in 1.8 ms. Requests come in an open loop (:mod:`benchmarks.overload_client`).
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import overload_numbers as numbers
from benchmarks.machine import Load as MachineLoad
from benchmarks.machine import Processors, pin
from benchmarks.overload_client import Answer, Client, Load, post
from benchmarks.overload_numbers import STEP, Phases
from benchmarks.overload_rig import HANGING, QUICK, Rig
from benchmarks.rig import Bench, Invalid, jpeg, part, result
from devstack.stack import LATENCY_MS
from shared.settings import ServiceSettings

IMAGE_BYTES = 20_000
NORMAL, OVERLOAD = 0.6, 2.0
# A score that comes later than the request's deadline helps nobody.
IN_TIME = ServiceSettings.deadline_seconds
# The whole is repeated where other processes used more of the machine than this, so many times at most.
CALM, TRIES = 0.05, 3

# The deadline of clients that want no more than a moment, in seconds.
SHORT_SECONDS = 1.0

_HANGING_RATE, _LEAVING, _LEAVE_AFTER = 50.0, 64, 0.2
_PROBE_PAUSE, _PROBE_SECONDS = 0.05, 30.0


@dataclass(frozen=True)
class Course:
    """How long everything takes, in seconds."""

    phases: Phases
    saturate: float
    beside: float
    hanging_deadline: float
    tries: int


FULL = Course(Phases(10, 15, 10), 3, 8, IN_TIME, TRIES)
SHORT = Course(Phases(1, 1.5, 1.5), 0.5, 1, 1.5, 1)


def measure(quick: bool) -> dict[str, Any]:
    """Run the whole course, again where the machine was busy; the calmest counts.

    Raises:
        Invalid: the gateway does not score. StackFailed: the local stack did not start.
    """
    course = SHORT if quick else FULL
    processors, runs = Processors.split(), list[dict[str, Any]]()
    try:
        while len(runs) < course.tries and not (runs and runs[-1]["others"] <= CALM):
            runs.append(result(lambda bench: _measure(bench, course), LATENCY_MS))
    finally:
        pin(processors.measured | processors.others)
    return {**min(runs, key=lambda run: float(run["others"])), "runs": len(runs)}


async def _measure(bench: Bench, course: Course) -> dict[str, Any]:
    rig = await Rig.start(bench, round(1000 * course.hanging_deadline))
    client, image = Client(rig.host, rig.port), jpeg(IMAGE_BYTES)
    try:
        for service in (QUICK, HANGING):
            await _see_a_score(client, _post(service, image))
        capacity = await rig.capacity(image, course.saturate)
        main = await _overload(rig, client, image, capacity, course.phases)
        beside = await _beside(rig, client, image, NORMAL * capacity, course.beside)
        leaving = [await _leaving(rig, client, image, seconds) for seconds in (course.hanging_deadline, SHORT_SECONDS)]
    finally:
        client.close()
    return {**main, "beside": beside, "leaving": leaving}


async def _see_a_score(client: Client, request: bytes) -> None:
    answer = await client.one(request)
    if answer.status != 200:
        raise Invalid(f"The first image was answered by {answer.status} instead of a score.")


async def _overload(rig: Rig, client: Client, image: bytes, capacity: float, phases: Phases) -> dict[str, Any]:
    """Normal, twice the capacity, normal."""
    request = _post(QUICK, image)
    loads = [
        Load(request, NORMAL * capacity, phases.before),
        Load(request, OVERLOAD * capacity, phases.over, begin=phases.before),
        Load(request, NORMAL * capacity, phases.after, begin=phases.end_of_overload),
    ]
    load = MachineLoad(rig.bench.supervisor.pids().values())
    watching = asyncio.create_task(_watch(rig.worker, phases.end))
    answers = await client.send(loads)
    samples, others = await watching, load.others()
    told = numbers.phases_told(answers, phases, IN_TIME)
    good = numbers.goodput(answers, phases, IN_TIME)
    return {
        "ratios": {
            "overload_goodput": round(good / capacity, 4),
            "overload_refusal_p50_ms": told["over"]["refused_times"]["p50_ms"],
        },
        "capacity": round(capacity, 1),
        "goodput": round(good, 1),
        "phases": told,
        "seconds": {"before": phases.before, "over": phases.over, "after": phases.after},
        "normal_after_seconds": numbers.normal_after(answers, phases, IN_TIME),
        "memory": numbers.memory(samples, phases),
        "series": numbers.series(answers, phases.end, IN_TIME),
        "rss": samples,
        "others": round(others, 4),
        "unanswered": sum(answer.status == 0 for answer in answers),
    }


async def _watch(pid: int, seconds: float) -> list[dict[str, float]]:
    """The resident memory of a process, step by step."""
    status, began, samples = Path(f"/proc/{pid}/status"), time.perf_counter(), []
    while (at := time.perf_counter() - began) < seconds:
        samples.append({"at": round(at, 2), "rss_mb": _resident(status)})
        await asyncio.sleep(STEP)
    return samples


def _resident(status: Path) -> float:
    """Resident memory in MB (10^6 bytes), of proc(5)'s status, which tells it in KiB."""
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


async def _beside(rig: Rig, client: Client, image: bytes, rate: float, seconds: float) -> dict[str, Any]:
    """A quick service by itself, and beside one that takes every call and answers none."""
    quick = Load(_post(QUICK, image), rate, seconds, name=QUICK)
    alone = await client.send([quick])
    rig.hang(hang=True)
    both = await client.send([quick, Load(_post(HANGING, image), _HANGING_RATE, seconds, name=HANGING)])
    rig.hang(hang=False)
    return {
        "alone": _counted(alone, QUICK, seconds),
        "beside": _counted(both, QUICK, seconds),
        "hanging": _counted(both, HANGING, seconds),
    }


def _counted(answers: Sequence[Answer], name: str, seconds: float) -> dict[str, Any]:
    return numbers.counts([answer for answer in answers if answer.name == name], seconds, IN_TIME)


async def _leaving(rig: Rig, client: Client, image: bytes, deadline: float) -> dict[str, Any]:
    """Clients of a service that hangs go away; how long it then takes, when it is well again, until one is scored."""
    request = _post(HANGING, image, Request_Timeout_Ms=str(round(1000 * deadline)))
    rig.hang(hang=True)
    await client.send([Load(request, 20 * _LEAVING, 1 / 20, leave_after=_LEAVE_AFTER, name=HANGING)])
    rig.hang(hang=False)
    began, refused = time.perf_counter(), 0
    told: dict[str, Any] = {"deadline_seconds": deadline, "scored_after_seconds": None}
    while (seconds := time.perf_counter() - began) < _PROBE_SECONDS:
        answer = await client.one(_post(HANGING, image))
        if answer.status == 200:
            told["scored_after_seconds"] = round(seconds, 2)
            break
        refused += numbers.is_refusal(answer)
        await asyncio.sleep(_PROBE_PAUSE)
    return {**told, "refused": refused}


def _post(service: str, image: bytes, **headers: str) -> bytes:
    return post(f"/api/services/{service}/score", image, **headers)


def report(data: Mapping[str, Any]) -> str:
    """A section of Markdown."""
    from benchmarks.overload_report import text  # noqa: PLC0415 - words, which the measurement does not need

    return text(data)


def plot(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw rates, times and memory over the three phases."""
    from benchmarks.overload_plot import draw  # noqa: PLC0415 - matplotlib, which only this needs

    return [draw(data, folder / "overload.svg")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    return part("benchmarks.overload", measure, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
