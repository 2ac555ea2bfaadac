"""The state of the local stack between its starts: a development CA, certificates, secrets, the deployed services.

::

    lock                          held by the running stack
    addresses.json                its addresses (:mod:`devstack.announcement`)
    state/ca.pem, ca.key          the development CA, which the stack's clients trust
    state/signing.key             signs the tokens of the identity endpoint
    state/identity.key            what the gateway sends to the identity endpoint; another one at each start
    state/vault/                  Key Vault's secrets, and vault.pem, vault.key for its TLS
    state/control/                the control plane's services, and control.pem, control.key for its TLS

``state`` is complete or absent: it is made under another name, and renamed. The vault and the control plane are filled
once and then belong to the user. But a start does not fail because of an expired certificate or a deleted service:
those are made again, with their secrets.
"""

import contextlib
import datetime as dt
import fcntl
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from devstack.authority import Authority, Issued
from devstack.control.records import SUCCEEDED, ServiceRecord
from devstack.control.store import ControlStore, new_key
from devstack.errors import CommandError
from devstack.files import write_atomically
from devstack.pem import check_issued, check_pair, read_leaf, read_pair
from devstack.rest.errors import DamagedFile
from devstack.vault.store import VaultStore

PEM = "application/x-pem-file"

SERVICE = "imagenet"
"""The FPGA service's name at the control plane."""

PRIMARY_KEY = f"{SERVICE}-primary-key"
SECONDARY_KEY = f"{SERVICE}-secondary-key"
CERTIFICATE = f"{SERVICE}-certificate"
PINS = f"{SERVICE}-pins"

# A start renews the FPGA service's certificate from this long before its end on.
RENEW_BEFORE = dt.timedelta(days=7)

_TEN_YEARS = dt.timedelta(days=3650)
_SIGNING_KEY_BYTES = 32


class StateUnusable(CommandError):
    """The state cannot be used."""


class State:
    """The files of a state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.ca_key = folder / "ca.key"
        self.signing_key = folder / "signing.key"
        self.identity_key = folder / "identity.key"
        self.vault = folder / "vault" / "secrets"
        self.vault_certificate = folder / "vault" / "vault.pem"
        self.vault_key = folder / "vault" / "vault.key"
        self.control = folder / "control" / "services"
        self.control_certificate = folder / "control" / "control.pem"
        self.control_key = folder / "control" / "control.key"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[State]:
    """Prepare the state in ``folder`` for this process alone, until the context or the process ends.

    Raises:
        StateUnusable: another stack holds the folder; or as for :func:`prepare`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StateUnusable(
            f"The folder {folder} cannot be used ({_described(error)}): name another with --state DIR"
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
            pass  # the file system has no locks: better without one than not at all
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield prepare(folder / "state")


def prepare(folder: Path) -> State:
    """Make the state at the first start; check it and renew what is about to expire at later ones.

    Raises:
        StateUnusable: it cannot be made, or a file is missing, cannot be read or contains something else.
    """
    try:
        if not folder.exists():
            _make(folder)
    except OSError as error:
        raise StateUnusable(
            f"The state folder {folder} cannot be made ({_described(error)}): name another place with --state DIR"
        ) from None
    state = State(folder)
    try:
        _check_and_renew(state)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:
        raise StateUnusable(_damaged(folder, _described(error))) from None
    except OSError as error:
        raise StateUnusable(
            f"The state folder {folder} cannot be used ({_described(error)}):"
            " make it yours again with chown and chmod, or name another place with --state DIR"
        ) from None
    except DamagedFile as error:
        # Only the files of the stack's own secrets need a new state; others can be deleted, as the error describes, and
        # so can the services, which the next start makes again.
        own = any(f"/{name}.json " in str(error) for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS))
        cause = str(error).partition(": ")[0]
        raise StateUnusable(_damaged(folder, cause) if own else str(error)) from None
    return state


def place_services(state: State, port: int, others: frozenset[int]) -> None:
    """Let the control plane serve the FPGA service on ``port`` from its next start on, 0 for a free one.

    A user's service with one of ``others``, the ports of the stack's other parts, gets another port.

    Raises:
        OSError: it cannot be written.
    """
    store = ControlStore(state.control)
    for record in store.services():
        wanted = port if record.name == SERVICE else 0 if record.port in others else record.port
        if record.port != wanted:
            store.keep_port(record.id, wanted)


def _make(folder: Path) -> None:
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    state = State(fresh)
    authority = Authority.create()
    authority.save(fresh)
    write_atomically(state.signing_key, secrets.token_bytes(_SIGNING_KEY_BYTES))
    _certify_server(authority, state.vault_certificate, state.vault_key)
    _certify_server(authority, state.control_certificate, state.control_key)
    _deploy(ControlStore(state.control), VaultStore(state.vault), authority)
    fresh.rename(folder)


def _certify_server(authority: Authority, certificate: Path, key: Path) -> None:
    certificate.parent.mkdir(mode=0o700, exist_ok=True)
    issued = authority.issue(valid_for=_TEN_YEARS)
    write_atomically(key, issued.key)
    write_atomically(certificate, issued.chain)


def _deploy(control: ControlStore, vault: VaultStore, authority: Authority) -> None:
    """Make the FPGA service, with keys and a certificate that are stored in Key Vault too.

    Here and in :func:`_renew` the service is written last: after an interruption, the next start does everything again.
    """
    failed = control.find_service(SERVICE)
    if failed:
        control.save(without_service=failed.id)
    primary, secondary, issued = new_key(), new_key(), authority.issue()
    _set(vault, PRIMARY_KEY, primary)
    _set(vault, SECONDARY_KEY, secondary)
    _set_certificate(vault, issued)
    control.seed_service(name=SERVICE, primary_key=primary, secondary_key=secondary, chain=issued.chain, key=issued.key)


def _renew(record: ServiceRecord, control: ControlStore, vault: VaultStore, authority: Authority) -> None:
    """Give the FPGA service another certificate, and store it and its pin in Key Vault."""
    issued = authority.issue()
    _set_certificate(vault, issued)
    control.save(service=replace(record, chain=issued.chain.decode(), key=issued.key.decode()))


def _set_certificate(vault: VaultStore, issued: Issued) -> None:
    _set(vault, CERTIFICATE, (issued.key + issued.chain).decode(), PEM)
    _set(vault, PINS, issued.certificate.decode(), PEM)


def _set(vault: VaultStore, name: str, value: str, content_type: str | None = None) -> None:
    if any(deleted.name == name for deleted in vault.list_deleted()):
        vault.recover(name)
    vault.set(name, value, content_type=content_type)


def _check_and_renew(state: State) -> None:
    """Check the files that the programs are started with: each program's own error would name its own options.

    Raises:
        ValueError: a file contains something else.
        OSError: one is missing, or cannot be read; or a renewed one cannot be written.
        DamagedFile: a secret's file, or that of the services, contains something else.
    """
    if not state.folder.is_dir():
        raise ValueError("it is not a folder")
    ca = read_pair(state.ca, state.ca_key)
    if len(state.signing_key.read_bytes()) != _SIGNING_KEY_BYTES:
        raise ValueError(f"{state.signing_key.name} does not contain {_SIGNING_KEY_BYTES} bytes")
    check_issued(read_pair(state.vault_certificate, state.vault_key), ca, state.vault_certificate.name)
    vault = VaultStore(state.vault)
    _check_secrets(vault)
    authority = Authority.load(state.folder)
    check_issued(read_pair(state.control_certificate, state.control_key), ca, state.control_certificate.name)
    _check_service(ControlStore(state.control), vault, authority)


def _check_service(control: ControlStore, vault: VaultStore, authority: Authority) -> None:
    record = control.find_service(SERVICE)
    if record is None or record.state != SUCCEEDED or not record.tls:
        _deploy(control, vault, authority)
        return
    chain, name = record.chain.encode(), f"the certificate of {SERVICE} in control.json"
    if _is_due(chain, name):
        _renew(record, control, vault, authority)
    else:
        check_pair(chain, record.key.encode(), name, f"the private key of {SERVICE} in control.json")


def _check_secrets(store: VaultStore) -> None:
    # The user may have deleted one: it can be recovered, and the gateway reports it as missing until then.
    known = {version.name for version in store.list_latest()} | {secret.name for secret in store.list_deleted()}
    for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS):
        if name not in known:
            raise ValueError(f"the vault's secret {name} is missing")


def _is_due(chain: bytes, name: str) -> bool:
    return read_leaf(chain, name).not_valid_after_utc < dt.datetime.now(dt.UTC) + RENEW_BEFORE


def _damaged(folder: Path, cause: str) -> str:
    return (
        f"The state folder {folder} is damaged ({cause}). Delete it, and the next start makes a new one,"
        f" without what you put into the vault: rm -r {shlex.quote(str(folder))}"
    )


def _described(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    return str(error)
