"""``golden record`` and ``golden check`` with a scripted gateway, over real HTTP."""

import json
from pathlib import Path

import pytest
from scoring_client.__main__ import main

from tests.support.clients.gateway_server import Response, Server, problem

REPORT = {"service": "cats", "golden": "1 of 1", "matches": True, "photographs": [{"matches": True}], "causes": {}}


def test_a_report_is_printed_after_a_busy_gateway_and_the_key_is_sent(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORING_KEY", "the-key")
    server.script = [problem(503, "Busy", Retry_After="0"), Response(body=json.dumps(REPORT).encode())]

    assert main(["golden", "check", "--service", "my cats"]) == 0

    assert capsys.readouterr().out == "cats: golden: 1 of 1 match\n"
    assert [one.path for one in server.requests] == ["/api/golden?service=my+cats"] * 2
    assert server.requests[0].headers["x-functions-key"] == "the-key"


def test_what_is_not_a_report_or_a_problem_is_an_error(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.script = [
        Response(body=b"{}"),
        problem(500, "Settings are wrong", "SERVICE__CATS__GOLDEN is."),
    ]

    assert main(["golden", "check"]) == 1
    assert main(["golden", "check"]) == 1

    first, second = capsys.readouterr().err.splitlines()
    assert "The response holds no report of golden photographs." in first
    assert second == "scoring-client: Settings are wrong: SERVICE__CATS__GOLDEN is. Do better."


def test_photographs_are_recorded_or_none(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.jpg").write_bytes(b"b")
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"no photograph")
    expected = tmp_path / "expected.json"

    server.script = [problem(422, "The image is damaged")]
    assert main(["golden", "record", str(tmp_path)]) == 1
    assert not expected.exists()
    assert f"{tmp_path / 'a.png'}: The image is damaged" in capsys.readouterr().err

    assert main(["golden", "record", "--tolerance", "0.05", str(tmp_path)]) == 0
    one = {"label": "espresso", "class": 967, "score": 0.95}
    assert json.loads(expected.read_text()) == {"tolerance": 0.05, "photographs": {"a.png": one, "b.jpg": one}}
    assert server.requests[-1].path == "/api/score?top=1"
    assert main(["golden", "record", str(tmp_path)]) == 2
    assert main(["golden", "record", str(tmp_path / "missing")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["golden", "record", str(tmp_path / "empty")]) == 2
    assert "has 0 photographs; 1 to 32 are needed" in capsys.readouterr().err
