"""The command-line client and a server that is busy, broken, strange, or not there; over real HTTP."""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scoring_client import answers
from scoring_client.__main__ import main
from scoring_client.waiting import Waiting

from tests.clients.conftest import Answer, Request, Server, problem, scored


@pytest.fixture
def image(tmp_path: Path) -> str:
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"a cat")
    return str(file)


def failure(image: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Score one image, which fails; what is said of it."""
    assert main([*options, image]) == 1
    told, summary = capsys.readouterr().err.splitlines()
    assert summary == "scoring-client: 0 scored, 1 failed"
    return told.removeprefix(f"{image}: ")


def test_what_is_sent(server: Server, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", "the-key")

    assert main(["--service", "my cats", "--top", "3", "--threshold", "0.5", "--timeout", "7", image]) == 0

    (request,) = server.requests
    assert request.path == "/api/services/my%20cats/score?top=3&threshold=0.5"
    assert request.body == b"a cat"
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["content-length"] == "5"
    assert request.headers["x-functions-key"] == "the-key"
    assert request.headers["request-timeout-ms"] == "7000"


def test_without_options_the_gateways_defaults_hold(server: Server, image: str) -> None:
    assert main([image]) == 0

    assert server.requests[0].path == "/api/score"
    assert "x-functions-key" not in server.requests[0].headers


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_gateway_is_asked_again(server: Server, image: str, status: int) -> None:
    server.script = [problem(status, "Busy", Retry_After="0"), problem(status, "Busy", Retry_After="0")]

    assert main([image]) == 0

    assert server.bodies == [b"a cat"] * 3


def test_it_is_not_asked_before_the_time_that_it_names(server: Server, image: str) -> None:
    times: list[float] = []

    def answer(_request: Request) -> Answer:
        times.append(datetime.now(UTC).timestamp())
        return problem(503, "Busy", Retry_After="1") if len(times) == 1 else scored()

    server.answer = answer

    assert main([image]) == 0

    assert times[1] - times[0] >= 1


def test_a_wait_that_is_too_long_is_not_begun(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.script = [problem(503, "The inference service is overloaded", "No room.", Retry_After="3600")]

    assert failure(image, capsys) == "The inference service is overloaded: No room. Do better."
    assert len(server.requests) == 1


def test_a_gateway_that_stays_busy_is_given_up(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = lambda _request: problem(503, "Busy")

    assert failure(image, capsys, "--max-wait", "0.6") == "Busy. Do better."
    assert len(server.requests) > 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (problem(422, "The image is damaged", "It ends early."), "The image is damaged: It ends early. Do better."),
        (problem(500, "The gateway failed"), "The gateway failed. Do better."),
        (Answer(500), "The gateway answered with status 500."),
        (Answer(502, b"<html>Bad Gateway</html>"), "The gateway answered with status 502."),
        (Answer(400, b"[1, 2]"), "The gateway answered with status 400."),
        (Answer(413, json.dumps({"title": 7}).encode()), "The gateway answered with status 413."),
        (
            Answer(200, b"<html>Welcome</html>"),
            (
                "The answer is not a scoring gateway's: The answer holds no labels. "
                "Check that the URL is that of a scoring gateway."
            ),
        ),
        (
            Answer(302, b"", {"Location": "https://login.example.com/"}),
            (
                "The answer is not a scoring gateway's: The answer is a redirection to 'https://login.example.com/'. "
                "Check that the URL is that of a scoring gateway."
            ),
        ),
        (
            problem(422, "Bad \x1b[31mcolours\x07", "and\nlines"),
            (
                "Bad \N{REPLACEMENT CHARACTER}[31mcolours\N{REPLACEMENT CHARACTER}: and\N{REPLACEMENT CHARACTER}lines "
                "Do better."
            ),
        ),
    ],
)
def test_failures_are_told_in_one_line_and_are_final(
    server: Server, image: str, capsys: pytest.CaptureFixture[str], answer: Answer, told: str
) -> None:
    server.script = [answer]

    assert failure(image, capsys) == told
    assert len(server.requests) == 1


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
def test_labels_that_are_none(
    server: Server, image: str, capsys: pytest.CaptureFixture[str], body: dict[str, object]
) -> None:
    server.script = [Answer(200, json.dumps(body).encode())]

    assert "The answer holds no labels." in failure(image, capsys)


def test_a_connection_that_breaks_is_tried_three_times(
    server: Server, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = lambda _request: Answer(cut=True)

    assert failure(image, capsys) == (
        "The connection to the gateway broke: It broke each time that the image was sent."
    )
    assert len(server.requests) == 3


def test_a_connection_that_breaks_once_is_made_anew(server: Server, image: str) -> None:
    server.script = [Answer(cut=True)]

    assert main([image]) == 0


def test_one_bad_image_among_good_ones(server: Server, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = lambda request: problem(422, "Bad") if request.body == b"b.jpg" else scored()

    assert main(["--output", "jsonl", "--top", "1", str(photos)]) == 1

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["a.PNG", "b.jpg", "e.webp", "d.heic"]
    assert ["error" in line for line in lines] == [False, True, False, False]


# What ends the run.


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(
    server: Server, photos: Path, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _request: Answer(status)

    assert main([str(photos)]) == 3
    assert "asks for a key: set SCORING_KEY" in capsys.readouterr().err
    monkeypatch.setenv("SCORING_KEY", "the-secret")
    assert main([str(photos)]) == 3
    err = capsys.readouterr().err
    assert "refuses the key" in err
    assert "the-secret" not in err


def test_another_server(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = lambda _request: Answer(404, b"<html>Not found</html>")

    assert main([image]) == 3
    assert capsys.readouterr().err.startswith("scoring-client: no scoring gateway answers at the URL (404)")


def test_nothing_at_the_address(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    assert main(["--url", url, image]) == 3
    assert capsys.readouterr().err == (
        f"scoring-client: no gateway answers at {url}: check --url or SCORING_URL, and that the gateway runs\n"
    )


def test_tls_where_there_is_none(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", server.url.replace("http:", "https:"), image]) == 3
    assert "does not speak TLS: use http://" in capsys.readouterr().err


def test_a_gateway_that_goes_away_ends_the_run_and_keeps_what_is_done(
    server: Server, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"

    def answer(_request: Request) -> Answer:
        if len(server.requests) == 2:
            server.refuse()
        return scored()

    server.answer = answer

    code = main(["--concurrency", "1", "--max-wait", "0.6", "--out", str(output), str(photos)])

    assert code == 3
    assert len(output.read_text().splitlines()) == 2
    summary, cause = capsys.readouterr().err.splitlines()
    assert summary == "scoring-client: 2 scored, and then:"
    assert cause.startswith("scoring-client: no gateway answers at")


# The decisions alone.


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
def test_what_retry_after_says(text: str, expected: float | None) -> None:
    assert answers.seconds(text, NOW) == expected


def test_pauses_grow_and_end() -> None:
    waiting = Waiting(20, chance=lambda: 1)

    assert [waiting.pause(None) for _ in range(6)] == [0.5, 1, 2, 4, 8, None]


def test_what_the_gateway_names_is_kept_with_a_little_more() -> None:
    assert Waiting(100, chance=lambda: 1).pause(5) == 5.5
    assert Waiting(100, chance=lambda: 1).pause(50) == 51
    assert Waiting(100, chance=lambda: 0).pause(5) == 5
    assert Waiting(4, chance=lambda: 0).pause(5) is None


def test_broken_connections_are_counted() -> None:
    waiting = Waiting(100, chance=lambda: 1)

    assert [waiting.pause_after_break() for _ in range(3)] == [0.5, 1, None]
