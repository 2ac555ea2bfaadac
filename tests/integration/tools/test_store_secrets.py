"""The first secrets of a service, with the real SDK, a local Key Vault and a real service."""

import asyncio
import base64
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import NoEncryption, load_pem_private_key, pkcs12

from devstack.authority import Authority, Issued, fingerprint
from tests.conftest import ROOT
from tests.support.control_planes import Response, Script
from tests.support.devstack.processes import unused_port
from tests.support.inference_service import KEYS, StartService
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault
from tools.store_secrets.command import main

CHALLENGE = Response(
    {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}},
    401,
    {"WWW-Authenticate": 'Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net"'},
)

type Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as vault:
        yield vault


@pytest.fixture
def vault(local: LocalVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalVault]:
    monkeypatch.setenv("IDENTITY_ENDPOINT", local.identity)
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    yield local
    local.fault()


@pytest.fixture
def files(tmp_path: Path, issued: Issued) -> Path:
    """A folder with what a service's owner hands over."""
    contents = {"first.txt": f"{KEYS.primary}\n", "second.txt": KEYS.secondary, "wrong.txt": "another-key"}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    # With the private key, as people do: it must not get into the vault.
    (tmp_path / "pins.pem").write_bytes(issued.key + issued.certificate)
    return tmp_path


@pytest.fixture
def run(vault: LocalVault, capsys: pytest.CaptureFixture[str], files: Path) -> Run:
    """Runs the command for a service of that name and port; gives the code, and all that it printed."""

    async def command(
        name: str, port: int, *more: str | Path, url: str = "", ca: Path = vault.ca, **own: str
    ) -> tuple[int, str]:
        values = {"KEY_VAULT_URL": url or vault.address, "KEY_VAULT_CA_FILE": str(ca), "SERVICES": "other"}
        prefix = f"SERVICE__{name.upper()}__"
        values |= {f"{prefix}ADDRESS": "localhost", f"{prefix}PORT": str(port), "SERVICE__OTHER__ADDRES": "x"}
        values |= {f"{prefix}{key}": value for key, value in own.items()}
        path = files / "settings.json"
        path.write_text(json.dumps({"Values": values}))
        code = await asyncio.to_thread(main, [name, "--settings", str(path), *map(str, more)])
        captured = capsys.readouterr()
        printed = captured.out + captured.err
        for secret in (KEYS.primary, KEYS.secondary, "another-key", "PRIVATE KEY"):
            assert secret not in printed
        return code, " ".join(printed.split())

    return command


def given(files: Path, primary: str = "first.txt", secondary: str = "second.txt") -> list[str | Path]:
    keys: list[str | Path] = ["--primary-key", files / primary, "--secondary-key", files / secondary]
    return [*keys, "--pins", files / "pins.pem"]


async def test_secrets_are_checked_then_stored_and_settings_printed(
    start: StartService, run: Run, files: Path, vault: LocalVault, issued: Issued
) -> None:
    port = (await start()).port

    code, printed = await run("cats", port, *given(files))
    assert code == 0, printed
    assert "key cats-primary-key accepted" in printed
    assert "key cats-secondary-key accepted" in printed
    assert "cats-pins: new; --write stores it" in printed
    code, printed = await run("cats", port)
    assert code == 1, "a check alone stores nothing"
    assert "Key Vault has no secret 'cats-primary-key'." in printed

    code, printed = await run("cats", port, *given(files), "--write")
    assert code == 0, printed
    assert vault.get("cats-pins") == issued.certificate.decode()
    assert (vault.get("cats-primary-key"), vault.get("cats-secondary-key")) == (KEYS.primary, KEYS.secondary)
    assert '"SERVICES": "other,cats"' in printed
    assert f"--settings SERVICES=other,cats KEY_VAULT_URL={vault.address} SERVICE__CATS__ADDRESS=localhost" in printed
    assert "OTHER__ADDRES" not in printed

    code, printed = await run("cats", port, *given(files), "--write")
    assert (code, printed.count("unchanged ")) == (0, 3)
    assert (await run("cats", port))[0] == 0, "what is stored passes"


async def test_a_presented_certificate_is_shown_and_pinned_by_its_fingerprint_only(
    start: StartService, run: Run, files: Path, vault: LocalVault, issued: Issued
) -> None:
    port = (await start()).port
    own, keys = fingerprint(issued.certificate), given(files)[:4]

    code, printed = await run("dogs", port, *keys, "--write")
    assert code == 1
    assert f"SHA-256 {own}" in printed
    assert "Ask the service's owner for the fingerprint" in printed
    code, printed = await run("dogs", port, *keys, "--pin", own[:-1] + f"{int(own[-1], 16) ^ 1:x}", "--write")
    assert code == 1
    assert "another fingerprint than --pin" in printed
    with pytest.raises(AssertionError):
        vault.get("dogs-primary-key")

    colons = ":".join(own[i : i + 2] for i in range(0, 64, 2)).upper()
    code, printed = await run("dogs", port, *keys, "--pin", colons, "--write")
    assert code == 0, printed
    assert vault.get("dogs-pins") == issued.certificate.decode()


@pytest.mark.parametrize(
    ("own", "keys", "fault"),
    [
        ({}, ("wrong.txt", "second.txt"), "FAILED at key birds-primary-key: The inference service refuses"),
        ({}, ("first.txt", "wrong.txt"), "FAILED at key birds-secondary-key: The inference service refuses"),
        ({}, ("pins.pem", "second.txt"), "'birds-primary-key' has characters other than printable ASCII"),
        (
            {},
            ("none.txt", "second.txt"),
            "none.txt' cannot be read: No such file or directory. Correct the command line",
        ),
        ({"TLS_NAME": "else.example.com"}, (), "for another name (service-name-mismatch)"),
        ({"MODEL": "no-such-model"}, (), "rejects the gateway's call (service-rejected)"),
        ({"INPUT_FORM": "discovered", "INPUT_NAME": "pixels"}, (), "INPUT_NAME is 'pixels'; the model's inputs are"),
        ({"OUTPUT_NAME": "classes"}, (), "OUTPUT_NAME is 'classes'"),
        ({"ADDRES": "x"}, (), "SERVICE__BIRDS__ADDRES is not known"),
        ({"AUTH": "none"}, (), "The settings use no keys"),
    ],
)
async def test_a_service_that_does_not_fit_is_named(
    start: StartService, run: Run, files: Path, own: dict[str, str], keys: tuple[str, ...], fault: str
) -> None:
    code, printed = await run("birds", (await start()).port, *given(files, *keys), **own)

    assert code == 1
    assert fault in printed
    assert "az functionapp" not in printed


async def test_a_certificate_that_is_not_trusted_or_expired_is_named(
    start: StartService, run: Run, files: Path, authority: Authority
) -> None:
    other = authority.issue()
    port = (await start(other)).port
    code, printed = await run("fish", port, *given(files), "--write")
    assert code == 1
    assert "certificate is not trusted (service-untrusted)" in printed
    assert fingerprint(other.certificate) in printed

    expired = authority.issue(valid_for=-dt.timedelta(days=1))
    (files / "pins.pem").write_bytes(authority.pem)
    code, printed = await run("fish", (await start(expired)).port, *given(files), "--write")
    assert code == 1
    assert "(service-certificate-expired)" in printed


async def test_a_vault_that_cannot_be_used_is_named(
    start: StartService, run: Run, files: Path, vault: LocalVault, authority: Authority, issued: Issued
) -> None:
    port = (await start()).port
    code, printed = await run("owls", port, *given(files), url=f"https://localhost:{unused_port()}")
    assert (code, "Key Vault did not respond." in printed) == (1, True)
    vault.fault(mode="forbid")
    code, printed = await run("owls", port, *given(files))
    assert (code, "refuses the gateway's identity (vault-forbidden)" in printed) == (1, True)
    vault.fault()
    (files / "leaf.key").write_bytes(issued.key)
    (files / "leaf.pem").write_bytes(issued.chain)
    (files / "ca.pem").write_bytes(authority.pem)
    with Script(files / "leaf.pem", files / "leaf.key") as script:
        said = {"code": "Unauthorized", "message": "AKV10032: Invalid issuer. Expected one of a, found b."}
        script.responses = [CHALLENGE, Response({"error": said}, 401)]
        code, printed = await run("owls", port, *given(files), url=script.url, ca=files / "ca.pem")
    assert code == 1
    assert "belongs to another tenant than Key Vault" in printed
    assert "az login, with --tenant" in printed

    code, printed = await run("owls", unused_port(), *given(files))
    assert (code, "cannot be reached (service-unreachable)" in printed) == (1, True)

    # The vault is reachable, the service only from Azure.
    code, printed = await run("owls", unused_port(), *given(files), "--write", "--no-check")
    assert (code, vault.get("owls-primary-key")) == (0, KEYS.primary)


def test_a_wrong_command_line_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, message in (
        (["--no-check"], "--no-check is for --write"),
        (["--ask-keys", "--primary-key", "a"], "exclude each other"),
        (["--primary-key", "-", "--pins", "-"], "can be read once only"),
        (["--set", "ADDRESS"], "KEY=VALUE is expected"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    parameters = ["--settings", str(ROOT / "infra" / "main.parameters.json"), "--vault", "kv", "--no-check", "--write"]
    assert main(parameters) == 1
    assert "SERVICE_ADDRESS is not set in this shell" in capsys.readouterr().out
    assert main(["--settings", str(tmp_path / "none.json")]) == 1
    assert "cannot be read" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "never printed" in capsys.readouterr().out


async def test_a_client_certificate_in_pkcs12_is_stored_in_base64(
    start: StartService, run: Run, files: Path, vault: LocalVault, issued: Issued
) -> None:
    key = load_pem_private_key(issued.key, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    data = pkcs12.serialize_key_and_certificates(None, key, leaf, None, NoEncryption())
    (files / "client.pfx").write_bytes(data)
    more = ["--client-certificate", files / "client.pfx", "--write"]

    # The local service asks for no client certificate: that the connection is made with one is all that shows.
    code, printed = await run(
        "bees", (await start()).port, *given(files), *more, CLIENT_CERTIFICATE_SECRET="bees-client"
    )

    assert code == 0, printed
    assert base64.b64decode(vault.get("bees-client")) == data


async def test_a_local_stack_s_settings_say_where_its_identity_is(
    start: StartService, run: Run, files: Path, local: LocalVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    path, port = files / "local.json", (await start()).port
    own = {"SERVICE__CATS__ADDRESS": "localhost", "SERVICE__CATS__PORT": f"{port}", "KEY_VAULT_CA_FILE": f"{local.ca}"}
    values = {"SERVICES": "cats", "KEY_VAULT_URL": local.address, "IDENTITY_ENDPOINT": local.identity, **own}
    path.write_text(json.dumps({"Values": values}))
    more = ("--settings", str(path), "--identity", "managed")

    code, printed = await run("cats", port, *more, *given(files))
    monkeypatch.delenv("IDENTITY_HEADER")
    refused, said = await run("cats", port, *more)

    assert (code, refused) == (0, 1), printed
    assert "vault can be read" in printed
    assert "A local stack's needs IDENTITY_HEADER" in said


@pytest.mark.parametrize("pin", ["3f8a", "zz" * 32])
async def test_a_part_of_a_fingerprint_is_no_fingerprint(run: Run, pin: str) -> None:
    with pytest.raises(SystemExit) as ended:
        await run("cats", 1, "--pin", pin)

    assert ended.value.code == 2


def test_without_the_packages_it_says_how_to_get_them() -> None:
    # Isolated, and without site-packages: as the command that `azd up` prints runs on a machine of its own.
    run = "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('tools.store_secrets', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-ISc", run], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "A package is missing: " in ended.stderr
    assert ".venv/bin/python -m pip install -r requirements.txt -c constraints.txt" in ended.stderr
    assert "Traceback" not in ended.stderr
