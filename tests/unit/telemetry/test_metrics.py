"""Instruments, snapshots, Prometheus' text, and the figures of several workers."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.telemetry import metrics, prometheus
from shared.telemetry.instruments import SECONDS, About, Counter, Gauge, Histogram, mean
from shared.telemetry.snapshot import Snapshot, combined, counts, difference, from_json, take, to_json
from shared.telemetry.workers import Workers

SCORED = ("cats", "score", "ok")


def snapshot(scored: list[float], images: int, limit: float, at: int = 5) -> Snapshot:
    """A worker's figures: times of requests, a count and a gauge."""
    duration = Histogram(metrics.REQUEST_DURATION.about, metrics.REQUEST_DURATION.bounds)
    for seconds in scored:
        duration.record(SCORED, seconds)
    return Snapshot(
        {
            "scoring.request.duration": duration.read(),
            "scoring.images": {("cats", "decoded"): float(images)},
            "scoring.admission.limit": {("cats",): limit},
        },
        at=at,
        since=1,
    )


def families(found: Snapshot) -> dict[str, dict[str, float]]:
    """What Prometheus reads: the families' samples, by name and labels."""
    return {
        family.name: {f"{one.name}{sorted(one.labels.items())}": one.value for one in family.samples}
        for family in text_string_to_metric_families(prometheus.text(found))
    }


def test_a_histogram_counts_as_its_bounds_say() -> None:
    histogram = Histogram(About("x", "s", "X."))
    values = [0.0, 0.005, math.nextafter(0.005, 1), 10.0, 10.1, *(step * 0.0601 for step in range(200))]
    for value in values:
        histogram.record((), value)

    [total, *buckets] = histogram.points[()]

    assert total == pytest.approx(sum(values))
    edges = [-math.inf, *SECONDS, math.inf]
    assert buckets == [sum(low < one <= high for one in values) for low, high in pairwise(edges)]


def test_names_units_and_attributes_are_as_opentelemetry_has_them() -> None:
    names = [one.about.name for one in metrics.INSTRUMENTS]
    assert len(set(names)) == len(names) == len(metrics.BY_NAME)
    for one in metrics.INSTRUMENTS:
        about = one.about
        assert about.name == about.name.lower()
        assert about.name.startswith(("scoring.", "rpc.client."))
        assert about.unit in {"s", "By", "1"} or (about.unit[0], about.unit[-1]) == ("{", "}")
        assert about.description.endswith(".")
    assert metrics.CALL_DURATION.about.name == "rpc.client.call.duration"


def test_a_snapshot_is_a_copy_with_what_gauges_observe() -> None:
    metrics.IMAGES.add(("a-service", "decoded"))
    metrics.REQUEST_DURATION.record(("a-service", "score", "ok"), 0.1)
    end = metrics.observe(lambda: [(metrics.MEMORY_LIMIT, (), 7.0)])
    before = take()
    end()
    metrics.IMAGES.add(("a-service", "decoded"), 2)
    metrics.REQUEST_DURATION.record(("a-service", "score", "ok"), 0.1)
    after = take()

    key = ("a-service", "decoded")
    assert after.points["scoring.images"][key] == before.points["scoring.images"][key] + 2  # type: ignore[operator]
    assert before.of(metrics.MEMORY_LIMIT) == {(): 7.0}
    assert after.of(metrics.MEMORY_LIMIT) == {}
    changed = difference(after, before)
    assert changed.points["scoring.images"] == {key: 2.0}
    [point] = changed.points["scoring.request.duration"].values()
    assert isinstance(point, list)
    assert point[0] == pytest.approx(0.1)
    assert (sum(point[1:]), changed.since) == (1, before.at)
    assert from_json(to_json(after)) == after


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"at": 1, "since": 1, "points": {"x": []}}', '{"points": 3}'])
def test_another_text_is_no_snapshot(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


def test_several_workers_figures_are_one() -> None:
    both = combined([snapshot([0.01, 0.3], 3, 64), snapshot([0.01], 4, 10, at=9)])

    assert both.points["scoring.images"] == {("cats", "decoded"): 7}
    assert both.points["scoring.admission.limit"] == {("cats",): 74}
    [point] = both.points["scoring.request.duration"].values()
    assert isinstance(point, list)
    assert point[0] == pytest.approx(0.32)
    assert (sum(point[1:]), point[2], both.at) == (3, 2, 9)
    assert "scoring.admission.limit" not in counts(both).points
    assert Gauge(About("x", "s", "X."), mean).combine([1.0, 3.0]) == 2


def test_prometheus_reads_the_text() -> None:
    found = families(snapshot([0.004, 0.3, 11], 3, 64.5))

    assert found["scoring_images"] == {
        "scoring_images_total[('scoring_image_handling', 'decoded'), ('scoring_service', 'cats')]": 3
    }
    assert found["scoring_admission_limit"] == {"scoring_admission_limit[('scoring_service', 'cats')]": 64.5}
    labels = "('scoring_endpoint', 'score'), ('scoring_outcome', 'ok'), ('scoring_service', 'cats')]"
    duration = found["scoring_request_duration_seconds"]
    assert duration[f"scoring_request_duration_seconds_count[{labels}"] == 3
    assert duration[f"scoring_request_duration_seconds_sum[{labels}"] == pytest.approx(11.304)
    buckets = {bound: value for name, value in duration.items() for bound in [name.split("'le', '")[-1].split("'")[0]]}
    assert (buckets["0.005"], buckets["0.5"], buckets["10"], buckets["+Inf"]) == (1, 2, 2, 3)


def test_text_that_would_break_a_line_is_escaped() -> None:
    counted = Snapshot({"scoring.images": {('a"b\\c\nd', ""): 1.0}}, 1)

    assert families(counted)["scoring_images"] == {"scoring_images_total[('scoring_service', 'a\"b\\\\c\\nd')]": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "instance" / "workers"


@pytest.fixture
def workers(folder: Path) -> Iterator[list[Workers]]:
    """Three of one instance; the locks are per open file, so that they stand for processes."""
    made = [Workers(folder) for _ in range(3)]
    yield made
    for one in made:
        one.close()


def images(found: Snapshot) -> object:
    return found.points["scoring.images"][("cats", "decoded")]


def test_a_scrape_has_the_figures_of_all_workers(workers: list[Workers], folder: Path) -> None:
    """Of one that ended, however it did, its counts once and for all, and not its gauges."""
    one, two, three = workers
    two.write(snapshot([0.1], 10, 64))
    three.write(snapshot([0.1], 100, 64))
    own = snapshot([0.1], 1, 64)

    assert (images(one.all(own)), one.all(own).points["scoring.admission.limit"]) == (111, {("cats",): 192})

    two.write(snapshot([0.1, 0.1], 20, 64))
    assert images(one.all(own)) == 121
    two.close()
    for _ in range(3):
        assert (images(one.all(own)), one.all(own).points["scoring.admission.limit"]) == (121, {("cats",): 128})
    # Another worker sees the same, and a new one does.
    assert images(three.all(snapshot([0.1], 100, 64))) == 120
    three.close()
    one.write(own)
    fresh = Workers(folder)
    assert images(fresh.all(snapshot([], 0, 64))) == 121
    fresh.close()
    assert len(list(folder.glob("*.json"))) == 2  # of the first worker, and of all that ended


def test_an_ended_worker_whose_files_remained_is_counted_once(workers: list[Workers], folder: Path) -> None:
    """The process that added it may have ended before it removed them."""
    one, two, _ = workers
    two.write(snapshot([], 10, 64))
    kept = {file: file.read_bytes() for file in folder.iterdir()}
    two.close()
    assert images(one.all(snapshot([], 1, 64))) == 11
    for file, content in kept.items():
        if not file.exists():
            file.write_bytes(content)

    assert [images(one.all(snapshot([], 1, 64))) for _ in range(2)] == [11, 11]


def test_damaged_files_and_folders_cost_only_the_others_figures(
    workers: list[Workers], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three = workers
    two.write(snapshot([], 10, 64))
    three.write(snapshot([], 100, 64))
    for file in folder.glob("*.json"):
        file.write_text("{", encoding="utf-8")
    (folder / "ended.json").write_text("[3]", encoding="utf-8")
    own = snapshot([], 1, 64)

    assert images(one.all(own)) == 1
    folder.parent.chmod(0o755)  # somebody else could read it
    strange = Workers(folder)
    strange.write(own)
    assert strange.all(own) is own
    assert "cannot be shared" in caplog.text
    assert Counter(About("x", "1", "X.")).read() == {}
