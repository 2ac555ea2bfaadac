"""The comparison's arithmetic: ratios, faster systems, and slices that are repeated after errors."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchmarks.comparison.measure import ratios
from benchmarks.comparison.report import report
from benchmarks.comparison.runner import add_slice
from benchmarks.harness.errors import BadAnswer
from benchmarks.harness.noise import Measured
from benchmarks.harness.slices import Samples, Slice


def table(**figures: tuple[float, float]) -> dict[str, Any]:
    """Systems with their requests a second and median times."""
    rows = {
        name: {"rps": rps, "p50_ms": p50, "p99_ms": p50, "server_cpu_ms": 1.0} for name, (rps, p50) in figures.items()
    }
    return {"1": rows, "16": rows}


def test_ratios_are_the_gateway_s_figure_over_the_other_s() -> None:
    tables = {"jpeg_20k": table(gateway=(2000, 0.5), envoy=(1000, 1.0), fastapi=(1600, 0.8))}
    tables["files_8"] = table(gateway=(400, 2.2), fastapi=(400, 2.0))

    assert ratios(tables, 0) == {
        "http_c1_p50_vs_envoy": 0.5,
        "http_c1_files_vs_fastapi": pytest.approx(1.1),
        "http_c16_rps_vs_envoy": 2.0,
        "http_c16_rps_vs_fastapi": 1.25,
    }


def test_with_a_latency_the_ratio_is_the_share_of_the_service_s_capacity() -> None:
    tables = {"jpeg_20k": table(gateway=(550, 29), direct=(555, 28.8))}

    assert ratios(tables, 1.8) == {"fpga_use_c16": pytest.approx(550 / 555)}


def test_the_report_lists_systems_that_are_faster_by_more_than_noise() -> None:
    tables = {"jpeg_20k": table(gateway=(1000, 1.0), envoy=(1010, 0.99), fastapi=(1500, 0.8), direct=(9000, 0.1))}

    text = report({"latency_ms": 0.0, "tables": tables})

    assert "FastAPI + grpc.aio: 50% more requests a second, 20% sooner" in text
    assert "Envoy, JSON to gRPC: " not in text
    assert "(the floor): " not in text


def failing(times: int) -> Callable[[], Awaitable[Measured[Slice]]]:
    """A slice that ends so many times with an error."""
    left = [times]

    async def take() -> Measured[Slice]:
        if left[0]:
            left[0] -= 1
            raise BadAnswer("an error")
        return Measured(Slice(0.0, 2.0, [1.0, 1.0], server_cpu=0.1), 0.0)

    return take


async def test_a_failed_slice_is_repeated_and_counted() -> None:
    samples = Samples()

    await add_slice(samples, failing(2), restarts=2)

    assert len(samples.taken) == 1
    assert samples.summary()["failed"] == 2


@pytest.mark.parametrize(("errors", "restarts"), [(3, 2), (1, 0)], ids=["a peer's last", "the gateway's first"])
async def test_further_errors_end_the_run(errors: int, restarts: int) -> None:
    with pytest.raises(BadAnswer):
        await add_slice(Samples(), failing(errors), restarts=restarts)
