"""The benchmark of the cold start tells every part of it; how long each takes is not for tests to say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import cold
from benchmarks.cold_samples import Round, Start
from benchmarks.cold_spans import PARTS

MOMENTS = {
    "begun": 10.0, "prepared": 11.0, "library": 60.0, "importing": 100.0, "imported": 130.0, "indexed": 132.0,
    "asked": 133.0, "answered": 400.0,
}  # fmt: skip


def start(later: float = 0.0, **more: float) -> Start:
    return Start({**{name: at + later for name, at in MOMENTS.items()}, **more})


def one_round(later: float) -> Round:
    spans = [("import numpy", "MainThread", 134.0, 184.0), ("secret from Key Vault", "vault_0", 200.0, 230.0)]
    warmed = start(warming=133.0, warmed=500.0, asked=501.0, answered=503.0)
    return Round(bare=9.0, plain=start(later), warmed=warmed, probed=Start(MOMENTS, spans), others=0.01)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return cold.measure(quick=True)


def test_fresh_processes_score_and_every_part_of_their_first_request_is_seen(measured: dict[str, Any]) -> None:
    ratios = measured["ratios"]

    assert 0 < ratios["cold_indexed_ms"] < ratios["cold_first_score_ms"]
    assert all(step["milliseconds"] > 0 for step in measured["steps"])
    seen = {part["name"] for part in measured["first_request"]}
    assert seen >= set(PARTS.values()), "a score no longer passes through what PARTS names: correct it"
    assert any(name.startswith("import ") for name in seen)


def test_the_heaviest_imports_are_told_before_and_after_the_index(measured: dict[str, Any]) -> None:
    before, after = measured["imports"]["until_indexed"], measured["imports"]["first_request"]

    assert "azure.functions" in {row["package"] for row in before}
    assert not {"numpy", "PIL", "grpc"} & {row["package"] for row in before}, "these wait for the first request"
    assert "numpy" in {row["package"] for row in after}


def test_the_medians_are_told_with_the_worst() -> None:
    told = cold.summary([one_round(0), one_round(2), one_round(10)])

    assert told["ratios"] == {"cold_indexed_ms": 134.0, "cold_first_score_ms": 402.0}
    assert told["worst"] == {"cold_indexed_ms": 142.0, "cold_first_score_ms": 410.0}
    assert [step["milliseconds"] for step in told["steps"]] == [12.0, 50.0, 40.0, 30.0, 2.0, 268.0]
    assert told["warmed"] == {"indexed_ms": 132.0, "warm_up_ms": 367.0, "first_request_ms": 2.0}
    assert told["first_request"][0] == {"name": "import numpy", "thread": "event loop", "begin": 1.0, "end": 51.0}


def test_the_report_has_a_row_for_every_part(measured: dict[str, Any]) -> None:
    text = cold.report(measured)

    for part in (*measured["steps"], *measured["first_request"]):
        assert f"| {part['name']} |" in text


def test_the_plot_is_the_same_for_the_same_numbers(measured: dict[str, Any], tmp_path: Path) -> None:
    [first], [second] = cold.plot(measured, tmp_path / "one"), cold.plot(measured, tmp_path / "two")

    assert first.read_bytes() == second.read_bytes()
    assert "interpreter" in first.read_text()
