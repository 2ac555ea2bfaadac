"""``python -m devstack up`` as people run it: what it prints, how it ends, and what it says when it cannot start."""

import ast
import datetime as dt
import json
import os
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
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from devstack import announcement, commands, stack
from devstack.announcement import NoStack
from devstack.authority import Authority
from devstack.control import ControlStore
from devstack.control.app import Account
from devstack.photos import photo
from devstack.stack import Addresses
from devstack.state import SERVICE
from tests.devstack.alive import PATIENCE
from tests.devstack.stacks import ROOT, SERVING, Up, refuses_to_start

SIMULATED = ("--engine", "simulated", "--latency-ms", "0")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A whole stack: the real model, function keys, two workers. Its end is a Ctrl-C in a terminal."""
    with Up(tmp_path_factory.mktemp("up") / "stack", "--enable-auth", "--workers", "2") as running:
        yield running.until_serving()
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.ended() == 0
        assert running.out.partition(SERVING)[2] == "\nStopped.\n"


def score(address: str, key: str = "") -> httpx.Response:
    headers = {"Content-Type": "image/png"} | ({"x-functions-key": key} if key else {})
    return httpx.post(address, content=photo("coffee").read_bytes(), headers=headers, timeout=PATIENCE)


def best_label(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()["predictions"][0]["labels"][0]["label"]


# A stack that serves.


def test_the_sample_photograph_is_scored_by_the_real_model(served: Up) -> None:
    lines = served.out.splitlines()

    assert lines[1] == "coffee.png scored by the service 'imagenet':"
    assert lines[3].split()[:2] == ["espresso", "95.11%"]
    assert "█" in lines[3]


def test_every_address_that_is_printed_answers(served: Up) -> None:
    addresses = served.addresses()
    ca = ssl.create_default_context(cafile=str(served.folder / "state" / "ca.pem"))

    assert httpx.get(addresses["Health"]).json()["status"] == "ready"
    assert httpx.get(addresses["Managed identity"]).status_code in {400, 401}
    assert httpx.get(f"{addresses['Key Vault']}/secrets", verify=ca).status_code in {400, 401}
    services = f"{addresses['Control plane']}{Account().path}/services"
    assert httpx.get(services, verify=ca).status_code == 401
    host, port = addresses["FPGA service (gRPC, TLS)"].split(":")
    with socket.create_connection((host, int(port))) as plain, ca.wrap_socket(plain, server_hostname="localhost"):
        pass


def test_the_function_key_that_is_printed_opens_and_nothing_else_does(served: Up) -> None:
    address, key = served.addresses()["Score"], served.addresses()["x-functions-key"]

    assert best_label(score(address, key)) == "espresso"
    assert score(address).status_code == 401
    assert score(address, key[:-1]).status_code == 401


def test_what_the_host_remembers_is_in_the_folder(served: Up) -> None:
    keys = served.folder / "host-keys.json"

    assert json.loads(keys.read_text())["default"] == served.addresses()["x-functions-key"]
    assert keys.stat().st_mode & 0o077 == 0


def test_there_are_as_many_workers_as_asked_for(served: Up) -> None:
    assert sum("--inherit" in command for command in served.processes.values()) == 2


def test_a_second_stack_on_the_same_folder_is_refused(served: Up) -> None:
    command = [sys.executable, "-m", "devstack", "up", "--once", "--ports-from", "0", "--state", str(served.folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"Another stack (process {served.process.pid}) uses the folder {served.folder}: stop it,"
        " or name another folder and other ports with --state DIR --ports-from N\n"
    )


def test_the_logs_hold_what_happened_and_no_secret(served: Up) -> None:
    state, logs = served.folder / "state", served.folder / "logs"
    score(served.addresses()["Score"], served.addresses()["x-functions-key"])
    texts = {file.name: file.read_text() for file in logs.iterdir()}

    assert sorted(texts) == ["control.log", "identity.log", "vault.log"]
    assert "GET /msi/token 200" in texts["identity.log"]
    assert "GET /secrets/imagenet-pins/ 200" in texts["vault.log"]
    assert "/services 200" in texts["control.log"]
    service = fpga_service(served.folder)
    keys = [(state / name).read_text() for name in ("ca.key", "vault/vault.key", "control/control.key")]
    secrets = [line for key in [*keys, service["key"]] for line in key.splitlines() if "-----" not in line]
    secrets += [service["primary_key"], service["secondary_key"]]
    function_keys = json.loads((served.folder / "host-keys.json").read_text())
    functions = function_keys.pop("functions")
    secrets += [*function_keys.values(), *functions.values(), stack.settings()["IDENTITY_HEADER"]]
    assert all(len(secret) > 8 for secret in secrets)
    for name, text in {**texts, "stderr": served.err}.items():
        assert not [secret for secret in secrets if secret in text], name


def fpga_service(folder: Path) -> dict[str, Any]:
    """The FPGA service as the control plane keeps it."""
    file = folder / "state" / "control" / "services" / "control.json"
    (service,) = json.loads(file.read_text())["services"]
    found: dict[str, Any] = service
    return found


# One start after another.


def test_once_scores_and_leaves_nothing_in_a_hostile_environment(tmp_path: Path) -> None:
    """A terminal without Unicode, a proxy that does not answer, and another identity's header."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "IDENTITY_HEADER": "other", **proxies}

    with Up(tmp_path / "stack", "--once", *SIMULATED, environment=environment) as running:
        assert running.ended() == 0, running.err

        assert running.out.isascii()
        assert "%  ####" in running.out
        assert running.addresses()["Score"].startswith("http://localhost:")
        assert SERVING not in running.out


def test_secrets_survive_a_restart_and_a_host_of_ones_own_scores_by_the_renewed_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stack"
    with Up(folder, "--services-only", *SIMULATED) as first:
        with secret_client(first.until_serving(), monkeypatch) as secrets:
            secrets.set_secret("mine", "kept")
        assert first.signal(signal.SIGTERM).ended() == 0

    expired = Authority.load(folder / "state").issue(valid_for=dt.timedelta(days=-1))
    store = ControlStore(folder / "state" / "control" / "services")
    (service,) = store.services()
    store.save(service=replace(service, chain=expired.chain.decode(), key=expired.key.decode()))

    with Up(folder, "--services-only") as second:
        with secret_client(second.until_serving(), monkeypatch) as secrets:
            assert secrets.get_secret("mine").value == "kept"
        assert "func start" in second.out
        assert host_scores(second) == "espresso"
        assert second.signal(signal.SIGTERM).ended() == 0


def secret_client(running: Up, monkeypatch: pytest.MonkeyPatch) -> SecretClient:
    addresses = running.addresses()
    monkeypatch.setenv("IDENTITY_ENDPOINT", addresses["Managed identity"])
    monkeypatch.setenv("IDENTITY_HEADER", stack.settings()["IDENTITY_HEADER"])
    ca = str(running.folder / "state" / "ca.pem")
    vault = addresses["Key Vault"]
    return SecretClient(vault, ManagedIdentityCredential(), connection_verify=ca, verify_challenge_resource=False)


def host_scores(running: Up) -> str:
    """What a host says that another terminal starts as the printed instructions tell."""
    assert ".venv/bin/python -m devstack.host" in running.out
    command = [sys.executable, "-m", "devstack.host", "--app", str(ROOT), "--port", "0"]
    state = ["--state", str(running.folder.with_name("host"))]
    environment = {**os.environ, **running.exports()}
    log = running.folder.with_name("host.log")
    with (
        log.open("wb") as err,
        subprocess.Popen(
            command + state, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=err, text=True
        ) as host,
    ):
        try:
            assert host.stdout
            ready = host.stdout.readline()
            assert ready.startswith("ready "), log.read_text()
            return str(best_label(score(f"{ready.split()[1]}/api/score")))
        finally:
            host.terminate()
            host.wait(PATIENCE)


def test_ports_may_change_from_one_start_to_the_next(tmp_path: Path, first_port: int) -> None:
    folder = tmp_path / "stack"
    with Up(folder, "--services-only", *SIMULATED) as first:
        assert first.until_serving().signal(signal.SIGTERM).ended() == 0
    store = ControlStore(folder / "state" / "control" / "services")
    # A service of somebody's own, on what is going to be the control plane's port.
    store.seed_service(name="mine", primary_key="one", secondary_key="two", port=first_port + 4)

    with Up(folder, "--services-only", "--ports-from", str(first_port), *SIMULATED) as second:
        addresses = second.until_serving().addresses()
        assert addresses["FPGA service (gRPC, TLS)"] == f"127.0.0.1:{first_port + 3}"
        assert addresses["Control plane"] == f"https://127.0.0.1:{first_port + 4}"
        assert second.signal(signal.SIGTERM).ended() == 0

    ports = {
        service.name: service.port for service in ControlStore(folder / "state" / "control" / "services").services()
    }
    assert ports == {SERVICE: first_port + 3, "mine": first_port + 5}


def test_where_it_listens_is_told_while_it_serves(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    with Up(folder, "--services-only", *SIMULATED) as running:
        addresses = running.until_serving().addresses()
        assert announcement.find(folder) == Addresses(
            addresses["Managed identity"],
            addresses["Key Vault"],
            addresses["FPGA service (gRPC, TLS)"],
            addresses["Control plane"],
        )
        assert running.signal(signal.SIGTERM).ended() == 0

    with pytest.raises(NoStack, match=f"No stack is running in {folder}: start a stack with `make run`, or name its"):
        announcement.find(folder)


def test_what_a_killed_stack_told_is_withdrawn_by_the_next_start(tmp_path: Path, first_port: int) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    announcement.announce(folder, Addresses("here", "there", "nowhere", "elsewhere"))

    with socket.create_server(("127.0.0.1", first_port + 1)):
        refuses_to_start(folder, "--ports-from", str(first_port))

    assert not (folder / "addresses.json").exists()


# What cannot be.


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
    [(0, "Functions host"), (1, "identity endpoint"), (2, "Key Vault"), (3, "FPGA service"), (4, "control plane")],
)
def test_a_busy_port_is_named_with_its_part(tmp_path: Path, first_port: int, offset: int, part: str) -> None:
    port = first_port + offset
    with socket.create_server(("127.0.0.1", port)):
        line = refuses_to_start(tmp_path / "stack", "--ports-from", str(first_port))

    assert line == (
        f"port {port} on 127.0.0.1, which the {part} needs, is in use:"
        " stop the program that holds it, or take other ports with --ports-from N"
    )


def test_the_hosts_port_may_be_busy_where_the_host_is_left_out(tmp_path: Path, first_port: int) -> None:
    options = ("--services-only", "--ports-from", str(first_port), *SIMULATED)
    with socket.create_server(("127.0.0.1", first_port)), Up(tmp_path / "stack", *options) as running:
        assert running.until_serving().addresses()["Key Vault"] == f"https://127.0.0.1:{first_port + 2}"
        assert running.signal(signal.SIGTERM).ended() == 0


def test_a_damaged_state_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "stack" / "state").mkdir(parents=True)

    line = refuses_to_start(tmp_path / "stack")

    assert line.startswith(f"The state folder {tmp_path}/stack/state is damaged (")
    assert line.endswith(f": rm -r {tmp_path}/stack/state")


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "stack").touch()

    assert refuses_to_start(tmp_path / "stack") == (
        f"The folder {tmp_path}/stack cannot be used (File exists: {tmp_path}/stack): name another with --state DIR"
    )


def test_a_relative_folder_starts_where_the_command_does(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    running = Up(tmp_path / "stack", "--once", *SIMULATED, cwd=tmp_path, environment=environment)
    running.command[-1] = "stack"
    with running:
        assert running.process.wait(PATIENCE) == 0, running.err
    assert (tmp_path / "stack" / "state" / "ca.pem").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "argument --workers: must be a whole number from 1 to 64, not '0'"),
        (["--workers", "many"], "argument --workers: must be a whole number from 1 to 64, not 'many'"),
        (["--ports-from", "-1"], "argument --ports-from: must be a whole number from 0 to 65531, not '-1'"),
        (["--ports-from", "65532"], "argument --ports-from: must be a whole number from 0 to 65531, not '65532'"),
        (["--ports-from", "²"], "argument --ports-from: must be a whole number from 0 to 65531, not '²'"),
        (["--latency-ms", "-1"], "argument --latency-ms: must be a number of milliseconds, 0 or more, not '-1'"),
        (["--latency-ms", "nan"], "argument --latency-ms: must be a number of milliseconds, 0 or more, not 'nan'"),
        (["--latency-ms", "fast"], "argument --latency-ms: must be a number of milliseconds, 0 or more, not 'fast'"),
        (["--latency-ms", "2"], "--latency-ms is about the simulated engine: add --engine simulated, or leave it out"),
        (["--engine", "magic"], "argument --engine: invalid choice: 'magic' (choose from 'model', 'simulated')"),
        (["--state"], "argument --state: expected one argument"),
        (["--surprise"], "unrecognized arguments: --surprise"),
        *(
            (
                ["--services-only", *option],
                f"--services-only leaves out the Functions host, which {option[0]} is about: leave one of them out",
            )
            for option in (["--once"], ["--enable-auth"], ["--workers", "2"])
        ),
    ],
)
def test_options_that_cannot_be_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        commands.parse(["up", *arguments])

    assert end.value.code == 2
    usage, _, last = capsys.readouterr().err.rstrip().rpartition("\n")
    assert usage.startswith("usage: python -m devstack")
    assert last.partition(": error: ")[2].replace(
        "choose from model, simulated", "choose from 'model', 'simulated'"
    ) == (message)


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([]) == 0

    assert capsys.readouterr().out.startswith("usage: python -m devstack [-h] COMMAND ...")


# Before the imports.


def test_a_python_without_the_packages_is_told_what_to_run(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-E", "-m", "devstack", "up", "--state", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"A package is missing in {sys.executable} (No module named ")
    assert ended.stderr.endswith(
        "): run `make run`, which sets up .venv and uses it, or .venv/bin/python -m devstack up\n"
    )
    assert ended.stderr.count("\n") == 1


def test_an_old_python_is_told_what_is_needed() -> None:
    pretend = (
        "import runpy, sys; sys.version_info = (3, 9, 18, 'final', 0);runpy.run_module('devstack', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"Python 3.13 is needed, and {sys.executable} is 3.9.18: run `make run`")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_an_old_python_can_read_what_tells_it(name: str) -> None:
    ast.parse((ROOT / "devstack" / f"{name}.py").read_text(), feature_version=(3, 7))
