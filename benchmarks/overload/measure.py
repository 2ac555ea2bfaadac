"""What happens to requests when twice as many come as can be scored.

The gateway in the local Functions host, with one worker on the processor for measured programs, before a service that
scores one image at a time in 1.8 ms. Requests come in an open loop (:mod:`benchmarks.harness.open_loop`).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.grpc_load import GrpcLoad
from benchmarks.harness.http_client import post
from benchmarks.harness.images import jpeg
from benchmarks.harness.machine import CpuLoad, Footprint, Processors, pinned
from benchmarks.harness.open_loop import Answer, Load, send, send_one
from benchmarks.harness.testbed import AUTHORITY_PINS, KEYS, OPEN, Testbed, run, service_settings, write_faults
from benchmarks.overload import numbers
from benchmarks.overload.numbers import IN_TIME, STEP, Phases
from benchmarks.peers.forwarding import files_request
from devstack.stack import LATENCY_MS

FAST, HANGING = "imagenet", "hanging"
# The hanging service accepts calls and never answers.
HANG = {"hang": True}
IMAGE_BYTES = 20_000
NORMAL, OVERLOAD = 0.6, 2.0
# The deadline of impatient clients, in seconds.
SHORT_SECONDS = 1.0

# Enough to keep a service busy that scores one image at a time.
_CALLS, _WARM_UP_SECONDS = 16, 0.5
_HANGING_RATE, _DISCONNECTING, _LEAVE_AFTER = 50.0, 64, 0.2
_PROBE_PAUSE, _PROBE_SECONDS = 0.05, 30.0


class Durations(NamedTuple):
    """How long everything takes, in seconds."""

    phases: Phases
    capacity: float
    neighbour: float
    hanging_deadline: float


FULL = Durations(Phases(4, 8, 4), 2, 4, IN_TIME)
SHORT = Durations(Phases(1, 1.5, 1.5), 0.5, 1, 1.5)


def measure(quick: bool) -> dict[str, Any]:
    """Measure everything.

    Raises:
        BenchmarkFailed: the gateway does not score. StackFailed: the local stack did not start.
    """
    with pinned(Processors.split().others):
        return run(lambda testbed: _measure(testbed, SHORT if quick else FULL), LATENCY_MS)


async def _measure(testbed: Testbed, durations: Durations) -> dict[str, Any]:
    gateway = await Gateway.start(testbed, round(1000 * durations.hanging_deadline))
    capacity = await _capacity(testbed, gateway, durations.capacity)
    main = await _overload(testbed, gateway, capacity, durations.phases)
    neighbour = await asyncio.to_thread(_hanging_neighbour, gateway, NORMAL * capacity, durations.neighbour)
    deadlines = (durations.hanging_deadline, SHORT_SECONDS)
    disconnects = [await asyncio.to_thread(_disconnects, gateway, deadline) for deadline in deadlines]
    return {**main, "hanging_neighbour": neighbour, "disconnects": disconnects}


class Gateway(NamedTuple):
    """The gateway's worker with two services, of which one can hang; ``service`` is the other one's address."""

    port: int
    pid: int
    service: str
    faults: Path
    image: bytes

    @classmethod
    async def start(cls, testbed: Testbed, deadline_ms: int) -> "Gateway":
        """Start all; ``deadline_ms`` is that of the hanging service's requests.

        Raises:
            StackFailed: a process cannot be started. BenchmarkFailed: an image was not scored.
        """
        faults = testbed.options.folder / "faults.json"
        addresses, issued = await testbed.start_services(), testbed.authority.issue()
        hanging = await testbed.start_another_service(HANGING, issued, "--faults", str(faults), latency_ms=LATENCY_MS)
        own = {**KEYS, **AUTHORITY_PINS, "MODEL": FAST, "DEADLINE_MS": str(deadline_ms)}
        settings = {
            **testbed.settings(addresses),
            **service_settings(HANGING, hanging, own),
            "SERVICES": f"{FAST},imagenet-tensor,{OPEN},{HANGING}",
            # No rotation run meanwhile; in local.settings.json they come every five seconds.
            "ROTATION_SCHEDULE": "0 0 4 1 1 *",
            "CREDENTIALS_REFRESH_SECONDS": "300",
        }
        url, pid = await testbed.start_gateway(settings)
        gateway = cls(int(url.rpartition(":")[2]), pid, addresses.fpga, faults, jpeg(IMAGE_BYTES))
        for service in (FAST, HANGING):
            answer = send_one(gateway.port, gateway.request(service))
            if answer.status != 200:
                raise BenchmarkFailed(f"The first image was answered by {answer.status} instead of a score.")
        return gateway

    def request(self, service: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
        return post(f"/api/services/{service}/score", "image/jpeg", self.image, headers)


async def _capacity(testbed: Testbed, gateway: Gateway, seconds: float) -> float:
    """Images a second that the service scores when it is called directly, without a pause."""
    request = files_request([gateway.image]).SerializeToString()
    async with GrpcLoad.secure(gateway.service, testbed.authority.pem, testbed.key, request, _CALLS) as load:
        await load.run(_WARM_UP_SECONDS)
        return (await load.run(seconds)).rate


async def _overload(testbed: Testbed, gateway: Gateway, capacity: float, phases: Phases) -> dict[str, Any]:
    """Normal load, twice the capacity, normal load."""
    request = gateway.request(FAST)
    loads = [
        Load(request, NORMAL * capacity, phases.before),
        Load(request, OVERLOAD * capacity, phases.over, begin=phases.before),
        Load(request, NORMAL * capacity, phases.after, begin=phases.end_of_overload),
    ]
    load = CpuLoad(testbed.supervisor.pids().values())
    sampling = asyncio.create_task(_sample_memory(gateway.pid, phases.end))
    answers = await asyncio.to_thread(send, gateway.port, *loads)
    samples, others = await sampling, load.others()
    by_phase = numbers.by_phase(answers, phases)
    goodput = numbers.goodput(answers, phases)
    return {
        "ratios": {
            "overload_goodput": round(goodput / capacity, 4),
            "overload_refusal_p50_ms": by_phase["over"]["refused_times"]["p50_ms"],
        },
        "capacity": round(capacity, 1),
        "goodput": round(goodput, 1),
        "phases": by_phase,
        "seconds": {"before": phases.before, "over": phases.over, "after": phases.after},
        "normal_after_seconds": numbers.normal_after(answers, phases),
        "memory": numbers.memory(samples, phases),
        "series": numbers.series(answers, phases.end),
        "rss": samples,
        "others": round(others, 4),
    }


async def _sample_memory(pid: int, seconds: float) -> list[dict[str, float]]:
    """The resident memory of a process, step by step."""
    began, samples = time.perf_counter(), []
    while (at := time.perf_counter() - began) < seconds:
        samples.append({"at": round(at, 2), "rss_mb": round(Footprint.of(pid).resident_mb, 1)})
        await asyncio.sleep(STEP)
    return samples


def _hanging_neighbour(gateway: Gateway, rate: float, seconds: float) -> dict[str, Any]:
    """The fast service by itself, and while another one accepts every call and answers none."""
    fast = Load(gateway.request(FAST), rate, seconds, name=FAST)
    hanging = Load(gateway.request(HANGING), _HANGING_RATE, seconds, name=HANGING)
    alone = send(gateway.port, fast)
    write_faults(gateway.faults, HANG)
    both = send(gateway.port, fast, hanging)
    write_faults(gateway.faults, {})

    def counts(answers: Sequence[Answer], name: str) -> Mapping[str, Any]:
        return numbers.counts([answer for answer in answers if answer.name == name], seconds)

    return {"alone": counts(alone, FAST), "beside": counts(both, FAST), "hanging": counts(both, HANGING)}


def _disconnects(gateway: Gateway, deadline: float) -> dict[str, Any]:
    """Clients of a hanging service disconnect; how long it takes, once it answers again, until an image is scored."""
    request = gateway.request(HANGING, [("Request-Timeout-Ms", str(round(1000 * deadline)))])
    write_faults(gateway.faults, HANG)
    send(gateway.port, Load(request, 20 * _DISCONNECTING, 1 / 20), leave_after=_LEAVE_AFTER)
    write_faults(gateway.faults, {})
    began, refused, scored = time.perf_counter(), 0, None
    while scored is None and (seconds := time.perf_counter() - began) < _PROBE_SECONDS:
        answer = send_one(gateway.port, gateway.request(HANGING))
        if answer.status == 200:
            scored = round(seconds, 2)
        else:
            refused += numbers.is_refusal(answer)
            time.sleep(_PROBE_PAUSE)
    return {"deadline_seconds": deadline, "scored_after_seconds": scored, "refused": refused}
