"""Answers over HTTP: problem documents, their headers, and faults of our own."""

import json
import logging

import azure.functions as func
import pytest

from functions.answers import answered, json_answer, problem_answer
from shared.errors import Misconfigured, UnknownService, VaultThrottled


def headers(response: func.HttpResponse) -> dict[str, str]:
    return dict(response.headers)


def test_an_answer_is_json_that_nobody_keeps_or_guesses_at() -> None:
    response = json_answer({"label": "été"}, headers={"Server-Timing": "x"})

    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.get_body() == '{"label":"été"}'.encode()
    assert headers(response) == {
        "content-type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Expose-Headers": "Server-Timing, Retry-After",
        "Server-Timing": "x",
    }


def test_a_lone_surrogate_in_a_name_does_not_break_the_answer() -> None:
    assert json.loads(json_answer({"file": "\ud83d.jpg"}).get_body()) == {"file": "\N{REPLACEMENT CHARACTER}.jpg"}


def test_a_problem_document_tells_cause_and_remedy() -> None:
    response = problem_answer(Misconfigured("SERVICES lists no service.", settings=["SERVICES"]), "an-id")

    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    assert json.loads(response.get_body()) == {
        "type": "urn:problem-type:scoring-gateway:misconfigured",
        "title": "The gateway's settings are wrong",
        "status": 500,
        "detail": "SERVICES lists no service.",
        "remedy": "Correct the app settings that the detail names, and restart the function app.",
        "settings": ["SERVICES"],
        "request_id": "an-id",
    }


def test_when_to_come_back_is_said_in_whole_seconds() -> None:
    assert headers(problem_answer(VaultThrottled("x", retry_after=0.2), "id"))["Retry-After"] == "1"
    assert headers(problem_answer(VaultThrottled("x", retry_after=6.5), "id"))["Retry-After"] == "7"
    assert "Retry-After" not in headers(problem_answer(UnknownService("x"), "id"))


async def test_an_error_of_the_senders_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> func.HttpResponse:
        raise UnknownService("There is no 'x'.")

    assert (await answered("an-id", work, name="score")).status_code == 404
    assert not caplog.records


async def test_an_error_behind_the_gateway_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> func.HttpResponse:
        raise Misconfigured("SERVICES lists no service.")

    await answered("an-id", work, name="score")

    assert caplog.messages == ["score an-id: misconfigured SERVICES lists no service."]


async def test_a_fault_of_our_own_is_a_problem_too_and_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> func.HttpResponse:
        raise KeyError("a secret")

    response = await answered("an-id", work, name="score")

    assert response.status_code == 500
    assert json.loads(response.get_body())["type"].endswith(":internal-error")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    assert record.getMessage().startswith("score an-id: internal-error KeyError at test_answers.py:")
    assert b"secret" not in response.get_body()
    assert "secret" not in caplog.text
