"""Interpretation of the gateway's responses, and retries."""

import json
from datetime import UTC, datetime

import pytest
from scoring_client import responses
from scoring_client.retries import Retries

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        (" 0 ", 0),
        ("Mon, 23 Nov 2026 09:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 08:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 20, None),
    ],
)
def test_retry_after_is_parsed(text: str, expected: float | None) -> None:
    assert responses.seconds(text, NOW) == expected


def test_pauses_double_until_the_time_limit() -> None:
    retries = Retries(20, chance=lambda: 1)

    assert [retries.pause(None) for _ in range(6)] == [0.5, 1, 2, 4, 8, None]


def test_a_random_part_is_added_to_retry_after() -> None:
    assert Retries(100, chance=lambda: 1).pause(5) == 5.5
    assert Retries(100, chance=lambda: 1).pause(50) == 51
    assert Retries(100, chance=lambda: 0).pause(5) == 5
    assert Retries(4, chance=lambda: 0).pause(5) is None


def test_retries_after_lost_connections_are_limited() -> None:
    retries = Retries(100, chance=lambda: 1)

    assert [retries.pause_after_lost_connection() for _ in range(3)] == [0.5, 1, None]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"predictions": []},
        {"predictions": ["x"]},
        {"predictions": [{}, {}]},
        {"predictions": [{"labels": "x"}]},
        {"predictions": [{"labels": ["x"]}]},
        {"predictions": [{"labels": [{"label": 1, "score": 1}]}]},
        {"predictions": [{"labels": [{"label": "x", "score": "1"}]}]},
        {"predictions": [{"labels": [{"label": "x", "score": True}]}]},
    ],
)
def test_a_response_with_invalid_labels_is_refused(body: dict[str, object]) -> None:
    outcome = responses.read(200, {}, json.dumps(body).encode(), responses.labels, with_key=False)

    assert isinstance(outcome, responses.Refused)
    assert outcome.problem.detail == "The response holds no labels."
    assert not outcome.retry


@pytest.mark.parametrize(("status", "title"), [(413, "The photograph is too large"), (500, "status 500")])
def test_a_response_of_the_host_without_a_body_is_explained(status: int, title: str) -> None:
    outcome = responses.read(status, {}, b"", responses.labels, with_key=True)

    assert isinstance(outcome, responses.Refused)
    assert title in outcome.problem.title
