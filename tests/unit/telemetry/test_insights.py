"""What Application Insights gets, by the schemas of its endpoint."""

import json

import pytest

from shared.telemetry import insights, metrics
from shared.telemetry.post import retry_after
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.trace import Call, Trace, part_id
from shared.telemetry.tracer import FinishedRequest
from tests.support.insights import KEY, check

SENDER = insights.Sender(KEY, "gate", "one")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_each_point_of_a_snapshot_is_an_item() -> None:
    snapshot = Snapshot(
        {
            "scoring.images": {("cats", "decoded"): 3.0, ("dogs", ""): 1.0},
            "scoring.request.duration": {("cats", "score", "ok"): [0.5, 1.0, *[0.0] * 13, 2.0]},
            "scoring.memory.limit": {(): 100.0},
        },
        at=1_700_000_000_123_456_000,
        since=10,
    )

    items = [json.loads(line) for line in insights.metric_items(snapshot, SENDER)]

    for item in items:
        check(item)
    assert {item["time"] for item in items} == {"2023-11-14T22:13:20.123456Z"}
    assert items[0]["tags"] == {"ai.cloud.role": "gate", "ai.cloud.roleInstance": "one"}
    found = [(data["metrics"][0], data["properties"]) for data in (item["data"]["baseData"] for item in items)]
    about = {"ns": "scoring-gateway"}
    assert found == [
        (
            {"name": metrics.REQUEST_DURATION.about.name, **about, "value": 0.5, "count": 3},
            {"scoring.service": "cats", "scoring.endpoint": "score", "scoring.outcome": "ok"},
        ),
        (
            {"name": "scoring.images", **about, "value": 3, "count": 1},
            {"scoring.service": "cats", "scoring.image.handling": "decoded"},
        ),
        ({"name": "scoring.images", **about, "value": 1, "count": 1}, {"scoring.service": "dogs"}),
        ({"name": "scoring.memory.limit", **about, "value": 100, "count": 1}, {}),
    ]


def test_a_request_its_parts_and_its_calls_are_dependencies_of_one_operation() -> None:
    trace = Trace(TRACE, "b7ad6b7169203331")
    started = trace.started_at
    trace.calls.append(Call("c" * 16, "a.B/C", "UNAVAILABLE", ("host", 8500), started + 1, started + 3661.5))
    about: dict[str, str | int] = {"scoring.service": "cats", "http.response.status_code": 503, "error.type": ""}
    parts = (("decode", started, started + 0.25),)
    request = FinishedRequest(trace, "score", started + 90_000, 503, about, parts)

    items = [json.loads(line) for line in insights.trace_items([request], SENDER)]

    for item in items:
        check(item)
    assert {item["tags"]["ai.operation.id"] for item in items} == {TRACE}
    parents = [item["tags"]["ai.operation.parentId"] for item in items]
    assert parents == ["b7ad6b7169203331", trace.span_id, trace.span_id]
    root, part, call = (item["data"]["baseData"] for item in items)
    assert root == {
        "ver": 2,
        "name": "score",
        "id": trace.span_id,
        "type": "InProc",
        "duration": "1.01:00:00.000000",
        "resultCode": "503",
        "success": False,
        "properties": {"scoring.service": "cats", "http.response.status_code": "503"},
    }
    assert (part["name"], part["id"], part["duration"]) == ("decode", part_id(trace, 0), "0.00:00:00.250000")
    assert (call["type"], call["target"], call["resultCode"]) == ("grpc", "host:8500", "UNAVAILABLE")
    assert (call["duration"], call["success"]) == ("0.01:01:00.500000", False)


def test_a_request_without_a_parent_names_none() -> None:
    trace = Trace(TRACE, "")
    request = FinishedRequest(trace, "score", trace.started_at, 200, {}, ())

    [item] = [json.loads(line) for line in insights.trace_items([request], SENDER)]

    assert "ai.operation.parentId" not in item["tags"]


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("", 0, 0),
        ("30", 30, 30),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 1e9, 3e9),
        ("9" * 400, 1e8, 1e9),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, low: float, high: float) -> None:
    assert low <= retry_after(value) <= high
