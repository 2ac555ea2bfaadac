"""The command with gateways that are busy, fail, are other servers or do not exist, over real HTTP."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from scoring_client.__main__ import main

from tests.support.clients.gateway_server import Request, Response, Server, problem, scored
from tests.support.devstack.processes import unused_port

NOT_A_GATEWAY = "The response is not a scoring gateway's: {} Check that the URL is that of a scoring gateway."


def failure(image: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The message for an image that cannot be scored."""
    assert main([*options, image]) == 1
    message, summary = capsys.readouterr().err.splitlines()
    assert summary == "scoring-client: 0 scored, 1 failed"
    return message.removeprefix(f"{image}: ")


def test_the_request_has_the_options_and_the_key(server: Server, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", "the-key")

    assert (
        main(
            ["--service", "my cats", "--top", "3", "--threshold", "0.5", "--timeout", "7", "--traffic-key", "me", image]
        )
        == 0
    )

    (request,) = server.requests
    assert request.path == "/api/services/my%20cats/score?top=3&threshold=0.5"
    assert request.body == b"a cat"
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["content-length"] == "5"
    assert request.headers["x-functions-key"] == "the-key"
    assert request.headers["request-timeout-ms"] == "7000"
    assert request.headers["traffic-key"] == "me"


def test_without_options_the_gateways_defaults_apply(server: Server, image: str) -> None:
    assert main([image]) == 0

    assert server.requests[0].path == "/api/score"
    assert not {"x-functions-key", "traffic-key"} & set(server.requests[0].headers)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_gateway_is_retried(server: Server, image: str, status: int) -> None:
    server.script = [problem(status, "Busy", Retry_After="0"), problem(status, "Busy", Retry_After="0")]

    assert main([image]) == 0

    assert server.bodies == [b"a cat"] * 3


def test_a_retry_waits_for_the_time_in_retry_after(server: Server, image: str) -> None:
    times: list[float] = []

    def respond(_request: Request) -> Response:
        times.append(time.monotonic())
        return problem(503, "Busy", Retry_After="1") if len(times) == 1 else scored()

    server.respond = respond

    assert main([image]) == 0

    assert times[1] - times[0] >= 1


def test_a_retry_after_beyond_the_limit_ends_the_retries(
    server: Server, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = [problem(503, "The inference service is overloaded", "No room.", Retry_After="3600")]

    assert failure(image, capsys) == "The inference service is overloaded: No room. Do better."
    assert len(server.requests) == 1


def test_retries_of_a_busy_gateway_end_at_the_limit(
    server: Server, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda _request: problem(503, "Busy")

    assert failure(image, capsys, "--max-wait", "0.6") == "Busy. Do better."
    assert len(server.requests) > 1


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (problem(422, "The image is damaged", "It ends early."), "The image is damaged: It ends early. Do better."),
        (problem(500, "The gateway failed"), "The gateway failed. Do better."),
        (
            problem(400, "Bad", "Wrong.", {"expected": "a number", "services": ["a", "b"], "file": "body", "index": 0}),
            "Bad: Wrong. expected: a number. services: a, b. Do better.",
        ),
        (Response(500), "The gateway responded with status 500."),
        (Response(502, b"<html>Bad Gateway</html>"), "The gateway responded with status 502."),
        (Response(400, b"[1, 2]"), "The gateway responded with status 400."),
        (Response(409, json.dumps({"title": 7}).encode()), "The gateway responded with status 409."),
        (
            Response(200, b"<html>Welcome</html>"),
            NOT_A_GATEWAY.format("The response holds no labels."),
        ),
        (
            Response(302, b"", {"Location": "https://login.example.com/"}),
            NOT_A_GATEWAY.format("The response is a redirection to 'https://login.example.com/'."),
        ),
        (
            problem(422, "Bad \x1b[31mcolours\x07", "and\nlines"),
            "Bad ?[31mcolours?: and?lines Do better.".replace("?", "\N{REPLACEMENT CHARACTER}"),
        ),
    ],
)
def test_failures_are_reported_in_one_line_and_not_retried(
    server: Server, image: str, capsys: pytest.CaptureFixture[str], response: Response, message: str
) -> None:
    server.script = [response]

    assert failure(image, capsys) == message
    assert len(server.requests) == 1


def test_a_request_is_sent_three_times_over_lost_connections(
    server: Server, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda _request: Response(cut=True)

    assert failure(image, capsys) == (
        "The connection to the gateway was lost: It was lost at every attempt to send the image."
    )
    assert len(server.requests) == 3


def test_a_connection_that_is_lost_once_is_retried(server: Server, image: str) -> None:
    server.script = [Response(cut=True)]

    assert main([image]) == 0


def test_an_invalid_image_does_not_affect_the_others(
    server: Server, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda request: problem(422, "Bad") if request.body == b"b.jpg" else scored()

    assert main(["--output", "jsonl", "--top", "1", str(photos)]) == 1

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["a.PNG", "b.jpg", "e.webp", "d.heic"]
    assert ["error" in line for line in lines] == [False, True, False, False]


# Failures that end the run.


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run(
    server: Server, photos: Path, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.respond = lambda _request: Response(status)

    assert main([str(photos)]) == 3
    assert "requires a key: set SCORING_KEY" in capsys.readouterr().err
    monkeypatch.setenv("SCORING_KEY", "the-secret")
    assert main([str(photos)]) == 3
    err = capsys.readouterr().err
    assert "refuses the key" in err
    assert "the-secret" not in err


def test_another_server_ends_the_run(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.respond = lambda _request: Response(404, b"<html>Not found</html>")

    assert main([image]) == 3
    assert capsys.readouterr().err.startswith("scoring-client: no scoring gateway answers at the URL (404)")


def test_an_unreachable_gateway_ends_the_run(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{unused_port()}"

    assert main(["--url", url, image]) == 3
    assert capsys.readouterr().err == (
        f"scoring-client: no gateway answers at {url}: check --url or SCORING_URL, and that the gateway is running\n"
    )


def test_a_server_without_tls_ends_the_run(server: Server, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", server.url.replace("http:", "https:"), image]) == 3
    assert "does not use TLS: use http://" in capsys.readouterr().err


def test_a_gateway_that_stops_ends_the_run_and_the_results_are_written(
    server: Server, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"

    def respond(_request: Request) -> Response:
        if len(server.requests) == 2:
            server.close_listener()
        return scored()

    server.respond = respond

    code = main(["--concurrency", "1", "--max-wait", "0.6", "--out", str(output), str(photos)])

    assert code == 3
    assert len(output.read_text().splitlines()) == 2
    summary, cause = capsys.readouterr().err.splitlines()
    assert summary == "scoring-client: 2 scored, and then:"
    assert cause.startswith("scoring-client: no gateway answers at")


def test_an_unknown_service_ends_the_run_with_the_names_of_the_others(
    server: Server, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = {"type": "urn:problem-type:scoring-gateway:unknown-service", "services": ["cats", "dogs"]}
    server.respond = lambda _request: problem(404, "There is no such service", "No 'cat'.", unknown)

    assert main([image]) == 2
    assert capsys.readouterr().err == (
        "scoring-client: There is no such service: No 'cat'. services: cats, dogs. Do better."
        " Select another with --service.\n"
    )


def test_the_members_of_a_problem_are_written(server: Server, image: str, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    server.respond = lambda _request: problem(400, "Bad", "Wrong.", {"expected": "a number"})

    assert main(["--out", str(output), image]) == 1

    error = json.loads(output.read_text())["error"]
    assert (error["title"], error["detail"], error["expected"]) == ("Bad", "Wrong.", "a number")


def test_a_folder_without_images_is_an_error(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no image was found" in capsys.readouterr().err
    assert not server.requests


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems only support UTF-8 names")
def test_file_names_that_are_not_utf_8_are_supported(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "photos", tmp_path / "out.jsonl"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(b"coffee")

    assert main(["--out", str(output), str(folder)]) == 0
    assert main(["--out", str(output), "--resume", str(folder)]) == 0
    assert main([str(folder)]) == 0

    assert len(server.requests) == 2
    assert output.read_bytes().isascii()
    assert "caf\N{REPLACEMENT CHARACTER}.jpg" in capsys.readouterr().out
