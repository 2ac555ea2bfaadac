"""The command with the running gateway."""

import io
import json
import sys
from pathlib import Path

import pytest
from scoring_client.__main__ import main

from devstack.photos import photo
from tests.support.devstack.stack_process import StackProcess


@pytest.fixture(autouse=True)
def gateway(stack: StackProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_URL", stack.url)
    monkeypatch.delenv("SCORING_KEY", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "more" / "rocket.jpg").write_bytes(photo("rocket").read_bytes())
    (folder / "coffee.png").write_bytes(photo("coffee").read_bytes())
    (folder / "damaged.jpg").write_bytes(photo("rocket").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_the_default_output_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    coffee, rocket = photo("coffee"), photo("rocket")

    code = main(["--top", "2", str(coffee), str(rocket)])

    assert code == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "  SCORE  LABEL                         FILE",
        f" 95.11%  espresso                      {coffee}",
        "  1.50%  cup",
        f" 29.63%  missile                       {rocket}",
        " 19.99%  projectile",
    ]
    assert err == "scoring-client: 2 scored\n"


def test_a_folder_is_scored_to_json_lines(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.jsonl"

    code = main(["--top", "1", "--out", str(output), str(folder)])

    assert code == 1
    lines = {line["file"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert list(lines) == [str(folder / name) for name in ("coffee.png", "damaged.jpg", "more/rocket.jpg")]
    coffee, damaged, rocket = lines.values()
    assert [label["label"] for label in coffee["labels"]] == ["espresso"]
    assert [label["label"] for label in rocket["labels"]] == ["missile"]
    assert (coffee["service"], coffee["model"]) == ("imagenet", "imagenet")
    assert damaged["error"]["type"] == "urn:problem-type:scoring-gateway:damaged-image"
    assert damaged["error"]["status"] == 422
    out, err = capsys.readouterr()
    assert out == ""
    failure, summary = err.splitlines()
    assert failure.startswith(f"{folder / 'damaged.jpg'}: The image is damaged: ")
    assert failure.endswith("Upload the file again; it may have been truncated in transit.")
    assert summary == "scoring-client: 2 scored, 1 failed"


def test_the_output_can_be_an_array_with_all_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", "json", "--top", "0", "--service", "imagenet-tensor", str(photo("coffee"))]) == 0

    (one,) = json.loads(capsys.readouterr().out)
    assert one["service"] == "imagenet-tensor"
    assert len(one["scores"]) == len(one["labels"]) == 1000
    assert one["labels"][0]["label"] == "espresso"


def test_without_a_label_above_the_threshold_a_note_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--threshold", "0.99", str(photo("coffee"))]) == 0

    assert capsys.readouterr().out.splitlines()[1].split("  ")[-2:] == [
        "(no label reaches the threshold)",
        str(photo("coffee")),
    ]


def test_an_image_can_be_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo("coffee").read_bytes())))

    assert main(["--top", "1", "-"]) == 0

    assert capsys.readouterr().out.splitlines()[1] == " 95.11%  espresso                      -"


def test_a_named_file_is_sent_with_any_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown_suffix, text = tmp_path / "coffee.data", tmp_path / "notes.txt"
    unknown_suffix.write_bytes(photo("coffee").read_bytes())
    text.write_text("no image")

    assert main(["--top", "1", str(unknown_suffix), str(text)]) == 1

    out, err = capsys.readouterr()
    assert "espresso" in out
    assert f"{text}: The file is not an image that can be read:" in err


def test_an_unknown_service_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--service", "dogs", str(photo("coffee"))]) == 2

    assert capsys.readouterr().err == (
        "scoring-client: There is no such service: The gateway has no service 'dogs'; "
        "its services are: imagenet, imagenet-open, imagenet-tensor. Select another with --service.\n"
    )
