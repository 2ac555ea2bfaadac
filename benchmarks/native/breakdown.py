"""How the time of an invocation is distributed over its parts: ``python -m benchmarks.native.breakdown``.

First the gateway's own share: the difference of an invocation of ``score`` and the direct call of the service, by turns
(as in :mod:`benchmarks.native.measure`, but with the local stack's own inference service). Then both once more while
the interpreter reports the functions' begins and ends, which takes time itself.
"""

import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.harness.app import App
from benchmarks.harness.command import count_and_size, exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.function_spans import Spans, own_seconds
from benchmarks.harness.images import jpeg
from benchmarks.harness.interleaved import interleaved, print_table, rows_of
from benchmarks.harness.internals import INVOCATION_PARTS
from benchmarks.harness.machine import CpuLoad
from benchmarks.harness.testbed import Testbed, run
from benchmarks.native.measure import NATIVE, RAW, Calls, native_and_raw
from benchmarks.targets import TARGETS

OBSERVED = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    count, size = count_and_size("benchmarks.native.breakdown", 4000, arguments)
    return exit_code(lambda: run(lambda testbed: measure(testbed, count, size)))


async def measure(testbed: Testbed, count: int, size: int) -> None:
    """Measure both, and print."""
    app = await App.load(testbed.settings(await testbed.start_services()))
    file = jpeg(size)
    calls = await native_and_raw(app, file)
    rows = await interleaved(calls, count, CpuLoad(testbed.supervisor.pids().values()))
    native, raw = rows[NATIVE], rows[RAW]
    print(f"A JPEG of {len(file)} bytes, {native['calls']} calls of each kind ({native['noisy']} noisy batches).\n")
    print_table({"native invocation": native, "direct Predict": raw})
    share, cpu = (native[key] - raw[key] for key in ("p50_ms", "cpu_ms"))
    print(f"{"the gateway's share":<32}{share:9.3f}{'':9}{cpu:9.3f}")
    print(f"(target: {TARGETS['native_c1_added_ms'].verdict(share)})\n")
    await _print_parts(calls, min(count, OBSERVED))


async def _print_parts(calls: Calls, count: int) -> None:
    """Each part's own time."""
    spans = Spans(INVOCATION_PARTS)
    spans.start()
    try:
        times = await rows_of(calls, count, 1)
    finally:
        spans.stop()
    found = own_seconds(spans.ended)
    print(f"{'microseconds, observed':<32}{'median':>9}{'p95':>9}")
    for name in INVOCATION_PARTS.values():
        if name not in found:
            raise BenchmarkFailed(f"An invocation no longer passes through the part '{name}': correct INVOCATION_PARTS")
        print(_part(name, found[name]))
    print(_part("direct Predict", times[RAW].seconds))


def _part(name: str, seconds: Sequence[float]) -> str:
    return f"{name:<32}{1e6 * median(seconds):9.1f}{1e6 * sorted(seconds)[int(len(seconds) * 0.95)]:9.1f}"


if __name__ == "__main__":
    sys.exit(main())
