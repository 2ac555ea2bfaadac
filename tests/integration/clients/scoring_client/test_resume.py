"""Continuing an earlier run of the command."""

import json
from pathlib import Path

import pytest
from scoring_client.__main__ import main

from tests.support.clients.gateway_server import Server, problem, scored


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def run(output: Path, photos: Path, *options: str) -> int:
    return main(["--out", str(output), *options, str(photos)])


def lines(output: Path) -> list[str]:
    """The names of the files in the output, in order."""
    text = output.read_text()
    assert text.endswith("\n")
    return [Path(json.loads(line)["file"]).name for line in text.splitlines()]


def test_scored_files_are_skipped(
    server: Server, photos: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(output, photos, "--resume") == 0
    (photos / "z.jpg").write_bytes(b"new")
    server.requests.clear()

    assert run(output, photos, "--resume") == 0

    assert server.bodies == [b"new"]
    assert lines(output) == ["a.PNG", "b.jpg", "e.webp", "d.heic", "z.jpg"]
    assert capsys.readouterr().err.endswith("scoring-client: 1 scored, 4 already done\n")


def test_failed_files_are_sent_again(server: Server, photos: Path, output: Path) -> None:
    server.respond = lambda request: problem(500, "Bad") if request.body == b"b.jpg" else scored()
    assert run(output, photos) == 1
    server.respond = lambda _request: scored()

    assert run(output, photos, "--resume") == 0

    assert lines(output) == ["a.PNG", "b.jpg", "e.webp", "d.heic", "b.jpg"]


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_an_incomplete_line_is_removed_and_scored_again(server: Server, photos: Path, output: Path, cut: int) -> None:
    assert run(output, photos) == 0
    whole = output.read_bytes()
    output.write_bytes(whole[:-cut])
    server.requests.clear()

    assert run(output, photos, "--resume") == 0

    assert output.read_bytes() == whole
    assert len(server.requests) == 1


def test_files_are_scored_again_with_another_service(server: Server, photos: Path, output: Path) -> None:
    assert run(output, photos) == 0

    assert run(output, photos, "--resume", "--service", "imagenet") == 0
    assert len(server.requests) == 4
    assert run(output, photos, "--resume", "--service", "dogs") == 0
    assert len(server.requests) == 8


@pytest.mark.parametrize("line", ["not JSON", "[1]", "{}", '"text"', "null"])
def test_a_file_of_another_program_is_unchanged(
    server: Server, photos: Path, output: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = f'{{"file": "x", "labels": []}}\n{line}\nmore'
    output.write_text(content)

    assert run(output, photos, "--resume") == 2

    assert output.read_text() == content
    assert "line 2 of the output is not this program's" in capsys.readouterr().err
    assert not server.requests


def test_an_existing_output_is_only_overwritten_on_request(
    server: Server, photos: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output.write_text("content")

    assert run(output, photos) == 2
    assert output.read_text() == "content"
    assert "--resume continues it, --overwrite replaces it" in capsys.readouterr().err
    assert not server.requests
    assert run(output, photos, "--overwrite") == 0
    assert len(lines(output)) == 4


def test_an_unwritable_output_is_an_error(server: Server, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos / "nowhere" / "out.jsonl", photos) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not server.requests


def test_a_full_disk_is_reported(server: Server, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")

    assert run(full, photos, "--overwrite", "--output", "jsonl") == 1
    assert "the results cannot be written: No space left on device" in capsys.readouterr().err
    assert server.requests


def test_the_output_can_be_a_json_array(server: Server, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"

    assert run(output, photos) == 0

    assert len(json.loads(output.read_text())) == len(server.requests) == 4
