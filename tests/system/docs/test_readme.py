"""The README's commands for scoring run as they stand, and the first one's response is the one below it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.support.markdown import blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [block.code for block in blocks(README) if block.language == "bash"]
PHOTO = Path(".devstack", "photos", "coffee.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sample photograph where ``make run`` puts it."""
    (tmp_path / PHOTO).parent.mkdir(parents=True)
    shutil.copy(photo("coffee"), tmp_path / PHOTO)
    return tmp_path


def responses(command: str, folder: Path, stack: StackProcess) -> list[dict[str, Any]]:
    """What the commands of a block print; only the stack's address is replaced."""
    assert "http://localhost:7071" in command
    script = ["bash", "-ec", command.replace("http://localhost:7071", stack.url)]
    ended = subprocess.run(
        script,
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    decoder, text, found = json.JSONDecoder(), ended.stdout, []
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def test_the_first_command_prints_the_response_below_it(folder: Path, stack: StackProcess) -> None:
    [documented, *_] = [json.loads(block.code) for block in blocks(README) if block.language == "json"]

    [response] = responses(COMMANDS[0], folder, stack)

    assert response.pop("request_id")
    assert documented.pop("request_id")
    for label in documented["predictions"][0]["labels"]:
        label["score"] = pytest.approx(label["score"], abs=1e-3)  # it varies with the processor
    assert response == documented


def test_a_form_and_json_are_scored_too(folder: Path, stack: StackProcess) -> None:
    form, document = (response for command in COMMANDS[1:] for response in responses(command, folder, stack))

    assert [(one["file"], len(one["labels"])) for one in form["predictions"]] == [("coffee.png", 3)] * 2
    [prediction] = document["predictions"]
    assert (prediction["file"], [label["label"] for label in prediction["labels"]]) == ("coffee", ["espresso"])
