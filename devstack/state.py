"""What the local stack keeps between its starts: a development CA, certificates, keys, and Key Vault's secrets.

::

    state/ca.pem, ca.key          the development CA, which every client here trusts
    state/signing.key             what the identity endpoint signs its tokens with
    state/vault/                  Key Vault's secrets, and vault.pem, vault.key for its TLS
    state/fpga/                   certificate.pem, certificate.key and keys.json of the FPGA service

The folder appears whole or not at all: it is made under another name, and renamed.
"""

import datetime as dt
import json
import secrets
import shutil
from pathlib import Path

from cryptography import x509

from devstack.authority import Authority, Issued
from devstack.tokens import read_signing_key
from devstack.vault.errors import DamagedStore
from devstack.vault.store import VaultStore

PEM = "application/x-pem-file"

# The FPGA service's certificate is made anew at a start this long before its end.
_RENEW_BEFORE = dt.timedelta(days=7)
_TEN_YEARS = dt.timedelta(days=3650)


class DamagedState(Exception):
    """The state folder cannot be used; the message names the file and the remedy."""


class State:
    """The state folder's files, by what they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.signing_key = folder / "signing.key"
        self.vault = folder / "vault" / "secrets"
        self.vault_certificate = folder / "vault" / "vault.pem"
        self.vault_key = folder / "vault" / "vault.key"
        self.fpga_certificate = folder / "fpga" / "certificate.pem"
        self.fpga_certificate_key = folder / "fpga" / "certificate.key"
        self.fpga_keys = folder / "fpga" / "keys.json"


def prepare(folder: Path) -> State:
    """Make the state at the first start; check it, and renew what is about to expire, at later ones.

    Raises:
        DamagedState: a file is missing or holds something else.
    """
    if not folder.exists():
        _make(folder)
    state = State(folder)
    try:
        authority = Authority.load(folder)
        read_signing_key(state.signing_key)
        _check_keys(state)
        for file in (state.vault_certificate, state.vault_key, state.fpga_certificate_key):
            file.read_bytes()
        store = VaultStore(state.vault)
        if _expires(state.fpga_certificate) < dt.datetime.now(dt.UTC) + _RENEW_BEFORE:
            _certify_fpga(state, authority, store)
    except (OSError, ValueError, DamagedStore) as error:
        what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
        raise DamagedState(
            f"The state folder {folder} is damaged ({what}). Delete it, and the next start makes a new one:"
            f" rm -r {folder}"
        ) from error
    return state


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    state = State(fresh)
    for file in (state.vault_certificate, state.fpga_certificate):
        file.parent.mkdir(parents=True)
    authority = Authority.create()
    authority.save(fresh)
    _write_secret(state.signing_key, secrets.token_bytes(32))
    vault = authority.issue(valid_for=_TEN_YEARS)
    state.vault_certificate.write_bytes(vault.chain)
    _write_secret(state.vault_key, vault.key)
    store = VaultStore(state.vault)
    _make_keys(state, store)
    _certify_fpga(state, authority, store)
    fresh.rename(folder)


def _make_keys(state: State, store: VaultStore) -> None:
    keys = {"primaryKey": secrets.token_urlsafe(24), "secondaryKey": secrets.token_urlsafe(24)}
    _write_secret(state.fpga_keys, json.dumps(keys).encode())
    store.set("imagenet-primary-key", keys["primaryKey"])
    store.set("imagenet-secondary-key", keys["secondaryKey"])


def _certify_fpga(state: State, authority: Authority, store: VaultStore) -> None:
    """Give the FPGA service a certificate, and Key Vault the pin (and the whole, for whoever rotates it)."""
    issued: Issued = authority.issue()
    _write_secret(state.fpga_certificate_key, issued.key)
    state.fpga_certificate.write_bytes(issued.chain)
    store.set("imagenet-certificate", (issued.key + issued.chain).decode(), content_type=PEM)
    store.set("imagenet-pins", issued.certificate.decode(), content_type=PEM)


def _check_keys(state: State) -> None:
    keys = json.loads(state.fpga_keys.read_bytes())
    if not isinstance(keys, dict) or not {"primaryKey", "secondaryKey"} <= keys.keys():
        raise ValueError(f"{state.fpga_keys.name} holds no primaryKey and secondaryKey")


def _expires(certificate: Path) -> dt.datetime:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _write_secret(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)
