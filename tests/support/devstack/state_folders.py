"""State folders of the local stack: the contents of a valid one, damages, and the errors that describe them."""

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from devstack.authority import Authority, Issued
from devstack.control import ControlStore
from devstack.control.records import ServiceRecord
from devstack.state import CERTIFICATE, PINS, PRIMARY_KEY, SECONDARY_KEY, SERVICE, State, StateUnusable, prepare
from devstack.vault import VaultStore

SERVICES = "control/services/control.json"
FILES = ["ca.pem", "ca.key", "signing.key", "vault/vault.pem", "vault/vault.key"]
FILES += ["control/control.pem", "control/control.key"]
FILES += [f"vault/secrets/{name}.json" for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS)]
ALL = [*FILES, SERVICES]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def state_error(folder: Path) -> str:
    """The one line that explains why a state cannot be used."""
    with pytest.raises(StateUnusable) as refusal:
        prepare(folder)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def damaged(folder: Path, cause: str) -> str:
    return (
        f"The state folder {folder} is damaged ({cause}). Delete it, and the next start makes a new one,"
        f" without what you put into the vault: rm -r {folder}"
    )


def _replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 3]),
    "random bytes": lambda file: file.write_bytes(os.urandom(99)),
    "text": lambda file: file.write_text('{"a": ["letter"]}\n'),
    "a folder": _replace_by_folder,
}


def deployed(state: State) -> ServiceRecord:
    """The FPGA service's record in the control plane's store."""
    service = ControlStore(state.control).find_service(SERVICE)
    assert service
    return service


def save(state: State, service: ServiceRecord) -> None:
    ControlStore(state.control).save(service=service)


def deploy_expiring(state: State, remaining: dt.timedelta) -> Issued:
    """Give the service a certificate that expires after ``remaining``, and pin it."""
    issued = Authority.load(state.folder).issue(valid_for=remaining)
    save(state, replace(deployed(state), chain=issued.chain.decode(), key=issued.key.decode()))
    VaultStore(state.vault).set(PINS, issued.certificate.decode())
    return issued


def assert_renewed(state: State) -> None:
    store, service = VaultStore(state.vault), deployed(state)
    certificate = x509.load_pem_x509_certificate(service.chain.encode())
    key = serialization.load_pem_private_key(service.key.encode(), None)
    assert key.public_key() == certificate.public_key()
    assert certificate.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=80)
    assert x509.load_pem_x509_certificate(store.get(PINS).value.encode()) == certificate
    assert store.get(CERTIFICATE).value == service.key + service.chain
