"""The rules of the store: versions, names, soft delete, and what survives on disk."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from devstack.vault import VaultStore, errors
from devstack.vault.errors import DamagedStore

DAY = 24 * 60 * 60


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.7

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> VaultStore:
    return VaultStore(tmp_path / "secrets", clock=clock)


def again(store: VaultStore, clock: Clock) -> VaultStore:
    """The store as a restarted process finds it."""
    return VaultStore(store._folder, clock=clock)  # the folder is what a restart is given


# Versions.


def test_the_latest_version_is_the_one_that_was_set_last_even_within_a_second(store: VaultStore) -> None:
    first, second = store.set("key", "one"), store.set("key", "two")

    assert store.get("key") == second
    assert store.get("key", first.id).value == "one"
    assert first.created == second.created


def test_names_are_compared_without_regard_to_case_and_keep_the_first_spelling(store: VaultStore) -> None:
    store.set("My-Key", "one")
    store.set("MY-KEY", "two")

    assert store.get("my-key").name == "My-Key"
    assert len(store.list_versions("my-KEY")) == 2


def test_an_unknown_secret_and_an_unknown_version_are_not_found(store: VaultStore) -> None:
    store.set("key", "value")

    with pytest.raises(errors.SecretNotFound, match=r"\(name/id\) nothing was not found"):
        store.get("nothing")
    with pytest.raises(errors.SecretNotFound, match=r"\(name/id\) key/0000 was not found"):
        store.get("key", "0000")


def test_a_disabled_version_cannot_be_read_but_is_listed(store: VaultStore) -> None:
    old = store.set("key", "old")
    new = store.set("key", "new", enabled=False)

    with pytest.raises(errors.SecretDisabled):
        store.get("key")
    with pytest.raises(errors.SecretDisabled):
        store.get("key", new.id)
    assert store.get("key", old.id).value == "old"
    assert store.list_latest() == [new]


def test_a_secret_outside_its_dates_can_be_read(store: VaultStore, clock: Clock) -> None:
    store.set("key", "value", not_before=int(clock.now) + DAY, expires=int(clock.now) - DAY)

    assert store.get("key").value == "value"


def test_versions_are_listed_by_identifier_and_not_by_age(store: VaultStore) -> None:
    identifiers = [store.set("key", str(number)).id for number in range(20)]

    assert [version.id for version in store.list_versions("key")] == sorted(identifiers)
    assert store.list_versions("nothing") == []


def test_an_update_changes_what_it_names_and_nothing_else(store: VaultStore, clock: Clock) -> None:
    old = store.set("key", "value", content_type="text/plain", tags={"a": "1"}, expires=5)
    clock.now += 60

    new = store.update("key", None, {"enabled": False, "tags": {"b": "2"}})

    assert (new.id, new.value, new.created) == (old.id, old.value, old.created)
    assert new.updated == old.updated + 60
    assert (new.attributes.enabled, new.attributes.tags) == (False, {"b": "2"})
    assert (new.attributes.content_type, new.attributes.expires) == ("text/plain", 5)


def test_an_update_of_an_old_version_leaves_the_latest_one_alone(store: VaultStore) -> None:
    old, latest = store.set("key", "old"), store.set("key", "latest")

    store.update("key", old.id, {"enabled": False})

    assert store.get("key") == latest
    with pytest.raises(errors.SecretDisabled):
        store.get("key", old.id)


# What may not be stored.


@pytest.mark.parametrize("name", ["", "a_b", "a b", "a.b", "../a", "a/b", "é", "a" * 128, "a\n"])
def test_a_name_of_other_characters_or_too_long_is_refused(store: VaultStore, name: str) -> None:
    with pytest.raises(errors.BadParameter, match="The request URI contains an invalid name: "):
        store.set(name, "value")


def test_the_longest_name_and_the_longest_value_are_stored(store: VaultStore) -> None:
    name, value = "a" * 127, "é" * 12_800

    store.set(name, value)

    assert store.get(name).value == value


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"value": "x" * 25_601}, "maximum permitted length of 25600"),
        ({"value": "é" * 12_801}, "maximum permitted length of 25600"),
        ({"content_type": "x" * 256}, "contentType is longer than 255"),
        ({"tags": {str(number): "" for number in range(16)}}, "tags has more than 15"),
        ({"tags": {"x" * 257: ""}}, "tags has a name or a value of more than 256"),
        ({"tags": {"": "x" * 257}}, "tags has a name or a value of more than 256"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_and_leaves_nothing(
    store: VaultStore, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.BadParameter, match=message):
        store.set("key", **{"value": "value", **attributes})

    assert store.list_latest() == []


def test_an_update_beyond_a_limit_is_refused_and_changes_nothing(store: VaultStore) -> None:
    version = store.set("key", "value")

    with pytest.raises(errors.BadParameter):
        store.update("key", None, {"content_type": "x" * 256})

    assert store.get("key") == version


# Soft delete.


def test_a_deleted_secret_is_gone_from_sight_and_can_be_recovered_whole(store: VaultStore, clock: Clock) -> None:
    first, second = store.set("key", "one"), store.set("key", "two")

    deleted = store.delete("key")

    assert deleted.deletion
    assert deleted.deletion.deleted == int(clock.now)
    assert deleted.deletion.purge == int(clock.now) + 90 * DAY
    assert store.list_deleted() == [deleted]
    assert (store.list_latest(), store.list_versions("key")) == ([], [])
    with pytest.raises(errors.SecretNotFound):
        store.get("key")

    store.recover("key")

    assert store.list_deleted() == []
    assert store.get("key") == second
    assert store.get("key", first.id) == first


def test_the_name_of_a_deleted_secret_is_taken_until_it_is_purged(store: VaultStore) -> None:
    store.set("key", "value")
    store.delete("key")

    with pytest.raises(errors.NameIsDeleted, match="Secret KEY is currently in a deleted but recoverable state"):
        store.set("KEY", "other")
    store.purge("key")
    store.set("KEY", "other")

    assert store.get("key").name == "KEY"
    assert len(store.list_versions("key")) == 1


def test_a_secret_that_is_not_deleted_cannot_be_recovered_or_purged(store: VaultStore) -> None:
    store.set("key", "value")

    for operation in (store.get_deleted, store.recover, store.purge):
        with pytest.raises(errors.DeletedSecretNotFound, match="Deleted Secret not found: key"):
            operation("key")
    with pytest.raises(errors.SecretNotFound):
        store.delete("other")


def test_a_deleted_secret_disappears_when_its_retention_ends(tmp_path: Path, clock: Clock) -> None:
    store = VaultStore(tmp_path, retention_days=7, clock=clock)
    store.set("key", "value")
    store.delete("key")

    clock.now += 7 * DAY - 1
    assert len(store.list_deleted()) == 1
    clock.now += 1
    assert store.list_deleted() == []
    assert list(tmp_path.iterdir()) == []
    store.set("key", "new life")


@pytest.mark.parametrize(("days", "level"), [(90, "Recoverable+Purgeable"), (89, "CustomizedRecoverable+Purgeable")])
def test_the_recovery_level_follows_from_the_retention(tmp_path: Path, days: int, level: str) -> None:
    assert VaultStore(tmp_path, retention_days=days).recovery_level == level


@pytest.mark.parametrize("days", [6, 91])
def test_a_retention_that_key_vault_does_not_offer_is_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(ValueError, match="7 to 90 days"):
        VaultStore(tmp_path, retention_days=days)


# Backups.


def test_a_backup_brings_back_every_version(store: VaultStore) -> None:
    first, second = store.set("key", "one"), store.set("key", "two", tags={"a": "1"})
    blob = store.backup("key")

    with pytest.raises(errors.NameIsTaken):
        store.restore(blob)
    store.delete("key")
    with pytest.raises(errors.NameIsDeleted):
        store.restore(blob)
    store.purge("key")

    assert store.restore(blob) == second
    assert store.get("key", first.id) == first


@pytest.mark.parametrize("blob", [b"", b"nonsense", b"[]", b"{}", b"\xff\xfe"])
def test_a_blob_that_is_no_backup_is_refused(store: VaultStore, blob: bytes) -> None:
    with pytest.raises(errors.BadParameter, match="not one that this vault made"):
        store.restore(blob)


def test_a_backup_cannot_smuggle_in_a_name_that_is_a_path(store: VaultStore) -> None:
    store.set("key", "value")
    blob = store.backup("key").replace(b'"key"', b'"../key"')

    with pytest.raises(errors.BadParameter, match="invalid name"):
        store.restore(blob)


# On disk.


def test_a_restart_finds_everything(store: VaultStore, clock: Clock) -> None:
    store.set("alive", "öne\n", content_type="text/plain", tags={"ä": "ß"}, not_before=1, expires=2)
    store.set("alive", "two", enabled=False)
    store.set("dead", "value")
    store.delete("dead")

    restarted = again(store, clock)

    assert restarted.list_versions("alive") == store.list_versions("alive")
    assert restarted.list_latest() == store.list_latest()
    assert restarted.list_deleted() == store.list_deleted()
    assert repr(restarted) == repr(store)
    assert "1 secrets, 1 deleted" in repr(store)


def test_a_purge_survives_a_restart(store: VaultStore, clock: Clock) -> None:
    store.set("key", "value")
    store.delete("key")
    store.purge("key")

    assert again(store, clock).list_deleted() == []


def test_files_and_folder_are_readable_by_their_owner_alone(store: VaultStore) -> None:
    store.set("key", "value")

    file = store._folder / "key.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(store._folder.stat().st_mode) == 0o700


def test_a_write_that_a_crash_interrupted_leaves_the_old_value(store: VaultStore, clock: Clock) -> None:
    version = store.set("key", "value")
    (store._folder / "key.json.new").write_bytes(b'{"format": 1, "na')

    restarted = again(store, clock)

    assert restarted.get("key") == version
    assert [path.name for path in store._folder.iterdir()] == ["key.json"]


def test_a_write_that_fails_leaves_the_old_value_in_memory_too(store: VaultStore, clock: Clock) -> None:
    version = store.set("key", "value")
    (store._folder / "key.json.new").mkdir()  # where the new file would be prepared

    with pytest.raises(OSError, match=r"key\.json\.new"):
        store.set("key", "lost")

    assert store.get("key") == version
    (store._folder / "key.json.new").rmdir()
    assert again(store, clock).get("key") == version


def damage(**changes: Any) -> bytes:
    version = {
        "id": "0" * 32,
        "value": "v",
        "enabled": True,
        "not_before": None,
        "expires": None,
        "content_type": None,
        "tags": None,
        "created": 1,
        "updated": 1,
    }
    document = {"format": 1, "name": "key", "versions": [version], "deletion": None, **changes}
    return json.dumps(document).encode()


def test_the_document_that_the_next_test_damages_is_sound(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_bytes(damage())

    assert VaultStore(tmp_path).get("key").value == "v"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (damage()[:-1], "it is not JSON"),
        (b"[" * 200_000, "it is not JSON"),
        (b"[]", 'its "format" is missing or of another type'),
        (damage(format=2), "its format is not 1"),
        (damage(format=True), 'its "format" is missing or of another type'),
        (damage(versions=[]), "it holds no version"),
        (damage(versions=[{"id": "0"}]), 'its "tags" is missing or of another type'),
        (damage(deletion={"deleted": 1}), 'its "purge" is missing or of another type'),
        (damage(name="other"), "it holds the secret other"),
    ],
)
def test_a_damaged_file_is_named_with_its_damage_and_the_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "key.json").write_bytes(content)

    with pytest.raises(DamagedStore) as damaged:
        VaultStore(tmp_path)

    assert str(damaged.value) == (
        f"the vault's file {tmp_path}/key.json is damaged ({reason}): "
        "restore it from a copy, or delete it to lose that one secret, and start again"
    )


def test_no_value_shows_in_a_representation_or_an_error(store: VaultStore) -> None:
    version = store.set("key", "hunter2")

    assert "hunter2" not in repr(version) + repr(store) + repr(store.delete("key"))
