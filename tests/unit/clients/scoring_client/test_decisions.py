"""Interpretation of the gateway's responses, and retries."""

import json
from datetime import UTC, datetime

import pytest
from scoring_client import output, responses
from scoring_client.results import Output, Placement, Scored
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


OUTPUT = {"name": "boxes", "datatype": "FP32", "shape": [1, 2, 4], "data": [80.0, 16.0, 96.0, 32.0, None, 0, 0, 0]}
PLACEMENT = {
    "width": 400,
    "height": 300,
    "orientation": 6,
    "input_width": 160,
    "input_height": 160,
    "scale_x": 0.4,
    "scale_y": 0.4,
    "pad_left": 0.0,
    "pad_top": 20.0,
}


def test_outputs_are_typed_and_their_points_are_points_of_the_image() -> None:
    prediction = {"labels": [], "outputs": [OUTPUT], "placement": PLACEMENT, "model_version": "3"}
    outcome = responses.read(
        200, {}, json.dumps({"predictions": [prediction]}).encode(), responses.labels, with_key=False
    )

    assert not isinstance(outcome, responses.Refused)
    result = Scored("cat.jpg", outcome)
    assert result.outputs == [Output("boxes", "FP32", (1, 2, 4), OUTPUT["data"])]  # type: ignore[arg-type]
    assert result.placement == Placement(**PLACEMENT)  # type: ignore[arg-type]
    assert result.placement.in_image(80, 36) == (200, 40)
    written: list[str] = []
    output.Table(written.append).write(result)
    assert "".join(written).splitlines()[1:] == ["      -  boxes FP32 [1,2,4]: 80, 16, 96, 32, ...  cat.jpg"]
    assert result.record["placement"] == PLACEMENT


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": {}},
        {"outputs": [{**OUTPUT, "shape": ["1"]}]},
        {"outputs": [{**OUTPUT, "data": 7}]},
        {"outputs": [{**OUTPUT, "name": None}]},
        {"placement": {**PLACEMENT, "scale_x": 0}},
        {"placement": {"width": 4}},
        {"scores": 7},
    ],
)
def test_outputs_of_another_form_are_refused(wrong: dict[str, object]) -> None:
    body = {"predictions": [{"labels": [], **wrong}]}

    assert isinstance(
        responses.read(200, {}, json.dumps(body).encode(), responses.labels, with_key=False), responses.Refused
    )


@pytest.mark.parametrize(("status", "title"), [(413, "The photograph is too large"), (500, "status 500")])
def test_a_response_of_the_host_without_a_body_is_explained(status: int, title: str) -> None:
    outcome = responses.read(status, {}, b"", responses.labels, with_key=True)

    assert isinstance(outcome, responses.Refused)
    assert title in outcome.problem.title
