"""The benchmark of photographs compares two ways to the same tensor; how quick they are is not for tests to say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import photos
from devstack.photos import photo


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return photos.measure(quick=True)


def test_both_ways_lead_to_the_same_tensor() -> None:
    data = photos._enlarged(photo("coffee"), 1200)

    naive, wanted = photos.naive(data), photos.reference(data)

    np.testing.assert_allclose(naive, wanted, atol=1e-5)
    assert np.abs(photos.ours(data) - wanted).mean() * 128 < 1.5


def test_each_file_is_told_with_its_ratio_and_its_memory(measured: dict[str, Any]) -> None:
    for name, row in measured["files"].items():
        assert row["ratio"] == pytest.approx(row["naive_ms"] / row["ours_ms"], abs=0.01), name
        assert row["extra_mb"] >= 0
    baseline = measured["files"]["baseline"]
    assert measured["ratios"]["photo_12mp_vs_naive"] == baseline["ratio"]
    assert measured["ratios"]["photo_12mp_extra_mb"] == baseline["extra_mb"]


def test_each_way_to_shrink_is_told_with_what_it_does_to_labels(measured: dict[str, Any]) -> None:
    rows = {row["way"]: row for row in measured["labels"]}

    assert rows.keys() == photos.WAYS.keys()
    for row in rows.values():
        assert 0 <= row["mean_difference"] <= row["most_difference"] <= 1
        assert row["first_same"] <= row["pictures"]
    finest, coarsest = rows["to no less than twice the size"], rows["to no less than the size"]
    assert finest["mean_difference"] < coarsest["mean_difference"]


def test_the_report_and_the_plot_are_made(measured: dict[str, Any], tmp_path: Path) -> None:
    assert "| progressive |" in photos.report(measured)
    [file] = photos.plot(measured, tmp_path)
    assert "progressive" in file.read_text()
