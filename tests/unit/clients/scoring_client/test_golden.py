"""The options of ``golden record`` and ``golden check``, and the report for people."""

from pathlib import Path
from typing import Any

import pytest
from scoring_client import responses
from scoring_client.gateway import Target
from scoring_client.golden import Options, lines, parse
from scoring_client.results import USAGE, Stop

REPORT: dict[str, Any] = {
    "service": "cats",
    "golden": "1 of 2",
    "matches": False,
    "photographs": [
        {"file": "a.png", "matches": True, "deviation": ""},
        {"file": "b.png", "matches": False, "deviation": "too low"},
    ],
    "causes": {"matches_with": [], "tried": 47, "not_tried": ""},
    "model_version": "3",
}


def test_the_options_of_both_commands() -> None:
    environ = {"SCORING_URL": "https://gateway.example/api/services/dogs/score", "SCORING_KEY": "k"}

    check = parse(["check", "--service", "cats"], environ)
    record = parse(["record", "photos", "--tolerance", "0.1", "--overwrite", "--url", "http://localhost:1"], {})

    assert check == Options(Target("https://gateway.example", "k", "cats", timeout=200.0), None)
    assert parse(["check"], environ).target.service == "dogs"
    assert record == Options(Target("http://localhost:1", top=1), Path("photos"), 0.1, overwrite=True)


@pytest.mark.parametrize(
    "arguments",
    [[], ["record"], ["record", "x", "--tolerance", "2"], ["check", "x"], ["check", "--url", "ftp://x"]],
)
def test_a_faulty_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, {})
    assert caught.value.code == 2
    assert "usage: scoring-client golden" in capsys.readouterr().err


def test_the_report_names_what_deviates_and_what_explains_it() -> None:
    first, *rest = lines(REPORT)
    explained = {"matches_with": ["CHANNEL_ORDER=BGR", "X=1"], "tried": 9, "not_tried": "Files are the service's."}

    assert first == "cats: golden: 1 of 2 match (model version 3)"
    assert rest == ["  b.png: too low", "none of 47 combinations of likely causes explains it"]
    assert lines(REPORT | {"causes": explained})[2:] == [
        "matches with CHANNEL_ORDER=BGR",
        "matches with X=1",
        "Files are the service's.",
    ]
    alike = [{"file": "a.png", "matches": True}]
    assert lines({**REPORT, "golden": "1 of 1", "photographs": alike}) == [
        "cats: golden: 1 of 1 match (model version 3)"
    ]


@pytest.mark.parametrize("member", ["photographs", "causes", "golden"])
def test_another_document_is_no_report(member: str) -> None:
    assert responses.golden(REPORT) == REPORT
    assert responses.golden(REPORT | {member: ["x"]}) is None


def test_a_service_without_photographs_ends_the_command() -> None:
    body = b'{"type": "urn:problem-type:scoring-gateway:no-golden-photographs", "title": "None", "remedy": "Add some."}'

    with pytest.raises(Stop, match=r"^None\. Add some\.$") as caught:
        responses.read(404, {}, body, responses.golden, with_key=True)
    assert caught.value.code == USAGE
