"""`make bench` in small: it measures, writes its results and the page; how quick things are is not for tests to say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bars
from benchmarks.http_load import BadAnswer, HttpLoad, post
from benchmarks.launch import free_port
from benchmarks.side_by_side import ratios
from benchmarks.side_by_side_report import section
from tests.conftest import ROOT

PATIENCE = 110


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick run's folder; with the contestants that need no environment of their own."""
    folder = tmp_path_factory.mktemp("bench")
    # The plots are left out where matplotlib cannot be imported, which is said on stderr.
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--quick", "--out", str(folder), "--only", "http"),
            *("--peers", "gateway", "direct", "naive"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


def results(folder: Path) -> Any:
    return json.loads((folder / "benchmarks/results.json").read_bytes())


def test_every_contestant_has_its_figures_for_every_work(written: Path) -> None:
    tables = results(written)["sections"]["http"]["tables"]

    assert set(tables) == {"jpeg_20k", "files_8", "null"}
    for work in ("jpeg_20k", "files_8"):
        for rows in tables[work].values():
            assert set(rows) == {"gateway", "direct", "naive"}
            for row in rows.values():
                assert row["requests"] >= 1
                assert 0 < row["p50_ms"] <= row["p99_ms"]
                assert row["rps"] > 0
                assert row["slices"] >= row["noisy"] >= 0


def test_the_server_s_processor_time_is_told_of_servers_alone(written: Path) -> None:
    rows = results(written)["sections"]["http"]["tables"]["jpeg_20k"]["16"]

    assert rows["gateway"]["server_cpu_ms"] > 0
    assert rows["direct"]["server_cpu_ms"] == 0


def test_the_page_tells_targets_machine_and_tables(written: Path) -> None:
    page = (written / "docs/performance.md").read_text()

    assert all(f"| `{name}` |" in page for name in bars.BARS)
    assert "This was a quick look" in page
    assert "processor: " in page
    assert page.count("| **the gateway** |") == 3
    assert "Where the gateway is behind" in page or "No server among them" in page


def table(**figures: tuple[float, float]) -> dict[str, Any]:
    """Contestants with their requests a second and median times."""
    rows = {
        name: {"rps": rps, "p50_ms": p50, "p99_ms": p50, "server_cpu_ms": 1.0} for name, (rps, p50) in figures.items()
    }
    return {"1": rows, "16": rows}


def test_ratios_are_the_gateway_s_figure_over_the_other_s() -> None:
    tables = {"jpeg_20k": table(gateway=(2000, 0.5), envoy=(1000, 1.0), fastapi=(1600, 0.8))}

    told = ratios(tables, 0)

    assert told == {
        "http_c1_p50_vs_envoy": 0.5,
        "http_c16_rps_vs_envoy": 2.0,
        "http_c16_rps_vs_fastapi": 1.25,
    }


def test_with_a_slow_service_the_ratio_is_the_share_of_its_capacity() -> None:
    tables = {"jpeg_20k": table(gateway=(550, 29), direct=(555, 28.8))}

    assert ratios(tables, 1.8) == {"fpga_use_c16": pytest.approx(550 / 555)}


def test_the_page_says_where_the_gateway_is_behind_by_more_than_noise() -> None:
    tables = {"jpeg_20k": table(gateway=(1000, 1.0), envoy=(1010, 0.99), fastapi=(1500, 0.8), direct=(9000, 0.1))}

    told = section({"latency_ms": 0.0, "tables": tables})

    assert "FastAPI + grpc.aio: 50% more requests a second, 20% sooner" in told
    assert "Envoy, JSON to gRPC: " not in told
    assert "(the floor): " not in told


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("native_c1_added_ms", 0.1, "✓ aim"),
        ("native_c1_added_ms", 0.15, "✓ must, 50% short of the aim"),
        ("native_c1_added_ms", 0.3, "✗ 50% short of the must"),
        ("http_c16_rps_vs_envoy", 2.4, "✓ aim"),
        ("http_c16_rps_vs_envoy", 0.9, "✗ 50% short of the must"),
        ("fpga_use_c16", 0.991, "✓ must, 0.4% short of the aim"),
    ],
)
def test_a_bar_is_reached_from_its_better_side(name: str, value: float, verdict: str) -> None:
    assert bars.BARS[name].verdict(value) == verdict


def test_what_missed_its_bar_is_listed() -> None:
    lost = bars.missed({"fpga_use_c16": 0.5, "overload_goodput": 0.99})

    assert [line.split(":")[0] for line in lost] == ["- `fpga_use_c16`"]


@pytest.fixture
def null_server() -> Any:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.launch", "--processors", "0", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--", sys.executable, "-m", "benchmarks.null_server", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == f"ready http://127.0.0.1:{port}\n"
    yield port
    process.terminate()
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


def test_the_load_client_waits_for_all_that_is_under_way(null_server: int) -> None:
    with HttpLoad(null_server, post("/", "image/jpeg", b"x" * 3_000_000), 3) as load:
        body = load.first()
        taken = load.run(0, least=5)

    assert json.loads(body) == {"predictions": [{"labels": []}]}
    assert len(taken.done) == 15
    assert all(each.took > 0 for each in taken.done)


def test_an_answer_that_is_none_is_not_counted(null_server: int) -> None:
    with HttpLoad(null_server, post("/", "image/jpeg", b"x"), 1) as load:
        [connection] = load._open.values()
        connection.close()  # as if the server had gone

        with pytest.raises(BadAnswer, match="closed the connection"):
            load.run(0)
