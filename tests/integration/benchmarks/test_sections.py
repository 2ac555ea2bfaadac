"""Each section is measured, in short, and written: results, page and plots. The figures themselves are not tested."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.internals import FIRST_REQUEST_PARTS
from benchmarks.harness.paths import ROOT
from benchmarks.page import draw, write
from benchmarks.photographs.measure import WAYS
from benchmarks.sections import SECTIONS
from benchmarks.targets import TARGETS

TIMEOUT = 170
pytestmark = pytest.mark.timeout(TIMEOUT + 20)
# Those that need no environment of their own; the last one is slow.
SYSTEMS = ("gateway", "direct", "naive")

type Data = Callable[[str], Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Short runs of ``python -m benchmarks``: of a section, when first needed, the folder with the written files."""
    folder = tmp_path_factory.mktemp("bench")

    @cache
    def run(section: str) -> Path:
        systems = SYSTEMS if section == "comparison" else SYSTEMS[:2]
        options = ["--quick", "--only", section, "--out", str(folder / section), "--systems", *systems]
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks", *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return folder / section

    return run


@pytest.fixture
def measured(run: Callable[[str], Path]) -> Data:
    """A section's data in its results."""
    return lambda section: json.loads((run(section) / "benchmarks/results.json").read_bytes())["sections"][section]


# The comparison before a service that takes its time is the same program.
@pytest.mark.parametrize("section", sorted(SECTIONS.keys() - {"comparison-fpga"}))
def test_a_section_is_measured_and_written(run: Callable[[str], Path], section: str, tmp_path: Path) -> None:
    results = json.loads((run(section) / "benchmarks/results.json").read_bytes())
    page = (run(section) / "docs/performance.md").read_text()

    assert list(results["sections"]) == [section]
    assert all(f"| `{name}` |" in page for name in TARGETS)
    assert all(TARGETS[name].written(value) in page for name, value in results["ratios"].items())
    assert "These figures are from a quick check" in page
    assert "processor: " in page
    # The same data gives the same files.
    draw(results, tmp_path)
    drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert drawn == {file.name: file.read_bytes() for file in (run(section) / "docs").glob("performance/*")}
    assert all(f"](performance/{name})" in page for name in drawn)
    assert section in {"worker", "native", "triton"} or len(drawn) == 1


def test_every_native_call_has_its_figures(measured: Data) -> None:
    data = measured("native")

    assert list(data["one"]) == ["native", "raw", "objects", "native_tensor", "by_hand"]
    assert {concurrency: list(rows) for concurrency, rows in data["many"].items()} == {
        "16": ["native", "raw", "objects", "native_tensor", "by_hand"],
        "64": ["native", "raw", "objects"],
    }
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in data["one"].values())


def test_every_system_has_its_figures_for_every_workload(measured: Data) -> None:
    tables = measured("comparison")["tables"]

    assert set(tables) == {"jpeg_20k", "files_8", "null"}
    for workload in ("jpeg_20k", "files_8"):
        for concurrency, rows in tables[workload].items():
            # On a busy machine, a system that is slow by itself is not measured with sixteen at a time.
            assert set(rows) == set(SYSTEMS) if concurrency == "1" else set(rows) >= set(SYSTEMS[:2])
            for row in rows.values():
                assert row["requests"] >= 1
                assert 0 < row["p50_ms"] <= row["p99_ms"]
                assert row["rps"] > 0
                assert row["slices"] >= row["noisy"] >= 0
    # No server is between the client and the service.
    rows = tables["jpeg_20k"]["16"]
    assert rows["direct"]["server_cpu_ms"] == 0 < rows["gateway"]["server_cpu_ms"]


def test_fresh_processes_score_and_their_parts_and_imports_are_observed(measured: Data) -> None:
    data = measured("cold-start")
    ratios = data["ratios"]

    assert 0 < ratios["cold_indexed_ms"] < ratios["cold_first_score_ms"]
    assert all(step["milliseconds"] > 0 for step in data["steps"])
    observed = {part["name"] for part in data["first_request"]}
    assert observed >= set(FIRST_REQUEST_PARTS.values()), "a score no longer passes through these parts: correct them"
    assert any(name.startswith("import ") for name in observed)
    before, after = ({row["package"] for row in data["imports"][when]} for when in ("until_indexed", "first_request"))
    assert "azure.functions" in before
    assert not {"numpy", "PIL", "grpc"} & before, "these wait for the first request"
    assert "numpy" in after


def test_every_request_of_an_overload_and_beside_a_hanging_service_is_counted(measured: Data) -> None:
    data = measured("overload")

    assert data["ratios"]["overload_goodput"] == pytest.approx(data["goodput"] / data["capacity"], abs=0.002)
    for row in (*data["series"], *data["phases"].values()):
        assert row["offered"] == pytest.approx(row["good"] + row["refused"] + row["other"], abs=0.3)
    assert sum(row["good"] for row in data["series"]) > 0
    assert all(sample["rss_mb"] > 10 for sample in data["rss"])
    neighbour = data["hanging_neighbour"]
    assert neighbour["alone"]["good"] > 0
    assert neighbour["beside"]["good"] > 0
    assert neighbour["hanging"]["good"] == 0
    assert [row["scored_after_seconds"] is not None for row in data["disconnects"]] == [True, True]


def test_each_photograph_has_its_ratio_and_its_memory(measured: Data) -> None:
    data = measured("photographs")

    for name, row in data["files"].items():
        assert row["ratio"] == pytest.approx(row["naive_ms"] / row["gateway_ms"], abs=0.01), name
        assert row["extra_mb"] >= 0
    baseline = data["files"]["baseline"]
    assert data["ratios"]["photo_12mp_vs_naive"] == baseline["ratio"]
    assert data["ratios"]["photo_12mp_extra_mb"] == baseline["extra_mb"]


def test_each_way_to_reduce_has_its_effect_on_labels(measured: Data) -> None:
    rows = {row["way"]: row for row in measured("photographs")["labels"]}

    assert rows.keys() == WAYS.keys()
    for row in rows.values():
        assert 0 <= row["mean_difference"] <= row["most_difference"] <= 1
        assert row["first_same"] <= row["pictures"]
    finest, coarsest = rows["to no less than twice the size"], rows["to no less than the size"]
    assert finest["mean_difference"] < coarsest["mean_difference"]


def test_the_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    results = json.loads((ROOT / "benchmarks/results.json").read_bytes())

    write(results, tmp_path / "performance.md")
    draw(results, tmp_path / "plots")

    assert (tmp_path / "performance.md").read_text() == (ROOT / "docs/performance.md").read_text()
    plots = [{file.name for file in folder.iterdir()} for folder in (tmp_path / "plots", ROOT / "docs/performance")]
    assert plots[0] == plots[1]
