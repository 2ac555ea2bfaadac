"""What the local stack keeps between its starts: a development CA, certificates, keys, and Key Vault's secrets.

::

    lock                          held by the stack that runs
    state/ca.pem, ca.key          the development CA, which every client here trusts
    state/signing.key             what the identity endpoint signs its tokens with
    state/vault/                  Key Vault's secrets, and vault.pem, vault.key for its TLS
    state/fpga/                   certificate.pem, certificate.key and keys.json of the FPGA service

``state`` appears whole or not at all: it is made under another name, and renamed. What is in the vault belongs to
whoever works with the stack: it is made once, and only the certificate's secrets are written again, when it is renewed.
"""

import contextlib
import datetime as dt
import fcntl
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from devstack.authority import Authority
from devstack.vault.errors import DamagedStore
from devstack.vault.files import write_atomically
from devstack.vault.store import VaultStore

PEM = "application/x-pem-file"

PRIMARY_KEY = "imagenet-primary-key"
SECONDARY_KEY = "imagenet-secondary-key"
CERTIFICATE = "imagenet-certificate"
PINS = "imagenet-pins"

# The FPGA service's certificate is made anew at a start this long before its end.
RENEW_BEFORE = dt.timedelta(days=7)

_TEN_YEARS = dt.timedelta(days=3650)
_SIGNING_KEY_BYTES = 32


class StateUnusable(Exception):
    """The state cannot be used; the message is one line that names the cause and the remedy."""


class State:
    """The state folder's files, by what they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.ca_key = folder / "ca.key"
        self.signing_key = folder / "signing.key"
        self.vault = folder / "vault" / "secrets"
        self.vault_certificate = folder / "vault" / "vault.pem"
        self.vault_key = folder / "vault" / "vault.key"
        self.fpga_certificate = folder / "fpga" / "certificate.pem"
        self.fpga_certificate_key = folder / "fpga" / "certificate.key"
        self.fpga_keys = folder / "fpga" / "keys.json"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[State]:
    """Prepare the state in ``folder`` for this process alone, until the context ends, or the process in any way.

    Raises:
        StateUnusable: another stack holds the folder; or as for :func:`prepare`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StateUnusable(
            f"The folder {folder} cannot be used ({_told(error)}): name another with --state DIR"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StateUnusable(
                f"Another stack (process {lock.read().strip()}) uses the folder {folder}: stop it,"
                " or name another folder and other ports with --state DIR --ports-from N"
            ) from None
        except OSError:
            pass  # a file system that knows no locks: better without one than not at all
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield prepare(folder / "state")


def prepare(folder: Path) -> State:
    """Make the state at the first start; check it, and renew what is about to expire, at later ones.

    Raises:
        StateUnusable: it cannot be made, or a file is missing, cannot be read or holds something else.
    """
    try:
        if not folder.exists():
            _make(folder)
    except OSError as error:
        raise StateUnusable(
            f"The state folder {folder} cannot be made ({_told(error)}): name another place with --state DIR"
        ) from None
    state = State(folder)
    try:
        _check_and_renew(state)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:
        raise StateUnusable(_damaged(folder, _told(error))) from None
    except OSError as error:
        raise StateUnusable(
            f"The state folder {folder} cannot be used ({_told(error)}):"
            " make it yours again with chown and chmod, or name another place with --state DIR"
        ) from None
    except DamagedStore as error:
        # A secret of somebody's own can be given up by itself, and the error says so.
        mine = any(f"/{name}.json " in str(error) for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS))
        cause = str(error).partition(": ")[0]
        raise StateUnusable(_damaged(folder, cause) if mine else str(error)) from None
    return state


def _make(folder: Path) -> None:
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    state = State(fresh)
    for file in (state.vault_certificate, state.fpga_certificate):
        file.parent.mkdir()
    authority = Authority.create()
    authority.save(fresh)
    write_atomically(state.signing_key, secrets.token_bytes(_SIGNING_KEY_BYTES))
    vault = authority.issue(valid_for=_TEN_YEARS)
    write_atomically(state.vault_certificate, vault.chain)
    write_atomically(state.vault_key, vault.key)
    store = VaultStore(state.vault)
    _make_keys(state, store)
    _certify_fpga(state, authority, store)
    fresh.rename(folder)


def _make_keys(state: State, store: VaultStore) -> None:
    keys = {"primaryKey": secrets.token_urlsafe(24), "secondaryKey": secrets.token_urlsafe(24)}
    write_atomically(state.fpga_keys, json.dumps(keys).encode())
    store.set(PRIMARY_KEY, keys["primaryKey"])
    store.set(SECONDARY_KEY, keys["secondaryKey"])


def _certify_fpga(state: State, authority: Authority, store: VaultStore) -> None:
    """Give the FPGA service a certificate, and Key Vault the pin (and the whole, for whoever rotates it).

    The certificate's file is written last: while it is the old one, whatever interrupts this, the next start renews it.
    """
    issued = authority.issue()
    _set(store, CERTIFICATE, issued.key + issued.chain)
    _set(store, PINS, issued.certificate)
    write_atomically(state.fpga_certificate_key, issued.key)
    write_atomically(state.fpga_certificate, issued.chain)


def _set(store: VaultStore, name: str, pem: bytes) -> None:
    if any(deleted.name == name for deleted in store.list_deleted()):
        store.recover(name)
    store.set(name, pem.decode(), content_type=PEM)


def _check_and_renew(state: State) -> None:
    """Check all that is started with these files, since each program would speak of its own options.

    Raises:
        ValueError: a file holds something else.
        OSError: one is missing, or cannot be read; or a renewed one cannot be written.
        DamagedStore: a secret's file holds something else.
    """
    if not state.folder.is_dir():
        raise ValueError("it is no folder")
    ca = _pair(state.ca, state.ca_key)
    if len(state.signing_key.read_bytes()) != _SIGNING_KEY_BYTES:
        raise ValueError(f"{state.signing_key.name} does not hold {_SIGNING_KEY_BYTES} bytes")
    _check_issued(_pair(state.vault_certificate, state.vault_key), ca, state.vault_certificate.name)
    _check_keys(state.fpga_keys)
    store = VaultStore(state.vault)
    _check_secrets(store)
    # Only a certificate that stays must have its own key: a renewal may have been interrupted between the two.
    if _is_due(_certificate(state.fpga_certificate)):
        _certify_fpga(state, Authority.load(state.folder), store)
    else:
        _pair(state.fpga_certificate, state.fpga_certificate_key)


def _pair(certificate: Path, key: Path) -> x509.Certificate:
    """The certificate in a file, which the private key in another one belongs to."""
    found = _certificate(certificate)
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{key.name} holds no private key") from None
    if private.public_key() != found.public_key():
        raise ValueError(f"{key.name} is not the key of {certificate.name}")
    return found


def _certificate(file: Path) -> x509.Certificate:
    content = file.read_bytes()
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except ValueError:
        raise ValueError(f"{file.name} holds no certificate") from None


def _check_issued(certificate: x509.Certificate, ca: x509.Certificate, name: str) -> None:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise ValueError(f"{name} was not issued by the CA of ca.pem") from None
    if min(certificate.not_valid_after_utc, ca.not_valid_after_utc) < dt.datetime.now(dt.UTC):
        raise ValueError(f"{name} has expired")


def _check_keys(file: Path) -> None:
    content = file.read_bytes()
    try:
        keys = json.loads(content)
        sound = all(isinstance(keys[name], str) and keys[name] for name in ("primaryKey", "secondaryKey"))
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ValueError(f"{file.name} does not hold a primaryKey and a secondaryKey")


def _check_secrets(store: VaultStore) -> None:
    # One that was deleted is somebody's doing: it can be recovered, and the gateway says what it lacks until then.
    known = {each.name for each in store.list_latest()} | {each.name for each in store.list_deleted()}
    for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS):
        if name not in known:
            raise ValueError(f"the vault's secret {name} is missing")


def _is_due(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc < dt.datetime.now(dt.UTC) + RENEW_BEFORE


def _damaged(folder: Path, cause: str) -> str:
    return (
        f"The state folder {folder} is damaged ({cause}). Delete it, and the next start makes a new one,"
        f" without what you put into the vault: rm -r {shlex.quote(str(folder))}"
    )


def _told(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    return str(error)
