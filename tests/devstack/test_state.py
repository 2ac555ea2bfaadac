"""The stack's state folder: made whole, checked with plain words, and held by one stack alone."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from devstack.authority import Authority
from devstack.state import (
    CERTIFICATE,
    PINS,
    PRIMARY_KEY,
    SECONDARY_KEY,
    State,
    StateUnusable,
    hold,
    prepare,
)
from devstack.vault import VaultStore
from tests.devstack.privileges import unprivileged
from tests.devstack.states import ALL, DAMAGES, FILES, contents, damaged, deployed, expire, refused

ROOT = Path(__file__).parent.parent.parent


# The first start.


def test_the_first_start_makes_everything_fit_together(made: Path) -> None:
    state = State(made)
    store = VaultStore(state.vault)
    service = deployed(state)
    leaf = x509.load_pem_x509_certificate(service.chain.encode())

    assert sorted(contents(made)) == sorted(ALL)
    assert service.state == "Succeeded"
    assert (store.get(PRIMARY_KEY).value, store.get(SECONDARY_KEY).value) == (
        service.primary_key,
        service.secondary_key,
    )
    assert x509.load_pem_x509_certificate(store.get(PINS).value.encode()) == leaf
    assert store.get(CERTIFICATE).value == service.key + service.chain
    servers = (file.read_bytes() for file in (state.vault_certificate, state.control_certificate))
    for certificate in (leaf, *map(x509.load_pem_x509_certificate, servers)):
        certificate.verify_directly_issued_by(Authority.load(made).certificate)


def test_nobody_else_may_read_it(made: Path) -> None:
    assert made.stat().st_mode & 0o077 == 0
    for name in ALL:
        assert name == "ca.pem" or (made / name).stat().st_mode & 0o077 == 0, name


def test_two_folders_share_no_secret(made: Path, tmp_path: Path) -> None:
    other = prepare(tmp_path / "state").folder
    for name in ALL:
        assert (made / name).read_bytes() != (other / name).read_bytes(), name


def test_a_later_start_changes_nothing(state: State) -> None:
    before = contents(state.folder)

    prepare(state.folder)

    assert contents(state.folder) == before


def test_what_an_interrupted_first_start_left_is_replaced(tmp_path: Path) -> None:
    half_made = tmp_path / "state.new" / "vault"
    half_made.mkdir(parents=True)
    (half_made / "left-over").touch()

    prepare(tmp_path / "state")

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert sorted(contents(tmp_path / "state")) == sorted(ALL)


@pytest.mark.parametrize("files", [0, 3, 6, 9])
def test_a_first_start_that_is_killed_leaves_no_state(tmp_path: Path, files: int) -> None:
    """Killed once so many files are there."""
    program = (
        "import os, signal, sys; from pathlib import Path; from devstack import state\n"
        "written = 0\n"
        "def counted(*arguments, write):\n"
        "    global written\n"
        "    if written == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    written += 1\n"
        "    write(*arguments)\n"
        "write_bytes = Path.write_bytes\n"
        "Path.write_bytes = lambda *a: counted(*a, write=write_bytes)\n"
        "replace = Path.replace\n"
        "Path.replace = lambda *a: counted(*a, write=replace)\n"
        "state.prepare(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state"), str(files)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["state.new"]
    assert len(contents(tmp_path / "state.new")) >= files

    prepare(tmp_path / "state")

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert sorted(contents(tmp_path / "state")) == sorted(ALL)


# Damage.


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_the_remedy(state: State, name: str, damage: str) -> None:
    DAMAGES[damage](state.folder / name)

    line = refused(state.folder)

    named = f"the vault's secret {Path(name).stem}" if damage == "missing" and "secrets" in name else Path(name).name
    assert line.startswith(f"The state folder {state.folder} is damaged (")
    assert named in line.partition(". Delete it")[0]
    assert line.endswith(f": rm -r {state.folder}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_remedy_works(state: State, damage: str) -> None:
    DAMAGES[damage](state.folder / "control/control.key")
    command = refused(state.folder).rpartition(": ")[2]

    subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a person would run it

    assert sorted(contents(prepare(state.folder).folder)) == sorted(ALL)


def test_the_remedy_works_where_the_folders_name_holds_a_space(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "my state"))
    (folder / "ca.pem").unlink()

    subprocess.run(refused(folder).rpartition(": ")[2], shell=True, check=True)  # noqa: S602 - as a person would run it

    assert not folder.exists()


@pytest.mark.parametrize("name", ["ca", "vault/vault", "control/control"])
def test_a_key_of_another_certificate_is_refused(state: State, name: str) -> None:
    key = state.folder / f"{name}.key"
    key.write_bytes(Authority.create().issue().key)

    assert refused(state.folder) == damaged(state.folder, f"{key.name} is not the key of {key.stem}.pem")


def test_a_key_that_asks_for_a_password_is_refused(state: State) -> None:
    private = serialization.load_pem_private_key(state.vault_key.read_bytes(), None)
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    state.vault_key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, encryption))

    assert refused(state.folder) == damaged(state.folder, "vault.key holds no private key")


@pytest.mark.parametrize("kind", ["vault", "control"])
def test_an_expired_certificate_of_a_server_is_refused(state: State, kind: str) -> None:
    expired = Authority.load(state.folder).issue(valid_for=dt.timedelta(minutes=-1))
    (state.folder / kind / f"{kind}.pem").write_bytes(expired.chain)
    (state.folder / kind / f"{kind}.key").write_bytes(expired.key)

    assert refused(state.folder) == damaged(state.folder, f"{kind}.pem has expired")


def test_another_states_ca_is_refused(state: State) -> None:
    Authority.create().save(state.folder)

    assert refused(state.folder) == damaged(state.folder, "vault.pem was not issued by the CA of ca.pem")


def test_a_damaged_secret_of_ones_own_can_be_given_up_by_itself(state: State) -> None:
    VaultStore(state.vault).set("mine", "hunter2")
    file = state.vault / "mine.json"
    file.write_text('{"value": "hunter2"')

    line = refused(state.folder)

    assert line.startswith(f"the vault's file {file} is damaged (it is not JSON): restore it from a copy, or delete it")
    assert "hunter2" not in line
    file.unlink()
    prepare(state.folder)


def test_a_secret_that_was_deleted_on_purpose_stays_deleted(state: State) -> None:
    VaultStore(state.vault).delete(PINS)

    prepare(state.folder)

    assert [secret.name for secret in VaultStore(state.vault).list_deleted()] == [PINS]


def test_other_values_in_the_vault_are_nobodys_business(state: State) -> None:
    VaultStore(state.vault).set(PINS, "not a certificate")
    VaultStore(state.vault).set(PRIMARY_KEY, "wrong", enabled=False)
    before = contents(state.folder)

    prepare(state.folder)

    assert contents(state.folder) == before


# Places that cannot be used.


def test_a_file_in_the_states_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    assert refused(tmp_path / "state") == damaged(tmp_path / "state", "it is no folder")


def test_a_file_in_the_parents_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert refused(tmp_path / "file" / "state").endswith(": name another place with --state DIR")
    with pytest.raises(StateUnusable, match=rf"{tmp_path}/file cannot be used .*: name another with --state DIR"):
        hold(tmp_path / "file").__enter__()


@pytest.fixture
def own() -> Iterator[Path]:
    """A folder of a user who may not read everything, and who runs the test. Not below root's temporary folder."""
    with tempfile.TemporaryDirectory() as folder, unprivileged(Path(folder)):
        yield Path(folder)


def test_a_parent_that_may_not_be_written_is_named(own: Path) -> None:
    own.chmod(0o500)
    try:
        assert refused(own / "state") == (
            f"The state folder {own}/state cannot be made (Permission denied: {own}/state.new):"
            " name another place with --state DIR"
        )
        with pytest.raises(StateUnusable, match=r"cannot be used \(Permission denied: .*/lock\): name another"):
            hold(own).__enter__()
    finally:
        own.chmod(0o700)


@pytest.mark.parametrize("name", ALL)
def test_a_file_that_may_not_be_read_is_named_and_nothing_is_to_be_deleted(own: Path, name: str) -> None:
    folder = prepare(own / "state").folder
    (folder / name).chmod(0)

    assert refused(folder) == (
        f"The state folder {folder} cannot be used (Permission denied: {folder}/{name}):"
        " make it yours again with chown and chmod, or name another place with --state DIR"
    )


def test_a_renewal_that_may_not_be_written_is_named(own: Path) -> None:
    state = prepare(own / "state")
    expire(state, dt.timedelta(days=1))
    state.vault.chmod(0o500)
    try:
        assert "cannot be used (Permission denied: " in refused(state.folder)
    finally:
        state.vault.chmod(0o700)


# One stack a folder.


def test_a_folder_is_held_by_one_stack_alone(tmp_path: Path) -> None:
    with hold(tmp_path / "new"):
        with pytest.raises(StateUnusable) as refusal, hold(tmp_path / "new"):
            pass
        assert str(refusal.value) == (
            f"Another stack (process {os.getpid()}) uses the folder {tmp_path}/new: stop it,"
            " or name another folder and other ports with --state DIR --ports-from N"
        )
    with hold(tmp_path / "new") as state:
        assert state.ca.exists()


def test_a_stack_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from devstack.state import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateUnusable, match=f"process {holder.pid}"), hold(tmp_path):
            pass
        holder.kill()

    with hold(tmp_path):
        pass
