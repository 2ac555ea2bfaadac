"""Calls within this process, compared one at a time: all of them by turns, so that what drifts drifts for all."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.harness.machine import CpuLoad
from benchmarks.harness.noise import RetryBudget, measured, noise_counts

type Call = Callable[[], Awaitable[object]]

# Calls of one kind before the next kind's turn: each finds its own code in the processor's caches, as in production.
IN_A_ROW, ROWS_A_BATCH = 20, 5
WARM_UP_ROWS = 15


@dataclass
class Times:
    """The seconds that each call took, and the processor time of this thread for all of them."""

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0


async def interleaved(calls: Mapping[str, Call], count: int, load: CpuLoad) -> dict[str, dict[str, float]]:
    """Make each call some ``count`` times in batches, of which disturbed ones are repeated (within limits).

    Returns the median, the 99th percentile and the mean processor time of each, in milliseconds, and the numbers of
    calls, of repeated batches, and of those that are noisy all the same.
    """
    in_a_row = min(count, IN_A_ROW)
    rows = min(ROWS_A_BATCH, count // in_a_row)
    batches = max(1, count // (in_a_row * rows))
    await rows_of(calls, min(rows * batches, WARM_UP_ROWS), in_a_row)
    budget = RetryBudget(batches)
    taken = [await measured(lambda: rows_of(calls, rows, in_a_row), load, budget) for _ in range(batches)]
    return {name: {**_summary([one.value[name] for one in taken]), **noise_counts(taken)} for name in calls}


async def rows_of(calls: Mapping[str, Call], rows: int, in_a_row: int) -> dict[str, Times]:
    """So many rows of each call by turns; which one is first changes from turn to turn."""
    times = {name: Times() for name in calls}
    order = list(calls.items())
    for _ in range(rows):
        for name, call in order:
            await call()  # not counted: it follows another kind
            cpu = time.thread_time()
            for _ in range(in_a_row):
                started = time.perf_counter()
                await call()
                times[name].seconds.append(time.perf_counter() - started)
            times[name].cpu += time.thread_time() - cpu
        order.append(order.pop(0))
    return times


def _summary(batches: Sequence[Times]) -> dict[str, float]:
    seconds = sorted(second for one in batches for second in one.seconds)
    count, cpu = len(seconds), sum(one.cpu for one in batches)
    p99 = seconds[count * 99 // 100]
    return {"p50_ms": 1e3 * median(seconds), "p99_ms": 1e3 * p99, "cpu_ms": 1e3 * cpu / count, "calls": count}


def print_table(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print the times of calls that were compared by :func:`interleaved`."""
    print(f"{'milliseconds':<32}{'median':>9}{'p99':>9}{'CPU':>9}")
    for name, row in rows.items():
        print(f"{name:<32}{row['p50_ms']:9.3f}{row['p99_ms']:9.3f}{row['cpu_ms']:9.3f}")
