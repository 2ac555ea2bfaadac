"""Targets are reached from their better side, and missed ones are listed."""

import pytest

from benchmarks.__main__ import added
from benchmarks.runs import merged, spread
from benchmarks.targets import TARGETS, missed, targets_table


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
def test_a_target_is_reached_from_its_better_side(name: str, value: float, verdict: str) -> None:
    assert TARGETS[name].verdict(value) == verdict


def test_missed_targets_are_listed() -> None:
    assert [line.split(":")[0] for line in missed({"fpga_use_c16": 0.5, "overload_goodput": 0.99})] == [
        "- `fpga_use_c16`"
    ]


def test_the_table_has_every_target_and_names_those_that_were_not_measured() -> None:
    lines = targets_table({"fpga_use_c16": 0.5}, {"fpga_use_c16": [0.4, 0.6]}).splitlines()[2:]

    assert [line.split("`")[1] for line in lines] == list(TARGETS)
    assert sum("| local host | 0.500 | 0.400 to 0.600 |" in line for line in lines) == 1
    assert sum("not measured in this run" in line for line in lines) == len(TARGETS) - 1


def test_a_section_that_is_measured_by_itself_says_when_and_where() -> None:
    before = {
        "when": "1",
        "machine": {},
        "ratios": {"fpga_use_c16": 1.0},
        "spread": {},
        "sections": {"overload": {"figure": 1}},
    }
    results = {
        "when": "2",
        "machine": {"cores": "2"},
        "ratios": {"worker_c1_over_empty_ms": 0.1},
        "spread": {"worker_c1_over_empty_ms": [0.1, 0.2]},
        "sections": {"worker": {"figure": 2}},
    }

    assert added(before, results) == {
        "when": "1",
        "machine": {},
        "ratios": {"worker_c1_over_empty_ms": 0.1, "fpga_use_c16": 1.0},
        "spread": {"worker_c1_over_empty_ms": [0.1, 0.2]},
        "sections": {
            "worker": {"figure": 2, "taken": {"when": "2", "machine": {"cores": "2"}}},
            "overload": {"figure": 1},
        },
    }


def test_several_runs_are_one_result_with_the_spread_of_its_ratios() -> None:
    runs = [
        {"ratios": {"a": value}, "rows": [{"p50_ms": value, "requests": 10, "unit": "ms"}], "none": None}
        for value in (3.0, 1.0, 2.0)
    ]

    assert merged(runs) == {
        "ratios": {"a": 2.0},
        "rows": [{"p50_ms": 2.0, "requests": 30, "unit": "ms"}],
        "none": None,
    }
    assert spread([*runs, {"ratios": {"a": 9.0, "b": 1.0}}]) == {"a": [1.0, 9.0]}
