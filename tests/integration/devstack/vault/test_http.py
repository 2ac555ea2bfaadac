"""The REST API as plain HTTP, faults, and ``python -m devstack.vault`` as a process."""

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from devstack import tokens
from devstack.vault import VaultStore
from tests.integration.devstack.vault.conftest import API
from tests.support.devstack.processes import ServerProcess, start_error, wait_until
from tests.support.devstack.server_files import ServerFiles
from tests.support.key_vault import RESOURCE, LocalVault

VAULT, FAULTS = "devstack.vault", "/_devstack/faults"


def error(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()["error"]


HINT = (
    "If you recently deleted this secret you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)
DELETED = (
    "Secret deleted is currently in a deleted but recoverable state, and its name cannot be reused; "
    "in this state, the secret can only be recovered or purged."
)
UNKNOWN = f"A secret with (name/id) unknown was not found in this key vault. {HINT}"
NO_OPERATION = "Key Vault's API of secrets has no such operation."
VERSION = "The specified version (6.0) is not recognized. Consider using the latest supported version (2026-04-01)."
DISABLED = "Operation get is not allowed on a disabled secret."


@pytest.mark.parametrize(
    ("request_line", "status", "code", "message", "inner"),
    [
        ("GET /secrets/unknown/", 404, "SecretNotFound", UNKNOWN, None),
        ("GET /deletedsecrets/unknown", 404, "SecretNotFound", "Deleted Secret not found: unknown", None),
        ("GET /secrets/disabled/", 403, "Forbidden", DISABLED, "SecretDisabled"),
        ("PUT /secrets/deleted", 409, "Conflict", DELETED, "ObjectIsDeletedButRecoverable"),
        ("GET /secrets/a_b", 400, "BadParameter", "The request URI contains an invalid name: a_b", None),
        ("GET /secrets 6.0", 400, "BadParameter", VERSION, None),
        ("GET /keys", 404, "NotFound", NO_OPERATION, None),
        ("GET /deletedsecrets/key/", 404, "NotFound", NO_OPERATION, None),
        ("POST /secrets/key", 405, "MethodNotAllowed", NO_OPERATION, None),
    ],
)
def test_errors_have_the_codes_and_messages_of_the_service(
    http: httpx.Client, request_line: str, status: int, code: str, message: str, inner: str | None
) -> None:
    http.put("/secrets/disabled", json={"value": "v", "attributes": {"enabled": False}})
    http.put("/secrets/deleted", json={"value": "v"})
    http.delete("/secrets/deleted")
    method, path, *version = request_line.split()

    answer = http.request(method, path, json={"value": "v"}, params={"api-version": version[0]} if version else {})

    innererror = {"innererror": {"code": inner}} if inner else {}
    assert error(answer) == (status, {"code": code, "message": message, **innererror})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The request body is not valid JSON."),
        (b'{"value": "\\ud83d"}', "The request body is not valid JSON."),
        (b"[]", "The request body is not a JSON object."),
        (b'{"value": 1}', "Property value has invalid value"),
        (b'{"value": "v", "tags": []}', "Property tags has invalid value"),
        (b'{"value": "v", "attributes": {"enabled": 1}}', "Property enabled has invalid value"),
        (b'{"value": "' + b"x" * 25_601 + b'"}', "Secret is beyond the maximum permitted length of 25600 characters."),
        (b" " * (16 * 1024 * 1024 + 1), "The request body is larger than 16777216 bytes."),
    ],
)
def test_an_invalid_body_is_refused(http: httpx.Client, body: bytes, message: str) -> None:
    assert error(http.put("/secrets/bad-body", content=body)) == (400, {"code": "BadParameter", "message": message})
    assert http.get("/secrets/bad-body").status_code == 404


def test_a_missing_or_invalid_token_is_refused_and_challenged(http: httpx.Client, vault: LocalVault) -> None:
    token = vault.files.token
    refused = {
        token(RESOURCE, key=bytes(32)): "AKV10046: Unable to resolve the key used for signature validation.",
        token(
            RESOURCE, now=time.time() - 2 * tokens.DAY
        ): "IDX10223: Lifetime validation failed. The token is expired.",
        token(RESOURCE, now=time.time() + 3600): "IDX10222: Lifetime validation failed. The token is not yet valid.",
        token("https://management.azure.com"): "AKV10022: Invalid audience. "
        "Expected https://vault.azure.net, found: https://management.azure.com.",
        token(RESOURCE, tenant="other"): "AKV10032: Invalid issuer. "
        f"Expected one of https://sts.windows.net/{tokens.TENANT}/, found https://sts.windows.net/other/.",
        jwt.encode({"aud": RESOURCE}, "", algorithm="none"): "AKV10046: Unable to resolve the key used for signature "
        "validation.",
        "nonsense": "IDX12741: the token is not a well-formed JWT.",
    }
    headers = {f"Bearer {bearer}": message for bearer, message in refused.items()}
    headers |= dict.fromkeys(("", "Basic abc", "Bearer a b"), "AKV10000: Request is missing a Bearer or PoP token.")
    for header, message in headers.items():
        answer = http.get("/secrets/a_b", headers={"Authorization": header})

        assert answer.status_code == 401
        assert answer.json()["error"]["message"].endswith(message)
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer authorization="https://login.microsoftonline.com/{tokens.TENANT}", resource="{RESOURCE}"'
        )


@pytest.fixture
def faulty(http: httpx.Client) -> Iterator[httpx.Client]:
    http.put("/secrets/faulty", json={"value": "v"}).raise_for_status()
    yield http
    http.delete(FAULTS).raise_for_status()


def test_throttled_requests_have_a_retry_after(faulty: httpx.Client) -> None:
    faulty.put(FAULTS, json={"mode": "throttle", "retry_after": 7, "count": 2, "secrets": ["Faulty"]})

    # Neither another secret nor a request without a token uses the fault up.
    assert faulty.get("/secrets").status_code == 200
    assert faulty.get("/secrets/faulty", headers={"Authorization": ""}).status_code == 401
    answer = faulty.get("/secrets/faulty")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["code"] == "Throttled"
    remaining = {"mode": "throttle", "retry_after": 7, "delay": 1.0, "count": 1, "secrets": ["Faulty"]}
    assert faulty.get(FAULTS).json() == remaining
    assert [faulty.get("/secrets/FAULTY").status_code for _ in range(2)] == [429, 200]


def test_forbidden_failing_hanging_and_slow_requests(faulty: httpx.Client) -> None:
    faulty.put(FAULTS, json={"mode": "forbid"})
    status, found = error(faulty.get("/secrets"))
    assert (status, found["code"], found["innererror"]) == (403, "Forbidden", {"code": "ForbiddenByPolicy"})
    assert "does not have secrets list permission on key vault '127.0.0.1;" in found["message"]

    faulty.put(FAULTS, json={"mode": "error", "count": 1})
    assert error(faulty.get("/secrets/faulty"))[1]["code"] == "InternalServerError"

    faulty.put(FAULTS, json={"mode": "hang", "secrets": ["faulty"]})
    with pytest.raises(httpx.ReadTimeout):
        faulty.get("/secrets/faulty", timeout=0.3)
    assert faulty.get("/secrets").status_code == 200

    faulty.put(FAULTS, json={"mode": "slow", "delay": 0.05, "count": 1})
    assert faulty.put("/secrets/faulty", json={"value": "late"}).json()["value"] == "late"
    assert faulty.delete(FAULTS).json() == faulty.get(FAULTS).json() == {}


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    """The files of a vault that is started by the test."""
    return ServerFiles.make(tmp_path)


def start(files: ServerFiles) -> ServerProcess:
    return ServerProcess(VAULT, *files.arguments(files.folder / "secrets"), log=files.folder / "log")


def connect(files: ServerFiles, vault: ServerProcess) -> httpx.Client:
    return files.client(vault.address, RESOURCE, params=API)


def test_a_restarted_vault_has_its_secrets(files: ServerFiles) -> None:
    VaultStore(files.folder / "secrets").set("seeded", "before the first start", tags={"a": "1"})
    with start(files) as first, connect(files, first) as http:
        http.put("/secrets/added", json={"value": "over HTTP"}).raise_for_status()
        http.put("/secrets/deleted", json={"value": "v"}).raise_for_status()
        http.delete("/secrets/deleted").raise_for_status()
        http.put("/secrets/added", json={"value": "again"}, params={"note": "in-the-query"}).raise_for_status()
        http.get("/secrets/a%0Ab")
        # The line of a request follows its answer.
        wait_until(lambda: first.log.count("\n") >= 5, "five lines")
        lines = [line.split(" ", 1)[1] for line in first.log.splitlines()]
        assert lines[-2:] == ["vault PUT /secrets/added 200", "vault GET /secrets/a%0Ab 400"]
        # No write is lost by a kill.
        assert first.stop(signal.SIGKILL)[0] == -signal.SIGKILL

    with start(files) as second, connect(files, second) as http:
        assert http.get("/secrets/seeded").json()["tags"] == {"a": "1"}
        assert http.get("/secrets/added").json()["value"] == "again"
        assert len(http.get("/secrets/added/versions").json()["value"]) == 2
        assert http.get("/secrets/deleted").status_code == 404
        assert http.get("/deletedsecrets/deleted").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_silently_while_a_request_hangs(files: ServerFiles, number: signal.Signals) -> None:
    with start(files) as vault, connect(files, vault) as http, connect(files, vault) as other:
        http.put(FAULTS, json={"mode": "hang", "secrets": ["key"], "count": 2}).raise_for_status()
        answers: list[httpx.Response] = []
        hanging = threading.Thread(target=lambda: answers.append(http.get("/secrets/key", timeout=30)))
        hanging.start()
        wait_until(lambda: other.get(FAULTS).json()["count"] == 1, "the request hangs")

        assert vault.stop(number) == (0, "")

        hanging.join()
        assert [answer.status_code for answer in answers] == [503]
        assert not re.search(r"Traceback|Error|Cancel", vault.log)


def test_invalid_files_are_refused_at_the_start(files: ServerFiles, vault: LocalVault, tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    damaged, short = tmp_path / "damaged" / "key.json", tmp_path / "short.key"
    damaged.write_text('{"format": 1, "name": "key", "versions": [{"value": "hunter2"')
    short.write_bytes(b"short")
    other_key = vault.files.folder / "leaf.key"
    expected: list[tuple[list[Any], str]] = [
        (["--folder", damaged.parent], f"the vault's file {damaged} is damaged (it is not JSON): restore it"),
        (["--folder", short], f"cannot use {short} for the vault: File exists; pass a --folder"),
        (["--port", "PORT"], "port PORT on 127.0.0.1 is in use: stop the program that uses it, or choose"),
        (["--key", other_key], f"cannot serve TLS with certificate {tmp_path}/leaf.pem and key {other_key}: "),
        (["--signing-key", short], f"the signing key {short} has 5 bytes, HS256 needs 32 or more; make one with: "),
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for more, error in expected:
            line = start_error(
                VAULT, *files.arguments(tmp_path / "secrets"), *(port if each == "PORT" else each for each in more)
            )
            assert line.startswith(error.replace("PORT", port))
            assert "hunter2" not in line
