"""What telemetry costs: ``python -m benchmarks.telemetry``.

The app runs in this process, invoked by Microsoft's worker library, with 16 requests under way; its services and the
collector are processes. Compared by turns, by this process's time for a request, the exporting threads' included: each
slice has a gateway of its own. Exports are more frequent than in production: twice a second, and at the end of a slice.

Before that, fresh processes, by turns as well: their time until the first score.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cold_start.measure import Worker
from benchmarks.harness.app import App, Request
from benchmarks.harness.command import at_least, exit_code
from benchmarks.harness.grpc_load import closed_loop
from benchmarks.harness.images import jpeg
from benchmarks.harness.machine import Processors, pin
from benchmarks.harness.testbed import PRODUCTION, Testbed, run
from benchmarks.telemetry.collector import HANGING, HEALTHY, REFUSING
from shared import gateway

CONCURRENCY, SECONDS, EXPORT_MS = 16, 0.5, "500"

# What telemetry may add to a request's processor time.
WITH_METRICS, WITH_TRACES = 1.05, 1.08
# Milliseconds by which it may delay the first score.
FIRST_SCORE_MS = 20.0

OFF = "off"

_KEY = "00000000-0000-4000-8000-000000000000"


class Variant(NamedTuple):
    """Settings, and the share of the requests whose callers ask for a trace: one in so many, 0 for none."""

    settings: Mapping[str, str]
    traced: int = 0
    limit: float = 0.0


# Those of which starts are compared.
_STARTED = {OFF, "Prometheus", "metrics, 1 % of traces", "Application Insights, 1 % of traces"}


def variants(collector: str) -> dict[str, Variant]:
    """What is compared."""

    def exporting(path: str) -> dict[str, str]:
        often = {"OTEL_METRIC_EXPORT_INTERVAL": EXPORT_MS, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector + path, **often}

    insights = {
        **exporting(HEALTHY),
        "TELEMETRY": "application-insights",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={_KEY};IngestionEndpoint={collector}{HEALTHY}",
    }
    return {
        OFF: Variant({}),
        "Prometheus": Variant({"METRICS_KEY": "k" * 16}, limit=WITH_METRICS),
        "metrics": Variant(exporting(HEALTHY), limit=WITH_METRICS),
        "metrics, collector refuses": Variant(exporting(REFUSING), limit=WITH_METRICS),
        "metrics, collector hangs": Variant(exporting(HANGING), limit=WITH_METRICS),
        "metrics, 1 % of traces": Variant(exporting(HEALTHY), 100, WITH_TRACES),
        "1 % of traces, collector refuses": Variant(exporting(REFUSING), 100, WITH_TRACES),
        "1 % of traces, collector hangs": Variant(exporting(HANGING), 100, WITH_TRACES),
        "metrics, all traces": Variant(exporting(HEALTHY), 1),
        "Application Insights, 1 % of traces": Variant(insights, 100, WITH_TRACES),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--rounds", type=at_least(1), default=20, help="slices of each kind (default: %(default)s)")
    parser.add_argument("--starts", type=at_least(1), default=10, help="of each kind (default: %(default)s)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: run(lambda testbed: measure(testbed, options.rounds, options.starts)))


async def measure(testbed: Testbed, rounds: int, starts: int) -> None:
    """Measure, and print."""
    split = Processors.split()
    pin(split.others)  # for the processes that are started here
    addresses = await testbed.start_services()
    addresses = replace(addresses, fpga=await testbed.start_fast_service())
    collector = await testbed.start("collector", "benchmarks.telemetry.collector")
    pin(split.measured)
    settings = {**testbed.settings(addresses), **PRODUCTION}
    _compare_starts(settings, testbed.options.folder / "image.jpg", collector, starts)
    app = await App.load(settings)
    times: dict[str, list[float]] = {name: [] for name in variants(collector)}
    order = list(variants(collector).items())
    for _ in range(rounds):
        for name, variant in order:
            times[name].append(await _slice(app, variant))
        order.append(order.pop(0))
    print(f"{'processor time of a request':<38}{'us':>8}{'ratio':>8}{'limit':>8}")
    for name, variant in variants(collector).items():
        # By turns: each slice is compared with its own round's.
        ratio = median(one / off for one, off in zip(times[name], times[OFF], strict=True))
        limit = f"{variant.limit:8.2f}" if variant.limit else ""
        print(f"{name:<38}{1e6 * median(times[name]):8.1f}{ratio:8.3f}{limit}")


def _compare_starts(settings: Mapping[str, str], image: Path, collector: str, starts: int) -> None:
    """Print the processor time until the first score, with and without telemetry: the machine disturbs it less."""
    image.write_bytes(jpeg(20_000))
    kinds = {name: one for name, one in variants(collector).items() if name in _STARTED}
    workers = {name: Worker({**settings, **one.settings}, image) for name, one in kinds.items()}
    next(iter(workers.values())).start()  # writes the .pyc files
    times: dict[str, list[float]] = {name: [] for name in workers}
    order = list(workers.items())
    for _ in range(starts):
        for name, worker in order:
            times[name].append(worker.start()[0].cpu)
        order.append(order.pop(0))
    print(f"{'processor time to the first score':<38}{'ms':>8}{'more':>8}{'limit':>8}")
    for name, found in times.items():
        # The quickest of each: what else the machine does only adds.
        more = min(found) - min(times[OFF])
        print(f"{name:<38}{min(found):8.1f}{more:8.1f}{'' if name == OFF else f'{FIRST_SCORE_MS:8.0f}'}")
    print()


async def _slice(app: App, variant: Variant) -> float:
    """Seconds of processor time for a request, with a gateway of these settings."""
    await gateway.forget()
    os.environ.update(variant.settings)
    try:
        call = _calls(app, variant.traced)
        for calls in (1, 4, CONCURRENCY):
            await closed_loop(call, calls, 0.05)
        before = time.process_time()
        made = await closed_loop(call, CONCURRENCY, SECONDS)
        if HANGING not in variant.settings.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""):
            await gateway.gateway().flush()
        return (time.process_time() - before) / len(made.took)
    finally:
        for name in variant.settings:
            del os.environ[name]


def _calls(app: App, traced: int) -> Callable[[], Awaitable[None]]:
    """A call, of which one in so many asks for a trace."""
    file = jpeg(20_000)

    def request(flags: str) -> Request:
        headers = {"Content-Type": "image/jpeg", "traceparent": f"00-{'4b' * 16}-{'00f0' * 4}-{flags}"}
        return app.request("/api/score", headers, file)

    plain, asking, numbers = request("00"), request("01"), itertools.count(1)

    def call() -> Awaitable[None]:
        is_traced = traced and next(numbers) % traced == 0
        return app.score(asking if is_traced else plain)

    return call


if __name__ == "__main__":
    sys.exit(main())
