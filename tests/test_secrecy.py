"""The search for secrets finds what was planted, and nothing else."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes, token_hex, token_urlsafe

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from devstack import tokens
from devstack.authority import Authority
from devstack.control.store import ControlStore
from devstack.host.keys import load_keys
from devstack.vault.store import VaultStore
from tests.conftest import ROOT
from tests.secrecy import CAPTURED, SEARCH, Secrets, collect, looks_random, private_lines, search

HARMLESS = "12:00:00 INFO a request of 4711 bytes, 3f2504e0-4f89-11d3-9a0c-0305e82c3301, imagenet-primary-key\n"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone before the whole session's search, which would find what is planted here."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def found(folder: Path, said: str | bytes, name: str = "server.log") -> list[str]:
    """What the search finds in an output of a folder's programs, beside much that is harmless."""
    content = said if isinstance(said, bytes) else said.encode()
    (folder / name).write_bytes(HARMLESS.encode() * 100 + content + HARMLESS.encode() * 100)
    leaks = search(folder, collect(folder))
    assert {leak.place for leak in leaks} <= {name}
    return [leak.secret for leak in leaks]


# Each kind of secret.


@pytest.mark.parametrize("name", ["server.log", "stack.out", "stack.err", "log", "out.jsonl", "addresses.json"])
def test_a_key_of_the_vault_is_found_in_every_output(tmp_path: Path, name: str) -> None:
    key = token_urlsafe(24)
    VaultStore(tmp_path / "vault").set("cats-key", key)

    assert found(tmp_path, f"Bearer {key}", name) == ["the secret cats-key in vault/cats-key.json"]


def test_an_old_version_of_a_secret_is_still_one(tmp_path: Path) -> None:
    store, old = VaultStore(tmp_path / "vault"), token_urlsafe(24)
    store.set("cats-key", old)
    store.set("cats-key", token_urlsafe(24))
    store.delete("cats-key")

    assert found(tmp_path, old) == ["the secret cats-key in vault/cats-key.json"]


@pytest.mark.parametrize("part", [slice(16), slice(5, 20), slice(-15, None)])
def test_a_part_of_a_key_is_enough(tmp_path: Path, part: slice) -> None:
    key = token_urlsafe(24)
    VaultStore(tmp_path / "vault").set("cats-key", key)

    assert found(tmp_path, f"the key {key[part]}... is wrong") == ["the secret cats-key in vault/cats-key.json"]


def test_the_keys_of_services_are_found(tmp_path: Path) -> None:
    issued = Authority.create().issue()
    primary, secondary = token_urlsafe(24), token_urlsafe(24)
    ControlStore(tmp_path).seed_service(
        name="cats", primary_key=primary, secondary_key=secondary, chain=issued.chain, key=issued.key
    )

    assert found(tmp_path, primary) == ["the primary_key of a service in control.json"]
    assert found(tmp_path, secondary) == ["the secondary_key of a service in control.json"]
    assert "the private key of a service in control.json" in found(tmp_path, issued.key)
    assert found(tmp_path, issued.chain) == []


def test_the_keys_of_functions_are_found(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "host-keys.json", ["score"])

    for name, key in {"master": keys.master, "default": keys.default, "score": keys.functions["score"]}.items():
        assert found(tmp_path, f"GET /api/score?code={key}") == [f"the key {name} in host-keys.json"]


def test_the_keys_of_an_fpga_service_are_found(tmp_path: Path) -> None:
    key = token_urlsafe(24)
    (tmp_path / "keys.json").write_text(json.dumps({"primaryKey": key, "secondaryKey": token_urlsafe(24)}))

    assert found(tmp_path, key) == ["the key primaryKey in keys.json"]


def test_a_signing_key_is_found_in_every_form(tmp_path: Path) -> None:
    key = token_bytes(32)
    (tmp_path / "signing.key").write_bytes(key)

    for form in (key.hex(), base64.b64encode(key), base64.urlsafe_b64encode(key)):
        assert found(tmp_path, form) == ["the signing key signing.key"]


# Private keys.


@pytest.mark.parametrize("line", [0, 1])
def test_a_piece_of_a_private_key_is_found(tmp_path: Path, line: int) -> None:
    Authority.create().save(tmp_path)
    piece = list(private_lines((tmp_path / "ca.key").read_bytes()))[line][:15]

    assert found(tmp_path, f"bad line {piece}") == ["the private key in ca.key"]


def test_the_private_key_of_a_certificate_in_the_vault_is_found_and_the_certificate_is_no_secret(
    tmp_path: Path,
) -> None:
    issued = Authority.create().issue()
    VaultStore(tmp_path / "vault").set("cats-certificate", (issued.key + issued.chain).decode())
    whole = repr(issued.key + issued.chain)

    assert "the secret cats-certificate" in " ".join(found(tmp_path, whole))
    assert found(tmp_path, repr(issued.chain)) == []


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)], ids=["EC", "RSA"]
)
def test_what_is_private_in_a_key_is_searched_for_and_what_is_public_is_not(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat
) -> None:
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
    (tmp_path / "leaf.key").write_bytes(pem)
    body = pem.partition(b"\n")[2]

    assert found(tmp_path, body) == ["the private key in leaf.key"]
    assert found(tmp_path, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)) == []
    # The begin of one key is that of all its kind.
    assert found(tmp_path, body[:8]) == []


def test_an_ed25519_key_is_found(tmp_path: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "leaf.pem").write_bytes(pem)

    assert found(tmp_path, pem.splitlines()[1]) == ["the private key in leaf.pem"]


# What no state tells of.


def test_a_token_is_found(tmp_path: Path) -> None:
    token = tokens.issue(token_bytes(32), resource="https://vault.azure.net", now=time.time()).value

    assert found(tmp_path, f"Authorization: Bearer {token}") == ["a token"]


def test_a_private_key_that_was_never_stored_is_found(tmp_path: Path) -> None:
    pem = Authority.create().issue().key

    assert found(tmp_path, pem) == ["a private key"]
    assert found(tmp_path, json.dumps(pem.decode())) == ["a private key"]


# What is none.


def test_nothing_is_found_in_what_is_harmless(tmp_path: Path) -> None:
    Authority.create().save(tmp_path)
    VaultStore(tmp_path / "vault").set("cats-key", token_urlsafe(24))
    load_keys(tmp_path / "host-keys.json", ["score"])

    assert len(collect(tmp_path).origins) == 6
    assert found(tmp_path, "-----BEGIN PRIVATE KEY----- is no certificate") == []


@pytest.mark.parametrize("made", [token_hex(16), token_urlsafe(24), token_urlsafe(12)])
def test_random_values_are_secrets(made: str) -> None:
    assert looks_random(made)


@pytest.mark.parametrize(
    "literal",
    ["k1", "the value", "imagenet-primary-key", "0123456789abcdef0123", "a" * 40, "value with 5 blanks in it"],
)
def test_literals_of_tests_are_none(literal: str) -> None:
    assert not looks_random(literal)


def test_damaged_and_missing_state_tells_nothing(tmp_path: Path) -> None:
    for name, content in {"control.json": b"[]", "keys.json": b"{", "a.json": b"\xff", "b.key": b"\0"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone.key").symlink_to(tmp_path / "nowhere")

    assert collect(tmp_path).origins == set()


def test_the_one_key_that_is_printed_on_purpose_is_accepted_there_alone(tmp_path: Path) -> None:
    key = load_keys(tmp_path / "host-keys.json", []).default
    announced = f"  {'x-functions-key':<26}{key}\n"

    assert found(tmp_path, announced, "stack.out") == []
    assert found(tmp_path, announced + key, "stack.out") == ["the key default in host-keys.json"]
    (tmp_path / "stack.out").unlink()
    assert found(tmp_path, announced, "host.log") == ["the key default in host-keys.json"]


# The search itself.


def test_a_secret_anywhere_in_a_large_output_is_found_with_its_test(tmp_path: Path) -> None:
    key = token_urlsafe(24).encode()
    VaultStore(tmp_path / "vault").set("cats-key", key.decode())
    secrets = collect(tmp_path)
    # Around the ends of the parts in which a file is read, and at its own.
    for before in (0, 3_999_990, 4_000_000, 8_100_000):
        (tmp_path / "server.log").write_bytes(b"\n==== tests/test_a.py::test_b\n" + b"x" * before + key)

        [leak] = search(tmp_path, secrets)
        assert leak.place == "server.log, tests/test_a.py::test_b"


def test_an_empty_output_and_no_secrets_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "server.log").touch()
    (tmp_path / "other.log").write_bytes(b"short")

    assert search(tmp_path, Secrets()) == []
    assert search(tmp_path, collect(tmp_path)) == []


# The plugin, in a session of its own.

A_TEST_THAT_TELLS = """
import logging
import sys
from pathlib import Path

from devstack.vault.store import VaultStore


def test_it(tmp_path):
    VaultStore(tmp_path / "vault").set("cats-key", Path({key!r}).read_text())
    {statement}
"""


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("print(Path({key!r}).read_text())", True),
        ("print(Path({key!r}).read_text(), file=sys.stderr)", True),
        ("logging.getLogger('cats').warning('the key is %s', Path({key!r}).read_text())", True),
        ("raise ValueError(Path({key!r}).read_text())", True),
        ("print('nothing')", False),
    ],
    ids=["stdout", "stderr", "log", "failure", "nothing"],
)
def test_what_a_test_says_is_searched_when_all_have_run(tmp_path: Path, statement: str, told: bool) -> None:
    key = tmp_path / "key"
    key.write_text(token_urlsafe(24))
    test = A_TEST_THAT_TELLS.format(key=str(key), statement=statement.format(key=str(key)))
    (tmp_path / "test_z.py").write_text(test)
    shutil.copy(ROOT / "tests" / SEARCH, tmp_path)
    (tmp_path / "pytest.ini").touch()

    plugins = ["-p", "tests.secrecy", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plugins,
            "-v",
            "-W",
            "error",
            f"--basetemp={tmp_path / 'base'}",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    # The file that sorts first runs last.
    assert 0 < ended.stdout.index("test_z.py::test_it") < ended.stdout.index(f"{SEARCH}::"), ended.stdout + ended.stderr
    leak = f"cats-key.json is in {CAPTURED}, test_z.py::test_it"
    assert (leak in ended.stdout) == told
    assert (ended.returncode != 0) == told
