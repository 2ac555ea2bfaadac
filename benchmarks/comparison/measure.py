"""The gateway over HTTP, compared with its peers.

Each server has one worker, on the processor for measured programs; the inference service and the load client have the
other processors. Every system talks to the same service, over TLS and with its key, and is sent the same files.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.comparison.runner import Case, Runner
from benchmarks.comparison.systems import DIRECT, GATEWAY, LOAD_CLIENT, SYSTEMS, Backend, System
from benchmarks.comparison.workloads import Workload
from benchmarks.harness.machine import Processors, pinned
from benchmarks.harness.slices import Schedule
from benchmarks.harness.testbed import OPEN, PRODUCTION, Testbed, run
from shared.settings import prefix

CONCURRENCIES = (1, 16, 64)


def _cases(workload: Workload, concurrencies: Sequence[int], schedule: Schedule) -> list[Case]:
    return [Case(workload, concurrency, schedule) for concurrency in concurrencies]


# A photograph takes a processor some 40 to 200 ms: 16 at a time keep it as busy as 64 would.
WITHOUT_LATENCY = (
    *_cases(Workload.JPEG, CONCURRENCIES, Schedule(2, 0.5)),
    *_cases(Workload.TENSOR, CONCURRENCIES, Schedule(1, 0.5)),
    *_cases(Workload.FILES, CONCURRENCIES, Schedule(2, 0.5)),
    *_cases(Workload.PHOTO, (1, 16), Schedule(1, 1.0, least=1)),
)
WITH_LATENCY = (
    *_cases(Workload.JPEG, CONCURRENCIES, Schedule(1, 0.8)),
    *_cases(Workload.TENSOR, (1, 16), Schedule(1, 0.5)),
    *_cases(Workload.FILES, (1, 16), Schedule(1, 0.5)),
)
_SHORT = Schedule(1, 0.2, least=1, retries=0)
QUICK = (*_cases(Workload.JPEG, (1, 16), _SHORT), *_cases(Workload.FILES, (1,), _SHORT))


def measure(quick: bool, latency_ms: float, systems: Sequence[str]) -> dict[str, Any]:
    """The summaries by workload, concurrency and system for a service of that latency, and the ratios.

    Raises:
        StackFailed: a server does not start. BadAnswer: one answers wrongly.
        EnvironmentFailed: a peer cannot be installed. PhotoError: the sample photographs are missing.
    """
    chosen = [each for each in SYSTEMS if each.name in systems]
    cases = QUICK if quick else WITH_LATENCY if latency_ms else WITHOUT_LATENCY
    with pinned(Processors.split().others):
        tables = run(lambda testbed: _measure(testbed, chosen, cases), latency_ms)
    return {"latency_ms": latency_ms, "tables": tables, "ratios": ratios(tables, latency_ms)}


async def _measure(testbed: Testbed, systems: Sequence[System], cases: Sequence[Case]) -> dict[str, Any]:
    has_latency = bool(testbed.options.latency_ms)
    addresses = await testbed.start_services()
    # The fast service does not speak the other protocol.
    other = {prefix(OPEN) + "PORT": addresses.fpga.rpartition(":")[2]}
    if not has_latency:
        addresses = replace(addresses, fpga=await testbed.start_fast_service())
    settings = {**testbed.settings(addresses), **PRODUCTION, **other}
    backend = Backend(addresses.fpga, testbed.key, testbed.state.ca, testbed.options.folder, settings)
    runner = Runner(testbed.supervisor, backend)
    await runner.start(systems if has_latency else [*systems, LOAD_CLIENT])
    tables: dict[str, Any] = defaultdict(dict)
    for case in cases:
        tables[case.workload][str(case.concurrency)] = await runner.compare(systems, case)
    if not has_latency:
        for case in _cases(Workload.JPEG, CONCURRENCIES, cases[0].schedule._replace(rounds=1)):
            [found] = (await runner.compare([LOAD_CLIENT], case)).values()
            tables[LOAD_CLIENT.name][str(case.concurrency)] = found
    return tables


def ratios(tables: Mapping[str, Any], latency_ms: float) -> dict[str, float]:
    """The targets' ratios in these tables; with a latency, the share of the service's capacity that is used."""
    table, files = tables[Workload.JPEG], tables.get(Workload.FILES, {})
    if latency_ms:
        return _over(table, "16", "rps", {"fpga_use_c16": DIRECT})
    peers = ("envoy", "fastapi", "litserve", "bentoml")
    return {
        **_over(table, "1", "p50_ms", {"http_c1_p50_vs_envoy": "envoy"}),
        **_over(files, "1", "p50_ms", {"http_c1_files_vs_fastapi": "fastapi"}),
        **_over(table, "16", "rps", {f"http_c16_rps_vs_{peer}": peer for peer in peers}),
    }


def _over(table: Mapping[str, Any], concurrency: str, figure: str, named: Mapping[str, str]) -> dict[str, float]:
    """The gateway's figure over each other's, where both were measured."""
    rows = table.get(concurrency, {})
    return {
        name: rows[GATEWAY][figure] / rows[other][figure]
        for name, other in named.items()
        if GATEWAY in rows and other in rows
    }
