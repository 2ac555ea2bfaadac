"""The lines of requests that failed or were slow."""

import json
import logging
import time

import pytest

from shared.telemetry import RequestContext, record, request_log
from shared.telemetry.request_log import LINES, SECONDS, RepeatedLines

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log.write, "__defaults__", (RepeatedLines(),))


def ended(status: int, *, slow: float = 0, problem: str = "", level: int = 0, detail: str = "") -> None:
    request = record.begin("score", "id-1")
    request.served_by("cats", RequestContext("id-1", time.monotonic() + 1, TRACE), record.Policy(1, slow))
    if problem:
        record.current().failed(problem, detail, level)
    record.end(request, status, scores=True)


def test_a_failed_request_has_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    ended(503, problem="overloaded", level=logging.WARNING, detail='Images: 3\n"x" é')

    [line] = caplog.messages
    document = json.loads(line)
    assert document.pop("milliseconds").keys() == {"total", "decode", "credentials", "wait", "predict"}
    assert document == {
        "event": "request-failed",
        "problem": "overloaded",
        "detail": 'Images: 3\n"x" é',
        "endpoint": "score",
        "request_id": "id-1",
        "trace_id": TRACE[3:35],
        "service": "cats",
        "status": 503,
    }


def test_a_long_detail_is_cut_and_the_line_is_still_json(caplog: pytest.LogCaptureFixture) -> None:
    ended(500, problem="internal-error", level=logging.ERROR, detail="x" * 9000)

    assert json.loads(caplog.messages[0])["detail"] == "x" * 1000
    assert caplog.records[0].levelno == logging.ERROR


def test_a_request_that_is_fast_or_the_clients_fault_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ended(200)
    ended(200, slow=60)
    ended(422, problem="damaged-image")

    assert caplog.messages == []


def test_a_slow_request_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    ended(200, slow=1e-9)

    assert json.loads(caplog.messages[0])["event"] == "request-slow"


def test_repeated_lines_are_counted() -> None:
    lines, kind = RepeatedLines(), ("score", "cats", "overloaded")

    assert [lines.admit(kind, now / 10) for now in range(LINES + 3)] == [0] * LINES + [None] * 3
    assert lines.admit(("score", "dogs", "overloaded"), 1) == 0
    assert [lines.admit(kind, SECONDS + now) for now in range(2)] == [3, 0]


def test_what_was_not_logged_is_in_the_next_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    for _ in range(LINES + 5):
        ended(503, problem="overloaded", level=logging.WARNING)
    assert len(caplog.messages) == LINES
    monkeypatch.setattr(request_log.time, "monotonic", lambda: now + SECONDS + 1)  # type: ignore[attr-defined]
    ended(503, problem="overloaded", level=logging.WARNING)

    assert json.loads(caplog.messages[-1])["not_logged"] == 5


def test_a_level_that_is_off_writes_and_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="scoring_gateway")
    for _ in range(LINES + 1):
        ended(503, problem="overloaded", level=logging.WARNING)
    caplog.set_level("WARNING", logger="scoring_gateway")
    ended(503, problem="overloaded", level=logging.WARNING)

    assert "not_logged" not in json.loads(caplog.messages[-1])
