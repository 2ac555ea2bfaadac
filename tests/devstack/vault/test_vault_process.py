"""``python -m devstack.vault`` as a process: start, refusals to start, restart, end."""

import re
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from devstack.vault import VaultStore
from tests.devstack.alive import eventually
from tests.devstack.processes import Running, fails_to_start
from tests.devstack.vault.conftest import VAULT, Files


def test_a_restarted_vault_finds_what_was_kept(files: Files, tmp_path: Path) -> None:
    arguments = files.arguments(tmp_path / "secrets")
    VaultStore(tmp_path / "secrets").set("seeded", "before the first start", tags={"a": "1"})
    with Running(VAULT, *arguments, log=tmp_path / "log") as first, files.client(first.address) as http:
        http.put("/secrets/added", json={"value": "over HTTP"}).raise_for_status()
        http.put("/secrets/dead", json={"value": "v"}).raise_for_status()
        http.delete("/secrets/dead").raise_for_status()

    with Running(VAULT, *arguments, log=tmp_path / "log") as second, files.client(second.address) as http:
        assert http.get("/secrets/seeded").json()["tags"] == {"a": "1"}
        assert http.get("/secrets/added").json()["value"] == "over HTTP"
        assert http.get("/secrets/dead").status_code == 404
        assert http.get("/deletedsecrets/dead").status_code == 200


def test_a_vault_killed_between_two_writes_loses_neither(files: Files, tmp_path: Path) -> None:
    arguments = files.arguments(tmp_path / "secrets")
    with Running(VAULT, *arguments, log=tmp_path / "log") as first, files.client(first.address) as http:
        for value in ("one", "two"):
            http.put("/secrets/key", json={"value": value}).raise_for_status()
        assert first.stop(signal.SIGKILL)[0] == -signal.SIGKILL

    store = VaultStore(tmp_path / "secrets")
    assert store.get("key").value == "two"
    assert len(store.list_versions("key")) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_silently_with_a_request_under_way(
    files: Files, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = files.arguments(tmp_path / "secrets")
    with Running(VAULT, *arguments, log=tmp_path / "log") as vault, files.client(vault.address) as http:
        http.put("/secrets/key", json={"value": "v"}).raise_for_status()
        http.put("/_devstack/faults", json={"mode": "hang", "secrets": ["key"], "count": 2}).raise_for_status()
        answers: list[httpx.Response] = []
        hanging = threading.Thread(target=lambda: answers.append(http.get("/secrets/key", timeout=30)))
        hanging.start()
        with files.client(vault.address) as other:
            wait_until_it_hangs(other)

        assert vault.stop(number) == (0, "")

        hanging.join()
        assert [answer.status_code for answer in answers] == [503]
        assert not re.search(r"Traceback|Error|Cancel", vault.log)


def wait_until_it_hangs(http: httpx.Client) -> None:
    """Return once a request met the fault, which counts down from two."""
    while http.get("/_devstack/faults").raise_for_status().json()["count"] != 1:
        time.sleep(0.01)


def test_the_log_has_a_line_a_request_and_no_secret(files: Files, tmp_path: Path) -> None:
    arguments = files.arguments(tmp_path / "secrets")
    with Running(VAULT, *arguments, log=tmp_path / "log") as vault, files.client(vault.address) as http:
        http.put("/secrets/key", json={"value": "hunter2"}, params={"note": "in-the-query"})
        http.get("/secrets/key/", headers={"Authorization": "Bearer in-the-header"})
        http.get("/secrets/a%0Ab")
        # A line follows its answer.
        eventually(lambda: vault.log.count("\n") >= 3, "three lines")

        lines = [line.split(" ", 1)[1] for line in vault.log.splitlines()]
        assert lines == [
            "vault PUT /secrets/key 200",
            "vault GET /secrets/key/ 401",
            "vault GET /secrets/a%0Ab 400",
        ]


def test_a_secret_that_cannot_be_written_is_a_500_and_a_line_in_the_log(files: Files, tmp_path: Path) -> None:
    arguments = files.arguments(tmp_path / "secrets")
    with Running(VAULT, *arguments, log=tmp_path / "log") as vault, files.client(vault.address) as http:
        (tmp_path / "secrets" / "key.json.new").mkdir()  # where the file would be prepared

        answer = http.put("/secrets/key", json={"value": "hunter2"})

        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "InternalServerError")
        assert http.get("/secrets/key").status_code == 404
        assert "key.json.new" in vault.log
        assert "Traceback" not in vault.log
        assert "hunter2" not in vault.log


# Refusals to start.


def test_a_busy_port_is_named(files: Files, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = fails_to_start(VAULT, *files.arguments(tmp_path / "secrets", port))

    assert line == (f"port {port} on 127.0.0.1 is in use: stop the program that holds it, or pass another --port")


def test_a_damaged_file_is_named(files: Files, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"format": 1, "name": "key", "versions": [{"value": "hunter2"')

    line = fails_to_start(VAULT, *files.arguments(tmp_path))

    assert line.startswith(f"the vault's file {tmp_path}/key.json is damaged (it is not JSON): restore it")
    assert "hunter2" not in line


def test_a_folder_that_cannot_be_used_is_named(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    line = fails_to_start(VAULT, *files.arguments(tmp_path / "file"))

    assert line.startswith(f"cannot use {tmp_path}/file for the vault: File exists; pass a --folder")


def test_a_certificate_that_does_not_fit_its_key_is_named(files: Files, tmp_path: Path) -> None:
    strangers = Files.make(tmp_path)
    arguments = files.arguments(tmp_path / "secrets")
    arguments[arguments.index("--key") + 1] = strangers.key

    line = fails_to_start(VAULT, *arguments)

    assert line.startswith(f"cannot serve TLS with certificate {files.certificate} and key {strangers.key}: ")
    assert line.endswith("pass a PEM chain (leaf first) and the leaf's own private key")


def test_a_short_signing_key_is_named(files: Files, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"short")

    line = fails_to_start(VAULT, *files.arguments(tmp_path / "secrets"), "--signing-key", short)

    assert line.startswith(f"the signing key {short} has 5 bytes, HS256 needs 32 or more; make one with: ")
