"""The stack's state folder: made whole, checked with plain words, renewed in time, and held by one stack alone."""

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from devstack.authority import Authority, Issued
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
from tests.devstack.privileges import unprivileged

ROOT = Path(__file__).parent.parent.parent
FILES = ["ca.pem", "ca.key", "signing.key", "vault/vault.pem", "vault/vault.key", "fpga/certificate.pem"]
FILES += ["fpga/certificate.key", "fpga/keys.json"]
FILES += [f"vault/secrets/{name}.json" for name in (PRIMARY_KEY, SECONDARY_KEY, CERTIFICATE, PINS)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("made") / "state").folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> State:
    """A sound state that a test may spoil."""
    return State(Path(shutil.copytree(made, tmp_path / "state")))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(folder: Path) -> str:
    """The one line that says why a state cannot be used."""
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


# The first start.


def test_the_first_start_makes_everything_fit_together(made: Path) -> None:
    state = State(made)
    store = VaultStore(state.vault)
    keys = json.loads(state.fpga_keys.read_text())
    leaf = x509.load_pem_x509_certificate(state.fpga_certificate.read_bytes())

    assert sorted(contents(made)) == sorted(FILES)
    assert (store.get(PRIMARY_KEY).value, store.get(SECONDARY_KEY).value) == (keys["primaryKey"], keys["secondaryKey"])
    assert x509.load_pem_x509_certificate(store.get(PINS).value.encode()) == leaf
    assert store.get(CERTIFICATE).value.encode() == (
        state.fpga_certificate_key.read_bytes() + state.fpga_certificate.read_bytes()
    )
    for certificate in (leaf, x509.load_pem_x509_certificate(state.vault_certificate.read_bytes())):
        certificate.verify_directly_issued_by(Authority.load(made).certificate)


def test_nobody_else_may_read_it(made: Path) -> None:
    assert made.stat().st_mode & 0o077 == 0
    for name in FILES:
        assert name == "ca.pem" or (made / name).stat().st_mode & 0o077 == 0, name


def test_two_folders_share_no_secret(made: Path, tmp_path: Path) -> None:
    other = prepare(tmp_path / "state").folder
    for name in FILES:
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
    assert sorted(contents(tmp_path / "state")) == sorted(FILES)


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
    assert sorted(contents(tmp_path / "state")) == sorted(FILES)


# Damage.


def become_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 3]),
    "garbage": lambda file: file.write_bytes(os.urandom(99)),
    "text": lambda file: file.write_text('{"a": ["letter"]}\n'),
    "a folder": become_a_folder,
}


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
    DAMAGES[damage](state.folder / "fpga/keys.json")
    command = refused(state.folder).rpartition(": ")[2]

    subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a person would run it

    assert sorted(contents(prepare(state.folder).folder)) == sorted(FILES)


def test_the_remedy_works_where_the_folders_name_holds_a_space(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "my state"))
    (folder / "ca.pem").unlink()

    subprocess.run(refused(folder).rpartition(": ")[2], shell=True, check=True)  # noqa: S602 - as a person would run it

    assert not folder.exists()


@pytest.mark.parametrize(
    "keys",
    [
        "[]",
        "null",
        "{}",
        '{"primaryKey": "a"}',
        '{"primaryKey": "a", "secondaryKey": null}',
        '{"primaryKey": "", "secondaryKey": "b"}',
    ],
)
def test_keys_that_are_none_are_refused(state: State, keys: str) -> None:
    state.fpga_keys.write_text(keys)

    assert refused(state.folder) == damaged(state.folder, "keys.json does not hold a primaryKey and a secondaryKey")


@pytest.mark.parametrize("name", ["ca", "vault/vault", "fpga/certificate"])
def test_a_key_of_another_certificate_is_refused(state: State, name: str) -> None:
    key = state.folder / f"{name}.key"
    key.write_bytes(Authority.create().issue().key)

    assert refused(state.folder) == damaged(state.folder, f"{key.name} is not the key of {key.stem}.pem")


def test_a_key_that_asks_for_a_password_is_refused(state: State) -> None:
    private = serialization.load_pem_private_key(state.vault_key.read_bytes(), None)
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    state.vault_key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, encryption))

    assert refused(state.folder) == damaged(state.folder, "vault.key holds no private key")


def test_another_states_ca_is_refused(state: State) -> None:
    Authority.create().save(state.folder)

    assert refused(state.folder) == damaged(state.folder, "vault.pem was not issued by the CA of ca.pem")


def test_an_expired_vault_certificate_is_refused(state: State) -> None:
    expired = Authority.load(state.folder).issue(valid_for=dt.timedelta(minutes=-1))
    state.vault_certificate.write_bytes(expired.chain)
    state.vault_key.write_bytes(expired.key)

    assert refused(state.folder) == damaged(state.folder, "vault.pem has expired")


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


@pytest.mark.parametrize("name", FILES)
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


# The renewal.


def expire(state: State, remaining: dt.timedelta) -> Issued:
    """Put a certificate into force that has so long to live."""
    issued = Authority.load(state.folder).issue(valid_for=remaining)
    state.fpga_certificate.write_bytes(issued.chain)
    state.fpga_certificate_key.write_bytes(issued.key)
    store = VaultStore(state.vault)
    store.set(PINS, issued.certificate.decode())
    return issued


def in_force(state: State) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(state.fpga_certificate.read_bytes())
    key = serialization.load_pem_private_key(state.fpga_certificate_key.read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    return certificate


def assert_renewed(state: State) -> None:
    certificate, store = in_force(state), VaultStore(state.vault)
    assert certificate.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=80)
    assert x509.load_pem_x509_certificate(store.get(PINS).value.encode()) == certificate
    assert store.get(CERTIFICATE).value.encode() == (
        state.fpga_certificate_key.read_bytes() + state.fpga_certificate.read_bytes()
    )


@pytest.mark.parametrize("remaining", [dt.timedelta(days=-1), RENEW_BEFORE - dt.timedelta(minutes=1)])
def test_a_certificate_about_to_expire_is_renewed_and_its_pin_with_it(state: State, remaining: dt.timedelta) -> None:
    expire(state, remaining)
    before = contents(state.folder)

    prepare(state.folder)

    assert_renewed(state)
    changed = {name for name, content in contents(state.folder).items() if content != before[name]}
    assert changed == {
        "fpga/certificate.pem",
        "fpga/certificate.key",
        f"vault/secrets/{PINS}.json",
        f"vault/secrets/{CERTIFICATE}.json",
    }


def test_a_certificate_with_time_left_stays(state: State) -> None:
    issued = expire(state, RENEW_BEFORE + dt.timedelta(minutes=1))

    prepare(state.folder)

    assert in_force(state) == x509.load_pem_x509_certificate(issued.certificate)


def test_an_interrupted_renewal_is_done_again(state: State) -> None:
    """The key is already the new one, and the certificate, which is written last, still the old one."""
    expire(state, dt.timedelta(days=1))
    state.fpga_certificate_key.write_bytes(Authority.load(state.folder).issue().key)

    prepare(state.folder)

    assert_renewed(state)


def test_a_renewal_recovers_the_secrets_that_it_writes(state: State) -> None:
    expire(state, dt.timedelta(days=1))
    VaultStore(state.vault).delete(PINS)

    prepare(state.folder)

    assert_renewed(state)


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
