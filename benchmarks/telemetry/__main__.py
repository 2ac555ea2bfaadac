"""What telemetry costs: ``python -m benchmarks.telemetry``.

The app runs in this process, invoked by Microsoft's worker library, with 16 requests under way; its services and the
collector are processes. Compared by turns, by this process's time for a request, the exporting threads' included: each
slice has a gateway of its own. Exports are more frequent than in production: twice a second, and at the end of a slice.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

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

OFF = "off"


class Variant(NamedTuple):
    """Settings, and the share of the requests whose callers ask for a trace: one in so many, 0 for none."""

    settings: Mapping[str, str]
    traced: int = 0
    limit: float = 0.0


def variants(collector: str) -> dict[str, Variant]:
    """What is compared."""

    def exporting(path: str) -> dict[str, str]:
        often = {"OTEL_METRIC_EXPORT_INTERVAL": EXPORT_MS, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector + path, **often}

    return {
        OFF: Variant({}),
        "Prometheus": Variant({"METRICS_KEY": "k" * 16}, limit=WITH_METRICS),
        "metrics": Variant(exporting(HEALTHY), limit=WITH_METRICS),
        "metrics, collector refuses": Variant(exporting(REFUSING), limit=WITH_METRICS),
        "metrics, collector hangs": Variant(exporting(HANGING), limit=WITH_METRICS),
        "metrics, 1 % of traces": Variant(exporting(HEALTHY), 100, WITH_TRACES),
        "metrics, all traces": Variant(exporting(HEALTHY), 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--rounds", type=at_least(1), default=20, help="slices of each kind (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    return exit_code(lambda: run(lambda testbed: measure(testbed, rounds)))


async def measure(testbed: Testbed, rounds: int) -> None:
    """Measure, and print."""
    split = Processors.split()
    pin(split.others)  # for the processes that are started here
    addresses = await testbed.start_services()
    addresses = replace(addresses, fpga=await testbed.start_fast_service())
    collector = await testbed.start("collector", "benchmarks.telemetry.collector")
    pin(split.measured)
    app = await App.load({**testbed.settings(addresses), **PRODUCTION})
    times: dict[str, list[float]] = {name: [] for name in variants(collector)}
    order = list(variants(collector).items())
    for _ in range(rounds):
        for name, variant in order:
            times[name].append(await _slice(app, variant))
        order.append(order.pop(0))
    print(f"{'processor time of a request':<30}{'us':>8}{'ratio':>8}{'limit':>8}")
    for name, variant in variants(collector).items():
        # By turns: each slice is compared with its own round's.
        ratio = median(one / off for one, off in zip(times[name], times[OFF], strict=True))
        limit = f"{variant.limit:8.2f}" if variant.limit else ""
        print(f"{name:<30}{1e6 * median(times[name]):8.1f}{ratio:8.3f}{limit}")


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
