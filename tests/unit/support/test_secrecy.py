"""The search for secrets finds planted secrets, and nothing else."""

import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator
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
from tests.support.secrecy import Secrets, collect, looks_random, private_lines, search

HARMLESS = "12:00:00 INFO a request of 4711 bytes, 3f2504e0-4f89-11d3-9a0c-0305e82c3301, imagenet-primary-key\n"
IN_THE_VAULT = "value in vault/cats-key.json"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed before the session's search, which would find the planted secrets."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def found(folder: Path, output: str | bytes, name: str = "server.log") -> list[str]:
    """The secrets that the search finds in an output with other, harmless lines."""
    content = output if isinstance(output, bytes) else output.encode()
    (folder / name).write_bytes(HARMLESS.encode() * 100 + content + HARMLESS.encode() * 100)
    leaks = search(folder, collect(folder))
    assert {leak.place for leak in leaks} <= {name}
    return [leak.secret for leak in leaks]


def stored(folder: Path, *values: str) -> str:
    """A random key that was stored in a vault before these values."""
    key, store = token_urlsafe(24), VaultStore(folder / "vault")
    for value in (key, *values):
        store.set("cats-key", value)
    return key


@pytest.mark.parametrize("name", ["server.log", "stack.out", "stack.err", "log", "out.jsonl", "addresses.json"])
def test_a_key_of_the_vault_is_found_in_every_output(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, f"Bearer {stored(tmp_path, 'a later version')}", name) == [IN_THE_VAULT]


@pytest.mark.parametrize("part", [slice(16), slice(5, 20), slice(-15, None)])
def test_a_part_of_a_key_is_found(tmp_path: Path, part: slice) -> None:
    assert found(tmp_path, f"the key {stored(tmp_path)[part]}... is wrong") == [IN_THE_VAULT]


def test_the_keys_of_services_are_found(tmp_path: Path) -> None:
    issued = Authority.create().issue()
    primary, secondary = token_urlsafe(24), token_urlsafe(24)
    ControlStore(tmp_path).seed_service(
        name="cats", primary_key=primary, secondary_key=secondary, chain=issued.chain, key=issued.key
    )

    assert found(tmp_path, primary) == ["primary_key in control.json"]
    assert found(tmp_path, secondary) == ["secondary_key in control.json"]
    assert "the private key in key in control.json" in found(tmp_path, issued.key)
    assert found(tmp_path, issued.chain) == []


def test_the_keys_of_functions_and_of_an_fpga_service_are_found(tmp_path: Path) -> None:
    keys, service_key = load_keys(tmp_path / "host-keys.json", ["score"]), token_urlsafe(24)
    (tmp_path / "keys.json").write_text(json.dumps({"primaryKey": service_key, "secondaryKey": token_urlsafe(24)}))

    for name, key in {"master": keys.master, "default": keys.default, "score": keys.functions["score"]}.items():
        assert found(tmp_path, f"GET /api/score?code={key}") == [f"{name} in host-keys.json"]
    assert found(tmp_path, service_key) == ["primaryKey in keys.json"]


@pytest.mark.parametrize("form", [bytes.hex, base64.b64encode, base64.urlsafe_b64encode])
def test_a_signing_key_is_found_in_every_form(tmp_path: Path, form: Callable[[bytes], bytes]) -> None:
    key = token_bytes(32)
    (tmp_path / "signing.key").write_bytes(key)

    assert found(tmp_path, form(key)) == ["signing.key"]


@pytest.mark.parametrize("line", [0, 1])
def test_a_piece_of_a_private_key_is_found(tmp_path: Path, line: int) -> None:
    Authority.create().save(tmp_path)
    piece = list(private_lines((tmp_path / "ca.key").read_bytes()))[line][:15]

    assert found(tmp_path, f"bad line {piece}") == ["the private key in ca.key"]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)], ids=["EC", "RSA"]
)
def test_only_the_private_part_of_a_key_is_found(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat
) -> None:
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
    (tmp_path / "leaf.key").write_bytes(pem)
    body = pem.partition(b"\n")[2]

    assert found(tmp_path, body) == ["the private key in leaf.key"]
    assert found(tmp_path, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)) == []
    # The beginning is the same in all keys of the kind.
    assert found(tmp_path, body[:8]) == []


def test_an_ed25519_key_is_found(tmp_path: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "leaf.pem").write_bytes(pem)

    assert found(tmp_path, pem.splitlines()[1]) == ["the private key in leaf.pem"]


def test_tokens_and_private_keys_that_were_never_stored_are_found(tmp_path: Path) -> None:
    token = tokens.issue(token_bytes(32), resource="https://vault.azure.net", now=time.time()).value
    pem = Authority.create().issue().key

    assert found(tmp_path, f"Authorization: Bearer {token}") == ["a token"]
    assert found(tmp_path, pem) == ["a private key"]
    assert found(tmp_path, json.dumps(pem.decode())) == ["a private key"]


def test_nothing_is_found_in_harmless_output(tmp_path: Path) -> None:
    Authority.create().save(tmp_path)
    stored(tmp_path)
    load_keys(tmp_path / "host-keys.json", ["score"])

    assert len(collect(tmp_path).origins) == 6
    assert found(tmp_path, "-----BEGIN PRIVATE KEY----- is no certificate") == []
    assert found(tmp_path, "", "empty.log") == []


@pytest.mark.parametrize("value", [token_hex(16), token_urlsafe(24), token_urlsafe(12)])
def test_random_values_are_secrets(value: str) -> None:
    assert looks_random(value)


@pytest.mark.parametrize(
    "literal",
    ["k1", "the value", "imagenet-primary-key", "0123456789abcdef0123", "a" * 40, "value with 5 blanks in it"],
)
def test_literals_of_tests_are_not_secrets(literal: str) -> None:
    assert not looks_random(literal)


def test_damaged_and_missing_state_is_skipped(tmp_path: Path) -> None:
    for name, content in {"control.json": b"[]", "keys.json": b"{", "a.json": b"\xff", "b.key": b"\0"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "missing.key").symlink_to(tmp_path / "nowhere")

    assert collect(tmp_path) == Secrets()


def test_the_intentionally_printed_key_is_only_accepted_in_its_line(tmp_path: Path) -> None:
    key = load_keys(tmp_path / "host-keys.json", []).default
    announced = f"  {'x-functions-key':<26}{key}\n"

    assert found(tmp_path, announced, "stack.out") == []
    assert found(tmp_path, announced + key, "stack.out") == ["default in host-keys.json"]
    (tmp_path / "stack.out").unlink()
    assert found(tmp_path, announced, "host.log") == ["default in host-keys.json"]


def test_the_place_is_named_with_its_test(tmp_path: Path) -> None:
    key = stored(tmp_path)
    (tmp_path / "server.log").write_text(f"\n==== tests/test_a.py::test_b\nthe {key} is\n==== c\n")

    [leak] = search(tmp_path, collect(tmp_path))

    assert str(leak) == f"{IN_THE_VAULT} is in server.log, tests/test_a.py::test_b"
