"""The stack's state folder: made complete, checked with plain messages, repaired at a start."""

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509

from devstack.authority import Authority
from devstack.control import ControlStore
from devstack.state import (
    CERTIFICATE,
    PINS,
    PRIMARY_KEY,
    RENEW_BEFORE,
    SECONDARY_KEY,
    State,
    StateUnusable,
    hold,
    prepare,
)
from devstack.vault import VaultStore
from tests.support.devstack.state_folders import (
    ALL,
    DAMAGES,
    FILES,
    SERVICES,
    assert_renewed,
    contents,
    damaged,
    deploy_expiring,
    deployed,
    save,
    state_error,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a local stack."""
    return prepare(tmp_path_factory.mktemp("made") / "state").folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> State:
    """A copy that the test may damage."""
    return State(Path(shutil.copytree(made, tmp_path / "state")))


@contextmanager
def _unprivileged(folder: Path) -> Iterator[None]:
    """Run as a user without privileges, who owns ``folder``, also where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_first_start_makes_files_that_belong_together(made: Path, tmp_path: Path) -> None:
    state = State(made)
    store, service = VaultStore(state.vault), deployed(state)
    leaf = x509.load_pem_x509_certificate(service.chain.encode())

    assert sorted(contents(made)) == sorted(ALL)
    assert service.state == "Succeeded"
    keys = (store.get(PRIMARY_KEY).value, store.get(SECONDARY_KEY).value)
    assert keys == (service.primary_key, service.secondary_key)
    assert x509.load_pem_x509_certificate(store.get(PINS).value.encode()) == leaf
    assert store.get(CERTIFICATE).value == service.key + service.chain
    servers = (file.read_bytes() for file in (state.vault_certificate, state.control_certificate))
    for certificate in (leaf, *map(x509.load_pem_x509_certificate, servers)):
        certificate.verify_directly_issued_by(Authority.load(made).certificate)
    # Readable by their owner alone, and different in each folder.
    other = prepare(tmp_path / "state").folder
    for name in ALL:
        assert name == "ca.pem" or (made / name).stat().st_mode & 0o077 == 0, name
        assert (made / name).read_bytes() != (other / name).read_bytes(), name


def test_state_files_are_readable_by_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = prepare(tmp_path / "state").folder
    finally:
        os.umask(before)
    open_files = {file.name for file in made.rglob("*") if file.is_file() and file.stat().st_mode & 0o077}

    assert open_files <= {"ca.pem"}
    assert made.stat().st_mode & 0o077 == 0


def test_a_later_start_keeps_the_state_and_the_users_changes(state: State) -> None:
    store = VaultStore(state.vault)
    store.set(CERTIFICATE, "not a certificate")
    store.set(PRIMARY_KEY, "wrong", enabled=False)
    store.delete(PINS)
    before = contents(state.folder)

    prepare(state.folder)

    assert contents(state.folder) == before


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_the_remedy(state: State, name: str, damage: str) -> None:
    DAMAGES[damage](state.folder / name)

    line = state_error(state.folder)

    named = f"the vault's secret {Path(name).stem}" if damage == "missing" and "secrets" in name else Path(name).name
    assert line.startswith(f"The state folder {state.folder} is damaged (")
    assert named in line.partition(". Delete it")[0]
    assert line.endswith(f": rm -r {state.folder}")


def test_files_that_do_not_belong_together_are_refused(state: State, tmp_path: Path) -> None:
    expired = Authority.load(state.folder).issue(valid_for=dt.timedelta(minutes=-1))
    state.vault_key.write_bytes(expired.key)
    assert state_error(state.folder) == damaged(state.folder, "vault.key belongs to another certificate")
    state.vault_certificate.write_bytes(expired.chain)
    assert state_error(state.folder) == damaged(state.folder, "vault.pem has expired")
    Authority.create().save(state.folder)
    assert state_error(state.folder) == damaged(state.folder, "vault.pem was not issued by the CA of ca.pem")
    other = prepare(tmp_path / "other")
    save(other, replace(deployed(other), key=expired.key.decode()))
    cause = "the private key of imagenet in control.json belongs to another certificate"
    assert state_error(other.folder) == damaged(other.folder, cause)


@pytest.mark.parametrize(
    ("name", "start"),
    [("vault/secrets/mine.json", "the vault's file"), (SERVICES, "the control plane's file")],
)
def test_a_damaged_secret_of_the_user_and_the_services_can_be_deleted_by_themselves(
    state: State, name: str, start: str
) -> None:
    VaultStore(state.vault).set("other", "kept")
    file = state.folder / name
    file.write_text('{"value": "hunter2"')

    line = state_error(state.folder)

    assert line.startswith(f"{start} {file} is damaged (it is not JSON): restore it from a copy, or delete it")
    assert "hunter2" not in line
    file.unlink()
    assert deployed(prepare(state.folder)).state == "Succeeded"
    assert VaultStore(state.vault).get("other").value == "kept"


def test_missing_permissions_are_named_and_nothing_is_to_be_deleted() -> None:
    # Not below the temporary folder of root, who may read everything.
    with tempfile.TemporaryDirectory() as own, _unprivileged(Path(own)):
        folder = prepare(Path(own) / "state").folder
        for name in ALL:
            (folder / name).chmod(0)
            assert state_error(folder) == (
                f"The state folder {folder} cannot be used (Permission denied: {folder}/{name}):"
                " make it yours again with chown and chmod, or name another place with --state DIR"
            )
            (folder / name).chmod(0o600)


def test_a_folder_is_held_by_one_stack(tmp_path: Path) -> None:
    with hold(tmp_path / "new"):
        with pytest.raises(StateUnusable) as refusal, hold(tmp_path / "new"):
            pass
        assert str(refusal.value) == (
            f"Another stack (process {os.getpid()}) uses the folder {tmp_path}/new: stop it,"
            " or name another folder and other ports with --state DIR --ports-from N"
        )
    with hold(tmp_path / "new") as state:
        assert state.ca.exists()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_certificate_about_to_expire_is_renewed_and_its_pin_with_it(
    state: State, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_expiring(state, RENEW_BEFORE - dt.timedelta(minutes=1))
    before, service = contents(state.folder), deployed(state)
    VaultStore(state.vault).delete(PINS)
    if interrupted:
        # Key Vault has the new certificate, and the control plane, which gets it last, still the old one.
        with monkeypatch.context() as failing:
            failing.setattr("devstack.control.store.write_atomically", Mock(side_effect=OSError(28, "No space left")))
            assert "No space left" in state_error(state.folder)

    prepare(state.folder)

    assert_renewed(state)
    assert replace(deployed(state), chain=service.chain, key=service.key) == service
    changed = {name for name, content in contents(state.folder).items() if content != before[name]}
    assert changed == {SERVICES, f"vault/secrets/{PINS}.json", f"vault/secrets/{CERTIFICATE}.json"}


def test_a_service_that_the_gateway_cannot_use_is_made_anew(state: State) -> None:
    before = deployed(state)
    VaultStore(state.vault).delete(PRIMARY_KEY)
    for change in ({"service": replace(before, state="Failed")}, {"without_service": before.id}):
        ControlStore(state.control).save(without_service=deployed(state).id)
        ControlStore(state.control).save(**change)

        prepare(state.folder)

        assert_renewed(state)
        service, store = deployed(state), VaultStore(state.vault)
        assert (service.state, service.tls) == ("Succeeded", True)
        keys = (store.get(PRIMARY_KEY).value, store.get(SECONDARY_KEY).value)
        assert keys == (service.primary_key, service.secondary_key)
        assert service.primary_key != before.primary_key
