"""``python -m devstack up`` as users run it: what it prints, what it keeps, and what it refuses."""

import datetime as dt
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import announcement
from devstack.announcement import NoStack
from devstack.authority import Authority
from devstack.control import ControlStore
from devstack.photos import photo
from devstack.stack import Addresses
from devstack.state import SERVICE
from tests.support.devstack.processes import ROOT, TIMEOUT_SECONDS, ServerProcess
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import SERVING, SIMULATED, StackProcess, stack_start_error


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """A whole stack: the real model, function keys, two workers. It is ended by a Ctrl-C in a terminal."""
    with StackProcess(tmp_path_factory.mktemp("up") / "stack", "--enable-auth", "--workers", "2") as running:
        yield running.until_serving()
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait_for_end() == 0
        assert running.out.partition(SERVING)[2] == "\nStopped.\n"


def score(address: str, key: str = "") -> httpx.Response:
    headers = {"Content-Type": "image/png"} | ({"x-functions-key": key} if key else {})
    return httpx.post(address, content=photo("coffee").read_bytes(), headers=headers, timeout=TIMEOUT_SECONDS)


def best_label(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()["predictions"][0]["labels"][0]["label"]


def test_the_sample_photograph_is_scored_by_the_real_model(served: StackProcess) -> None:
    """And every address that is printed answers."""
    lines, addresses = served.out.splitlines(), served.addresses()

    assert lines[1] == "coffee.png scored by the service 'imagenet':"
    assert lines[3].split()[:2] == ["espresso", "95.11%"]
    assert "█" in lines[3]
    assert addresses["Golden photographs"] == "4 of 4 match"
    assert sum("--inherit" in command for command in served.processes.values()) == 2
    ca = ssl.create_default_context(cafile=str(served.folder / "state" / "ca.pem"))
    assert httpx.get(addresses["Health"]).json()["status"] == "ready"
    assert httpx.get(addresses["Managed identity"]).status_code in {400, 401}
    assert Path(addresses["Sample photograph"]).read_bytes() == photo("coffee").read_bytes()
    for part in ("Key Vault", "Control plane"):
        assert httpx.get(addresses[part], verify=ca).status_code in {400, 401, 404}


def test_the_printed_function_key_is_accepted_and_no_other(served: StackProcess) -> None:
    address, key = served.addresses()["Score (POST)"], served.addresses()["x-functions-key"]

    assert best_label(score(address, key)) == "espresso"
    assert [score(address).status_code, score(address, key[:-1]).status_code] == [401, 401]
    keys = served.folder / "host-keys.json"
    assert json.loads(keys.read_text())["default"] == key
    assert served.addresses()["Key of operations"] == f"'master' in {keys}"
    assert keys.stat().st_mode & 0o077 == 0


def test_the_logs_show_the_requests_and_no_secret(served: StackProcess) -> None:
    state, logs = served.folder / "state", served.folder / "logs"
    score(served.addresses()["Score (POST)"], served.addresses()["x-functions-key"])
    texts = {file.name: file.read_text() for file in logs.iterdir()}

    assert sorted(texts) == ["control.log", "identity.log", "vault.log"]
    assert "GET /msi/token 200" in texts["identity.log"]
    assert "GET /secrets/imagenet-pins/ 200" in texts["vault.log"]
    assert "/services 200" in texts["control.log"]
    (service,) = json.loads((state / "control" / "services" / "control.json").read_text())["services"]
    secrets = [service["primary_key"], service["secondary_key"], (state / "identity.key").read_text()]
    secrets += json.loads((served.folder / "host-keys.json").read_text())["functions"].values()
    assert not [secret for secret in secrets for text in (*texts.values(), served.err) if secret in text]


def test_the_identity_key_is_handed_over_by_the_environment_and_by_a_private_file(served: StackProcess) -> None:
    key = served.folder / "state" / "identity.key"
    identity = served.addresses()["Managed identity"]
    query = {"api-version": "2019-08-01", "resource": "https://vault.azure.net"}

    assert key.stat().st_mode & 0o077 == 0
    assert httpx.get(identity, params=query, headers={"X-IDENTITY-HEADER": key.read_text()}).status_code == 200
    for guess in ("", "local-development"):
        assert httpx.get(identity, params=query, headers={"X-IDENTITY-HEADER": guess}).status_code == 401
    assert not [command for command in served.processes.values() if key.read_text() in command]


def test_once_scores_and_ends_in_a_hostile_environment(tmp_path: Path) -> None:
    """A terminal without Unicode, a proxy that does not answer, another identity's header, and a relative folder."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "IDENTITY_HEADER": "other", **proxies}
    environment["PYTHONPATH"] = str(ROOT)

    running = StackProcess(
        tmp_path / "stack", "--once", "--telemetry", *SIMULATED, cwd=tmp_path, environment=environment
    )
    running.command[-1] = "stack"
    with running:
        assert running.wait_for_end() == 0, running.err

        assert running.out.isascii()
        assert "%  ####" in running.out
        assert running.addresses()["Score (POST)"].startswith("http://localhost:")
        assert SERVING not in running.out
        assert "Golden photographs" not in running.out, "the simulated engine knows none"
        assert running.addresses()["Sample photograph"] == "stack/photos/coffee.png"
        # The trace of the sample, as the service had it, too, and what was counted.
        (trace_id,) = re.findall(r"^trace ([0-9a-f]{32})$", running.out, re.MULTILINE)
        assert re.search(r"^  score 200 +\d+\.\d\d ms  \|#+\|$", running.out, re.MULTILINE)
        assert f"/tensorflow.serving.PredictionService/Predict in trace {trace_id}" in running.out
        assert re.search(
            r"^ +1, [0-9.]+ ms each  scoring\.request\.duration +imagenet, score, ok$", running.out, re.MULTILINE
        )
    assert (tmp_path / "stack" / "state" / "ca.pem").exists()


def test_secrets_survive_a_restart_and_a_separate_host_scores_with_the_renewed_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    with StackProcess(folder, "--services-only", *SIMULATED) as first:
        RunningServices(first.until_serving()).vault.set("mine", "kept")
        identity_key = (folder / "state" / "identity.key").read_text()
        assert first.signal(signal.SIGTERM).wait_for_end() == 0

    expired = Authority.load(folder / "state").issue(valid_for=dt.timedelta(days=-1))
    store = ControlStore(folder / "state" / "control" / "services")
    (service,) = store.services()
    store.save(service=replace(service, chain=expired.chain.decode(), key=expired.key.decode()))

    with StackProcess(folder, "--services-only", *SIMULATED) as second:
        assert RunningServices(second.until_serving()).vault.get("mine") == "kept"
        assert identity_key not in {"", (folder / "state" / "identity.key").read_text()}
        # As in the printed instructions.
        assert "func start" in second.out
        assert ".venv/bin/python -m devstack.host" in second.out
        arguments = ("--app", ROOT, "--port", "0", "--state", tmp_path / "host")
        environment = {**os.environ, **second.exports()}
        with ServerProcess("devstack.host", *arguments, log=tmp_path / "host.log", environment=environment) as host:
            assert score(f"{host.address}/api/score").status_code == 200
        assert second.signal(signal.SIGTERM).wait_for_end() == 0


def test_ports_may_change_and_the_addresses_are_found_while_it_serves(tmp_path: Path, first_port: int) -> None:
    folder = tmp_path / "stack"
    with StackProcess(folder, "--services-only", *SIMULATED) as first:
        addresses = first.until_serving().addresses()
        names = ("Managed identity", "Key Vault", "FPGA service (gRPC, TLS)", "Control plane")
        assert announcement.find(folder) == Addresses(*(addresses[name] for name in names))
        assert first.signal(signal.SIGTERM).wait_for_end() == 0
    with pytest.raises(NoStack, match=f"No stack is running in {folder}: start a stack with `make run`, or name its"):
        announcement.find(folder)
    store = ControlStore(folder / "state" / "control" / "services")
    # A service of the user, on the port that the control plane will get.
    store.seed_service(name="mine", primary_key="one", secondary_key="two", port=first_port + 4)

    # The host's port may be in use where the host is left out.
    options = ("--services-only", "--ports-from", str(first_port), *SIMULATED)
    with socket.create_server(("127.0.0.1", first_port)), StackProcess(folder, *options) as second:
        addresses = second.until_serving().addresses()
        assert addresses["FPGA service (gRPC, TLS)"] == f"127.0.0.1:{first_port + 3}"
        assert addresses["Control plane"] == f"https://127.0.0.1:{first_port + 4}"
        assert second.signal(signal.SIGTERM).wait_for_end() == 0

    services = ControlStore(folder / "state" / "control" / "services").services()
    assert {service.name: service.port for service in services} == {SERVICE: first_port + 3, "mine": first_port + 5}


@pytest.fixture
def first_port() -> Iterator[int]:
    """The first of six free ports in a row."""
    for first in range(20_000, 30_000, 6):
        try:
            for port in range(first, first + 6):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        yield first
        return


@pytest.mark.parametrize(
    ("offset", "part"),
    [(0, "Functions host"), (3, "FPGA service")],
)
def test_a_port_in_use_is_named_with_its_part(tmp_path: Path, first_port: int, offset: int, part: str) -> None:
    port, folder = first_port + offset, tmp_path / "stack"
    folder.mkdir()
    announcement.announce(folder, Addresses("as", "a killed", "stack", "left them"))
    with socket.create_server(("127.0.0.1", port)):
        line = stack_start_error(folder, "--ports-from", str(first_port))

    assert line == (
        f"The {part} cannot start: port {port} on 127.0.0.1 is in use:"
        " stop the program that uses it, or choose other ports with --ports-from N"
    )
    assert not (folder / "addresses.json").exists()
    (tmp_path / "file").touch()
    assert stack_start_error(tmp_path / "file") == (
        f"The folder {tmp_path}/file cannot be used (File exists: {tmp_path}/file): name another with --state DIR"
    )


OLD_PYTHON = (
    "import runpy, sys; sys.version_info = (3, 9, 18, 'final', 0);runpy.run_module('devstack', run_name='__main__')"
)
NO_PACKAGES = ["-S", "-E", "-m", "devstack", "up"]


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (NO_PACKAGES, f"A package is missing in {sys.executable} (No module named "),
        (["-c", OLD_PYTHON], f"Python 3.13 is needed, and {sys.executable} is 3.9.18: run `make run`"),
    ],
)
def test_an_unsuitable_python_is_refused_with_the_remedy(arguments: list[str], start: str) -> None:
    ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(start)
    assert ended.stderr.endswith(
        ": run `make run`, which sets up .venv and uses it, or .venv/bin/python -m devstack up\n"
    )
    assert ended.stderr.count("\n") == 1
